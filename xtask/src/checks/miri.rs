//! The crates that handle memory shared with a device, run by Miri, which finds undefined behaviour and data races.
//!
//! Miri only comes with nightly toolchains. Where there is none these checks are left out, and said to be; with `--complete`, as in
//! continuous integration, that is a failure.

use super::cargo::run;
use super::check::Check;
use crate::tools::{ensure_miri, ensure_nightly, nightly_cargo};
use crate::workspace::Workspace;

/// What has `unsafe` code that a host can run, and Miri's flags for it.
const CRATES: [(&str, &str); 4] = [
    ("virtio-core", ""),
    ("virtio-pci", ""),
    ("virtqueue", ""),
    ("minix-rt", TABLES_FOR_GOOD),
];

/// The tables that a kernel looks into are never freed. Their addresses pass through messages, as numbers.
const TABLES_FOR_GOOD: &str = "-Zmiri-ignore-leaks -Zmiri-permissive-provenance";

/// The checks, or why there are none.
pub(super) fn checks(workspace: &Workspace) -> anyhow::Result<Vec<Check>> {
    ensure_nightly(workspace)?;
    Ok(CRATES.map(check).into())
}

fn check((name, flags): (&'static str, &'static str)) -> Check {
    Check::new(format!("miri/{name}"), move |context| {
        ensure_miri(&context.workspace).map_err(|error| format!("{error:#}"))?;
        let mut test = nightly_cargo(&context.workspace);
        test.args(["miri", "test", "--package", name, "--lib", "--tests"]);
        run(test.env("MIRIFLAGS", flags)).map(drop)
    })
}
