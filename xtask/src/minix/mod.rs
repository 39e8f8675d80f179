//! The MINIX side: the service, the kernel that stands in for MINIX in tests, the clients, and what they are to do.
//!
//! [`shipped`] lists what goes into MINIX, [`programs`] builds it, and the rest of a run; [`mod@check`] holds a program against the
//! rules of MINIX's loader, [`install`] puts it into a MINIX, [`archive`] packs what the test kernel boots from, [`scenario`] and
//! [`script`] are the scenarios, [`vblkctl`], [`faults`] and [`power_cut`] three of them,
//! [`volumes`] finds the file systems on a disk.

pub(crate) mod archive;
mod check;
pub(crate) mod faults;
pub(crate) mod install;
#[cfg(test)]
mod pages;
mod power_cut;
pub(crate) mod programs;
pub(crate) mod scenario;
mod script;
pub(crate) mod shipped;
pub(crate) mod vblkctl;
mod volumes;

use anyhow::Result;

use crate::cli::CheckArgs;
use crate::console::{complain, say};
use crate::progress::Progress;
use crate::tools;
use crate::workspace::{RISCV, Workspace};

/// `cargo xtask build`.
pub(crate) fn build() -> Result<bool> {
    let workspace = Workspace::load()?;
    let progress = Progress::for_this_terminal();
    tools::ensure_target(&workspace, RISCV, progress)?;
    let published = programs::build_shipped(&workspace, progress)?;
    for program in &published.programs {
        let (elf, limit) = (program.elf.display(), program.shipped.limit);
        say(&format!(
            "{elf}: {} bytes of at most {limit}, ready for MINIX",
            program.bytes
        ));
    }
    say(&format!("{}: what the service may do", published.conf.display()));
    Ok(true)
}

/// `cargo xtask minix check`.
pub(crate) fn check(args: &CheckArgs) -> Result<bool> {
    let mut all = true;
    for file in &args.files {
        match check::loadable(file) {
            Ok(program) => say(&program.text),
            Err(error) => {
                all = false;
                complain(&format!("error: {}", crate::one_line(&error)));
            }
        }
    }
    Ok(all)
}
