//! The crates that handle memory shared with a device, run by Miri, which finds undefined behaviour and data races.
//!
//! Miri only comes with nightly toolchains. It is not needed for anything else, so none is installed for its sake: where
//! there is no nightly toolchain these checks are left out, and said to be.

use std::process::Command;

use super::cargo::run;
use super::check::Check;
use crate::tools::find_program;

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
pub(super) fn checks() -> Result<Vec<Check>, &'static str> {
    if find_program("rustup").is_none() {
        return Err("there is no rustup to ask for a nightly toolchain");
    }
    let installed = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--version"])
        .output();
    if !installed.is_ok_and(|output| output.status.success()) {
        return Err("no nightly toolchain is installed; `rustup toolchain install nightly` adds one");
    }
    Ok(CRATES.map(check).into())
}

fn check((name, flags): (&'static str, &'static str)) -> Check {
    Check::new(format!("miri/{name}"), move |context| {
        let root = &context.workspace.root;
        let mut version = Command::new("rustup");
        version
            .args(["run", "nightly", "cargo", "miri", "--version"])
            .current_dir(root);
        if run(&mut version).is_err() {
            let components = ["component", "add", "miri", "rust-src", "--toolchain", "nightly"];
            run(Command::new("rustup").args(components).current_dir(root))?;
        }
        let mut test = Command::new("rustup");
        test.args([
            "run",
            "nightly",
            "cargo",
            "miri",
            "test",
            "--package",
            name,
            "--lib",
            "--tests",
        ]);
        // xtask itself was started by the pinned toolchain's cargo, which leaves its mark on the environment.
        test.env("MIRIFLAGS", flags)
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO")
            .env_remove("RUSTC")
            .current_dir(root);
        run(&mut test).map(drop)
    })
}
