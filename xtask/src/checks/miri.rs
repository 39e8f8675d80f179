//! The crates that handle memory shared with a device, run by Miri, which finds undefined behaviour and data races.
//!
//! Miri only comes with nightly toolchains. Where there is none these checks are left out, and said to be; with `--complete`, as in
//! continuous integration, that is a failure.

use super::cargo::run;
use super::check::Check;
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

/// What has `unsafe` code that a host can run. Of `virtio-blk`, whose tests have a whole device beside them, those that are done in
/// half a minute and touch each part of its memory.
const RUNS: [Run; 8] = [
    all("virtio-core", ""),
    all("virtio-bounce", ""),
    all("virtio-mmio", LEAKS),
    all("virtio-pci", ""),
    all("virtqueue", ""),
    Run {
        tests: &["memory", "removal", "queue_threads"],
        ..all("virtio-blk", "")
    },
    all("virtio-blk-blocking", ""),
    all("minix-rt", TABLES_FOR_GOOD),
];

/// What takes Miri an hour or more.
const LONG_RUNS: [Run; 2] = [
    all("virtio-blk", ""),
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
        run(test.env("MIRIFLAGS", flags)).map(drop)
    })
}
