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
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(&workspace.root)
        .output()
        .context("cannot start rustc")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if sysroot.join("lib/rustlib").join(target).join("lib").is_dir() {
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
