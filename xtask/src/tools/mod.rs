//! The programs a run needs: found, or installed by `ci/setup.sh`, or asked for.

mod nightly;
mod path;
mod qemu;
mod rust;
mod toolchain;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow, bail, ensure};

use crate::progress::Progress;
use crate::workspace::Workspace;

pub(crate) use nightly::{ensure_miri, ensure_nightly, ensure_nightly_target, nightly_cargo};
pub(crate) use path::find_program;
pub(crate) use qemu::Qemu;
pub(crate) use rust::{ensure_lint_tools, ensure_target};
pub(crate) use toolchain::cargo_of;

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
    if let Some(path) = wanted.emulator {
        let path = path.display();
        Qemu::find(wanted.emulator)
            .map_err(|error| anyhow!("{path}: {error}; give --qemu another path, or leave it out"))?;
    }
    let missing = match look(wanted) {
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
        let reason = finished.output.lines().last().unwrap_or("ci/setup.sh failed");
        bail!("{missing}; {reason}");
    }
    look(wanted).map_err(|missing| {
        anyhow!("{missing}, even after the installation: install QEMU 7.0 or newer for riscv64 by hand")
    })
}

/// Compilers of C for the target, by their names in Debian.
const COMPILERS: [&str; 2] = ["riscv64-linux-gnu-gcc", "riscv64-unknown-elf-gcc"];

/// Finds a compiler of C for the target; installs one where that is possible. An error says what to type.
pub(crate) fn ensure_compiler(workspace: &Workspace, may_install: bool, progress: Progress) -> Result<PathBuf> {
    let look = || COMPILERS.iter().find_map(|name| find_program(name));
    let script = workspace.root.join("ci/setup.sh");
    let may_install = may_install && find_program("apt-get").is_some() && rustix::process::geteuid().is_root();
    if look().is_none() && may_install {
        let mut install = Command::new(&script);
        progress.step("installing a C compiler", |step| step.command(install.arg("compiler")))?;
    }
    look().ok_or_else(|| {
        anyhow!(
            "there is no C compiler for riscv64; to install it, type: {} compiler",
            script.display()
        )
    })
}

/// The emulator. An error says what is missing.
fn look(wanted: Wanted<'_>) -> Result<Qemu> {
    let emulator = Qemu::find(wanted.emulator)?;
    let has_tools = !wanted.image_tool || find_program(QEMU_IMG).is_some();
    ensure!(has_tools, "{QEMU_IMG} is missing");
    Ok(emulator)
}
