//! The parts of the Rust toolchain beyond the compiler itself.
//!
//! `rust-toolchain.toml` names them, but rustup adds what is named there only while it installs the toolchain, and not at all
//! where automatic installation is off.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::path::find_program;
use crate::progress::Progress;
use crate::workspace::Workspace;

/// Makes sure that code can be built for this target.
pub(crate) fn ensure_target(workspace: &Workspace, target: &str, progress: Progress) -> Result<()> {
    if sysroot(workspace)?
        .join("lib/rustlib")
        .join(target)
        .join("lib")
        .is_dir()
    {
        return Ok(());
    }
    rustup(workspace, &["target", "add", target], progress)
}

/// Makes sure that the formatter and the linter are there.
pub(crate) fn ensure_lint_tools(workspace: &Workspace, progress: Progress) -> Result<()> {
    for (tool, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let output = workspace
            .cargo()
            .args([tool, "--version"])
            .output()
            .context("cannot start cargo")?;
        if !output.status.success() {
            rustup(workspace, &["component", "add", component], progress)?;
        }
    }
    Ok(())
}

/// Makes sure that `cargo llvm-cov` works.
pub(crate) fn ensure_coverage_tools(workspace: &Workspace, progress: Progress) -> Result<()> {
    let version = workspace.cargo().args(["llvm-cov", "--version"]).output();
    if !version.is_ok_and(|output| output.status.success()) {
        bail!("cargo-llvm-cov is missing; to install it, type: cargo install cargo-llvm-cov --locked");
    }
    let tools = sysroot(workspace)?.join("lib/rustlib");
    let has_tools = std::fs::read_dir(&tools)
        .into_iter()
        .flatten()
        .flatten()
        .any(|target| target.path().join("bin/llvm-cov").is_file());
    if has_tools {
        return Ok(());
    }
    rustup(workspace, &["component", "add", "llvm-tools"], progress)
}

/// Where the pinned toolchain is.
fn sysroot(workspace: &Workspace) -> Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(&workspace.root)
        .output()
        .context("cannot start rustc")?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn rustup(workspace: &Workspace, arguments: &[&str], progress: Progress) -> Result<()> {
    let line = format!("rustup {}", arguments.join(" "));
    if find_program("rustup").is_none() {
        bail!(
            "the toolchain lacks {} and there is no rustup to add it: install rustup, or add it by hand",
            arguments[2]
        );
    }
    let finished = progress.step(&line, |step| {
        step.command(Command::new("rustup").args(arguments).current_dir(&workspace.root))
    })?;
    if !finished.status.success() {
        eprint!("{}", finished.output);
        bail!("`{line}` failed");
    }
    Ok(())
}
