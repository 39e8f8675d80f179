//! The crates that handle memory shared with a device, run by Miri, which finds undefined behaviour and data races.
//!
//! Miri only comes with nightly toolchains. Where there is none these checks are left out, and said to be; with `--complete`, as in
//! continuous integration, that is a failure.

use super::cargo::run;
use super::check::Check;
use crate::evidence::{self, Figure, Value};
use crate::tools::{ensure_miri, ensure_nightly, nightly_cargo};
use crate::workspace::Workspace;

/// Tests that Miri runs.
struct Run {
    package: &'static str,
    /// Names of test files; none stands for all of them, and the tests in the code.
    tests: &'static [&'static str],
    /// Miri's flags.
    flags: &'static str,
}

/// What has `unsafe` code that a host can run, and what gives buffers of futures away that are dropped. Of the crates whose tests have a whole
/// device beside them, those that are done in half a minute.
const RUNS: [Run; 10] = [
    all("virtio-core", ""),
    all("virtio-bounce", ""),
    all("virtio-mmio", LEAKS),
    all("virtio-pci", ""),
    all("virtqueue", ""),
    Run {
        tests: &["memory"],
        ..all("virtio-blk", "")
    },
    Run {
        tests: &["byte_ranges", "caches", "confidential_guest", "iommu", "whole_use"],
        ..all("virtio-blk-blocking", "")
    },
    Run {
        tests: &["dropped"],
        ..all("virtio-blk-async", "")
    },
    all("virtio-blk-capi", ""),
    all("minix-rt", TABLES_FOR_GOOD),
];

/// What takes Miri an hour or more.
const LONG_RUNS: [Run; 4] = [
    all("virtio-blk", ""),
    all("virtio-blk-blocking", ""),
    all("virtio-blk-async", ""),
    Run {
        tests: &["service"],
        ..all("minix-virtio-blk", TABLES_FOR_GOOD)
    },
];

/// What makes the figures of the two.
const SHORT: &str = "cargo xtask test miri/";
const LONG: &str = "cargo xtask test miri/long --long";

/// Memory that stands in for a device is never freed.
const LEAKS: &str = "-Zmiri-ignore-leaks";

/// The tables that a kernel looks into are never freed. Their addresses pass through messages, as numbers.
const TABLES_FOR_GOOD: &str = "-Zmiri-ignore-leaks -Zmiri-permissive-provenance";

const fn all(package: &'static str, flags: &'static str) -> Run {
    Run {
        package,
        tests: &[],
        flags,
    }
}

/// The checks, or why there are none.
pub(super) fn checks(workspace: &Workspace, long: bool) -> anyhow::Result<Vec<Check>> {
    ensure_nightly(workspace)?;
    let mut checks: Vec<Check> = RUNS.map(|run| check("miri", SHORT, run)).into();
    if long {
        checks.extend(LONG_RUNS.map(|run| check("miri/long", LONG, run)));
    }
    Ok(checks)
}

fn check(group: &str, command: &'static str, Run { package, tests, flags }: Run) -> Check {
    Check::new(format!("{group}/{package}"), move |context| {
        ensure_miri(&context.workspace).map_err(|error| format!("{error:#}"))?;
        let mut test = nightly_cargo(&context.workspace);
        test.args(["miri", "test", "--package", package]);
        if tests.is_empty() {
            test.args(["--lib", "--tests"]);
        }
        for name in tests {
            test.args(["--test", name]);
        }
        let output = run(test.env("MIRIFLAGS", flags))?;
        let figures = figures(package, tests, command, &output);
        evidence::record(&context.workspace, "miri", figures).map_err(|error| format!("{error:#}"))
    })
}

/// What a run has shown: the tests that passed, and those that Miri leaves out, since they only repeat or need the system.
fn figures(package: &str, tests: &[&str], command: &str, output: &str) -> Vec<Figure> {
    let name = match tests {
        [] => format!("`{package}`"),
        some => format!("`{package}`, {}", some.join(", ")),
    };
    let [passed, _, ignored] = counted(output);
    let mut figures = vec![Figure::new(
        format!("{name}: tests passed"),
        Value::Count(passed),
        command,
    )];
    if ignored > 0 {
        figures.push(Figure::new(
            format!("{name}: tests left out"),
            Value::Count(ignored),
            command,
        ));
    }
    figures
}

/// How many tests passed, failed and were left out in all programs of a run.
fn counted(output: &str) -> [u64; 3] {
    let mut sum = [0; 3];
    for line in output.lines().filter_map(|line| line.strip_prefix("test result: ok. ")) {
        for (sum, part) in sum.iter_mut().zip(line.split("; ")) {
            *sum += part
                .split(' ')
                .next()
                .and_then(|count| count.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{directory, is_published};

    #[test]
    fn passed_tests_of_all_programs_add_up() {
        let output = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured\nx\n\
                      test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert_eq!(counted(output), [15, 0, 1]);
        let told = |output| {
            let figures = figures("x", &["a", "b"], SHORT, output).into_iter();
            figures
                .map(|figure| serde_json::to_string(&figure).unwrap())
                .collect::<Vec<_>>()
        };
        let both = told(output);
        assert_eq!(both.len(), 2);
        assert!(
            both[0].contains("`x`, a, b: tests passed") && both[0].contains("15"),
            "{both:?}"
        );
        assert!(
            both[1].contains("`x`, a, b: tests left out") && both[1].contains("1"),
            "{both:?}"
        );
        assert_eq!(told("test result: ok. 3 passed; 0 failed; 0 ignored\n").len(), 1);
    }

    #[test]
    fn every_published_crate_with_unsafe_code_is_run() {
        let workspace = Workspace::load().unwrap();
        let has_unsafe = |folder: &std::path::Path| {
            let files = std::fs::read_dir(folder).unwrap().flatten();
            let mut folders = vec![folder.to_owned()];
            folders.extend(files.map(|entry| entry.path()).filter(|path| path.is_dir()));
            let sources = folders
                .iter()
                .flat_map(|folder| std::fs::read_dir(folder).unwrap().flatten());
            let texts = sources.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
            texts
                .into_iter()
                .any(|text| text.contains("unsafe {") || text.contains("unsafe fn"))
        };
        let runs = || RUNS.iter().chain(&LONG_RUNS);
        let mut found = 0;
        for package in workspace.packages.iter().filter(|package| is_published(package)) {
            if has_unsafe(&directory(package).join("src")) {
                found += 1;
                assert!(runs().any(|run| run.package == *package.name), "{}", package.name);
            }
        }
        assert!(found >= 7, "{found}");
    }
}
