//! The nightly toolchain. Miri, the fuzzer, the texts of public APIs and the oldest versions of dependencies need one, and nothing else does.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::path::find_program;
use super::toolchain::{add_target, rustup};
use crate::workspace::Workspace;

/// Its name for rustup. This is the only place that says which one it is.
const NIGHTLY: &str = "nightly";

/// What is wanted of it beside the compiler.
const COMPONENTS: [&str; 2] = ["miri", "rust-src"];

/// A cargo command of the nightly toolchain that runs at the root of the workspace.
pub(crate) fn nightly_cargo(workspace: &Workspace) -> Command {
    let mut command = rustup(workspace);
    command.args(["run", NIGHTLY, "cargo"]);
    command
}

/// Why there is no nightly toolchain, if there is none. The reason says how to get one.
pub(crate) fn ensure_nightly(workspace: &Workspace) -> Result<()> {
    ensure!(
        find_program("rustup").is_some(),
        "there is no rustup to ask for a nightly toolchain"
    );
    let mut version = rustup(workspace);
    let output = version.args(["run", NIGHTLY, "rustc", "--version"]).output();
    let works = output.is_ok_and(|output| output.status.success());
    ensure!(
        works,
        "no nightly toolchain is installed; to install it, type: rustup toolchain install {NIGHTLY} --profile minimal --component {}",
        COMPONENTS.join(",")
    );
    Ok(())
}

/// Makes sure that the nightly toolchain is there and can build for this target.
pub(crate) fn ensure_nightly_target(workspace: &Workspace, target: &str) -> Result<()> {
    ensure_nightly(workspace)?;
    add_target(workspace, NIGHTLY, target)
}

/// Makes sure that the nightly toolchain has Miri.
pub(crate) fn ensure_miri(workspace: &Workspace) -> Result<()> {
    let has_miri = nightly_cargo(workspace).args(["miri", "--version"]).output();
    if has_miri.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    let mut add = rustup(workspace);
    add.args(["component", "add", "--toolchain", NIGHTLY]).args(COMPONENTS);
    let output = add.output().context("cannot start rustup")?;
    if !output.status.success() {
        bail!(
            "cannot add Miri: {}",
            String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")
        );
    }
    Ok(())
}
