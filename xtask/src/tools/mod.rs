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
pub(crate) use rust::{ensure_coverage_tools, ensure_lint_tools, ensure_target};
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

/// A package of Debian, and the programs in it or elsewhere that do what it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) programs: &'static [&'static str],
}

/// A compiler of C for the target.
pub(crate) const C_COMPILER: Package = Package {
    name: "gcc-riscv64-linux-gnu",
    programs: &["riscv64-linux-gnu-gcc", "riscv64-unknown-elf-gcc"],
};
/// A server of network disks that delays and fails requests.
pub(crate) const NBDKIT: Package = Package {
    name: "nbdkit",
    programs: &["nbdkit"],
};

/// Makes and checks FAT file systems: `mkfs.fat` and `fsck.fat`.
pub(crate) const DOSFSTOOLS: Package = Package {
    name: "dosfstools",
    programs: &["mkfs.fat"],
};
/// Copies files into and out of FAT file systems: `mcopy`.
pub(crate) const MTOOLS: Package = Package {
    name: "mtools",
    programs: &["mcopy"],
};
/// Makes and checks ext4 file systems: `mkfs.ext4` and `e2fsck`.
pub(crate) const E2FSPROGS: Package = Package {
    name: "e2fsprogs",
    programs: &["mkfs.ext4"],
};

/// Finds a program of a package, or installs the package where that is possible.
pub(crate) fn ensure_package(
    workspace: &Workspace,
    Package { name, programs }: Package,
    may_install: bool,
    progress: Progress,
) -> Result<PathBuf> {
    let look = || programs.iter().find_map(|program| find_program(program));
    if let Some(found) = look() {
        return Ok(found);
    }
    let script = workspace.root.join("ci/setup.sh");
    let has_apt = find_program("apt-get").is_some();
    if !has_apt || !may_install || !rustix::process::geteuid().is_root() {
        bail!(
            "{name} is missing; to install it on Debian or Ubuntu, type: {} {name}",
            script.display()
        );
    }
    let mut install = Command::new(script);
    let finished = progress.step(&format!("installing {name}"), |step| step.command(install.arg(name)))?;
    match look() {
        Some(found) if finished.status.success() => Ok(found),
        _ => {
            eprint!("{}", finished.output);
            bail!("{name} is missing, and ci/setup.sh does not install it")
        }
    }
}

/// Finds QEMU with its firmware, and `qemu-img` if wanted; installs what is missing where that is possible.
pub(crate) fn ensure_qemu(workspace: &Workspace, wanted: Wanted<'_>, progress: Progress) -> Result<Qemu> {
    wanted.emulator.map(given_qemu).transpose()?;
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

/// The emulator at the path that the user gave.
pub(crate) fn given_qemu(path: &Path) -> Result<Qemu> {
    Qemu::find(Some(path)).map_err(|error| {
        let path = path.display();
        anyhow!("{path}: {error}; give --qemu another path, or leave it out")
    })
}

/// The emulator. An error says what is missing.
fn look(wanted: Wanted<'_>) -> Result<Qemu> {
    let emulator = Qemu::find(wanted.emulator)?;
    let has_tools = !wanted.image_tool || find_program(QEMU_IMG).is_some();
    ensure!(has_tools, "{QEMU_IMG} is missing");
    Ok(emulator)
}
