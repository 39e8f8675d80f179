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
    let mut checks: Vec<Check> = RUNS.map(|run| check("miri", run)).into();
    if long {
        checks.extend(LONG_RUNS.map(|run| check("miri/long", run)));
    }
    Ok(checks)
}

fn check(group: &str, Run { package, tests, flags }: Run) -> Check {
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
        let name = match tests {
            [] => format!("`{package}`: tests passed"),
            some => format!("`{package}`, {}: tests passed", some.join(", ")),
        };
        let figure = Figure::new(name, Value::Count(passed(&output)), "cargo xtask test miri --long");
        evidence::record(&context.workspace, "miri", vec![figure]).map_err(|error| format!("{error:#}"))
    })
}

/// How many tests passed in all programs of a run.
fn passed(output: &str) -> u64 {
    let results = output.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    let counts = results.filter_map(|line| line.split(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{directory, is_published};

    #[test]
    fn passed_tests_of_all_programs_add_up() {
        let output = "test result: ok. 12 passed; 0 failed\nx\ntest result: ok. 3 passed; 0 failed; 1 ignored\n";
        assert_eq!(passed(output), 15);
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
