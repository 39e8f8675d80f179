//! The programs a run needs: found, or installed by `ci/setup.sh`, or asked for.

mod qemu;
mod rust;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::progress::Progress;
use crate::workspace::Workspace;

pub(crate) use qemu::Qemu;
pub(crate) use rust::{ensure_lint_tools, ensure_target};

/// The tool for disk images, part of QEMU.
pub(crate) const QEMU_IMG: &str = "qemu-img";

/// The programs that a command needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// A QEMU the user pointed at; it is used or refused, never replaced.
    pub(crate) emulator: Option<&'a Path>,
    /// Whether `qemu-img` is needed.
    pub(crate) image_tool: bool,
    /// Whether xtask may install what is missing.
    pub(crate) may_install: bool,
}

/// Finds QEMU with its firmware, and `qemu-img` if wanted; installs what is missing where that is possible.
pub(crate) fn ensure_qemu(workspace: &Workspace, wanted: Wanted<'_>, progress: Progress) -> Result<Qemu> {
    let missing = match look(wanted)? {
        Ok(emulator) => return Ok(emulator),
        Err(missing) => missing,
    };
    if find_program("apt-get").is_none() {
        bail!(
            "{missing}: install QEMU 7.0 or newer for riscv64 with OpenSBI, and {QEMU_IMG}, with the package manager of this system"
        );
    }
    let script = workspace.root.join("ci/setup.sh");
    if !wanted.may_install || !rustix::process::geteuid().is_root() {
        bail!("{missing}; to install it, type: {}", script.display());
    }
    let finished = progress.step("installing QEMU", |step| step.command(&Command::new(script)))?;
    if !finished.status.success() {
        eprint!("{}", finished.output);
        bail!(
            "{missing}; {}",
            finished.output.lines().last().unwrap_or("ci/setup.sh failed")
        );
    }
    match look(wanted)? {
        Ok(emulator) => Ok(emulator),
        Err(missing) => {
            bail!("{missing}, even after the installation: install QEMU 7.0 or newer for riscv64 by hand")
        }
    }
}

/// The emulator, or what is missing.
fn look(wanted: Wanted<'_>) -> Result<Result<Qemu, String>> {
    let emulator = Qemu::find(wanted.emulator);
    if let (Some(path), Err(unusable)) = (wanted.emulator, emulator.as_ref()) {
        let path = path.display();
        bail!("{path}: {unusable}; give --qemu another path, or leave it out");
    }
    let image_tool_missing = wanted.image_tool && find_program(QEMU_IMG).is_none();
    Ok(match (emulator, image_tool_missing) {
        (Ok(emulator), false) => Ok(emulator),
        (Ok(_), true) => Err(format!("{QEMU_IMG} is missing")),
        (Err(unusable), false) => Err(unusable.to_string()),
        (Err(unusable), true) => Err(format!("{unusable} and {QEMU_IMG} is missing")),
    })
}

/// A program on the path, or where system programs are kept even if the path leaves that out.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_executable = |data: std::fs::Metadata| data.is_file() && data.permissions().mode() & 0o111 != 0;
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| std::fs::metadata(file).is_ok_and(is_executable))
}
