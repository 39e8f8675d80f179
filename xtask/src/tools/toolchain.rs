//! Toolchains beside the pinned one.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::path::find_program;
use crate::workspace::Workspace;

/// xtask was started by the pinned toolchain's cargo, which leaves its mark on the environment.
pub(super) fn rustup(workspace: &Workspace) -> Command {
    let mut command = Command::new("rustup");
    command
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .current_dir(&workspace.root);
    command
}

/// A cargo command of the toolchain of this version, with the compiler for this target; installed where that is possible.
pub(crate) fn cargo_of(workspace: &Workspace, version: &str, target: &str) -> Result<Command> {
    ensure!(
        find_program("rustup").is_some(),
        "there is no rustup to ask for the toolchain {version}"
    );
    let found = rustup(workspace).args(["run", version, "rustc", "--version"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        succeeds(rustup(workspace).args(["toolchain", "install", version, "--profile", "minimal"]))?;
    }
    add_target(workspace, version, target)?;
    let mut command = rustup(workspace);
    command.args(["run", version, "cargo"]);
    Ok(command)
}

/// Adds a target to a toolchain that is there. It takes no time if the toolchain has it.
pub(super) fn add_target(workspace: &Workspace, toolchain: &str, target: &str) -> Result<()> {
    succeeds(rustup(workspace).args(["target", "add", "--toolchain", toolchain, target]))
}

fn succeeds(command: &mut Command) -> Result<()> {
    let output = command.output().context("cannot start rustup")?;
    if output.status.success() {
        return Ok(());
    }
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    bail!(
        "`rustup {}` failed: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")
    );
}
