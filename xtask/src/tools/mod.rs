//! The programs a run needs: found, or installed, or asked for.

mod apt;
pub(crate) mod os;
mod qemu;
mod rust;
mod sources;

use std::path::Path;

use anyhow::{Result, bail};

use crate::progress::Progress;

pub(crate) use qemu::Qemu;
pub(crate) use rust::{ensure_lint_tools, ensure_target};

/// The tool for disk images, part of QEMU.
pub(crate) const QEMU_IMG: &str = "qemu-img";

/// What is asked of the machine xtask runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    /// A QEMU the user pointed at; it is used or refused, never replaced.
    pub(crate) emulator: Option<&'a Path>,
    /// Whether `qemu-img` is needed.
    pub(crate) image_tool: bool,
    /// Whether xtask may install what is missing.
    pub(crate) may_install: bool,
}

/// What has to be installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Missing {
    /// Why the emulator, or the firmware with it, has to come.
    emulator: Option<qemu::Unusable>,
    image_tool: bool,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.emulator, self.image_tool) {
            (Some(why), false) => write!(f, "{why}"),
            (Some(why), true) => write!(f, "{why} and {QEMU_IMG} is missing"),
            (None, _) => write!(f, "{QEMU_IMG} is missing"),
        }
    }
}

/// Finds QEMU with its firmware, and `qemu-img` if wanted; installs what is missing where that is possible.
pub(crate) fn ensure_qemu(wanted: Wanted<'_>, progress: Progress) -> Result<Qemu> {
    let (emulator, missing) = look(wanted)?;
    if let (Some(emulator), false) = (emulator, missing.image_tool) {
        return Ok(emulator);
    }
    apt::install(missing, wanted.may_install, progress)?;
    match look(wanted)? {
        (Some(emulator), Missing { image_tool: false, .. }) => Ok(emulator),
        (_, missing) => bail!("{missing}, even after the installation: install QEMU 7.0 or newer for riscv64 by hand"),
    }
}

fn look(wanted: Wanted<'_>) -> Result<(Option<Qemu>, Missing)> {
    let (emulator, unusable) = match Qemu::find(wanted.emulator) {
        Ok(emulator) => (Some(emulator), None),
        Err(unusable) => match wanted.emulator {
            Some(path) => bail!(
                "{}: {unusable}; give --qemu another path, or leave it out",
                path.display()
            ),
            None => (None, Some(unusable)),
        },
    };
    let image_tool = wanted.image_tool && os::find_program(QEMU_IMG).is_none();
    Ok((
        emulator,
        Missing {
            emulator: unusable,
            image_tool,
        },
    ))
}

/// Whether a program is on the path or in the directories of system programs.
pub(crate) fn find_program(name: &str) -> Option<std::path::PathBuf> {
    os::find_program(name)
}
