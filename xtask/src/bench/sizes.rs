//! How large programs are: code, and the memory they have for good.

use std::path::Path;

use anyhow::{Context, Result};
use elf::ElfBytes;
use elf::abi::{SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE};
use elf::endian::LittleEndian;

use super::row::Row;
use crate::build;
use crate::progress::Progress;
use crate::workspace::{RISCV, Workspace};

/// The crate with the smallest complete users of this driver and of another one, and a program that does nothing.
const MINIMAL: &str = "minimal-user";
const EMPTY: &str = "minimal-empty";

/// Its programs, and whose driver they use.
const USERS: [(&str, &str); 2] = [(MINIMAL, OURS), ("minimal-virtio-drivers", "virtio-drivers")];
/// What rows call this driver.
pub(crate) const OURS: &str = "ours";

/// The profiles that it is built with, and what rows call them.
const PROFILES: [(&str, &str); 2] = [("small", SMALL), ("fast", "opt-level 3")];
/// The profile that the goal is about.
pub(crate) const SMALL: &str = "opt-level z";

/// Builds and measures what a driver adds to a program: the smallest user, less what the program has without a driver.
pub(crate) fn minimal(workspace: &Workspace, progress: Progress) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (profile, mode) in PROFILES {
        let options = ["--profile", profile, "--target", RISCV];
        let heading = format!("building minimal users, {mode}");
        build::programs(workspace, &heading, &[MINIMAL], &options, progress)?;
        let program = |name: &str| workspace.target.join(RISCV).join(profile).join(name);
        let (text, ram) = of_file(&program(EMPTY))?;
        for (name, contender) in USERS {
            let user = of_file(&program(name))?;
            rows.push(Row {
                contender: contender.to_owned(),
                operation: OPERATION.to_owned(),
                mode: mode.to_owned(),
                text_bytes: Some(user.0.saturating_sub(text)),
                ram_bytes: Some(user.1.saturating_sub(ram)),
                ..Row::default()
            });
        }
    }
    Ok(rows)
}

/// The size of the service.
pub(crate) fn service(program: &Path) -> Result<Row> {
    let (text, ram) = of_file(program)?;
    Ok(Row {
        contender: "minix-service".to_owned(),
        operation: OPERATION.to_owned(),
        text_bytes: Some(text),
        ram_bytes: Some(ram),
        ..Row::default()
    })
}

/// What is measured of a program without a request.
pub(crate) const OPERATION: &str = "size";

/// Code and memory of a program.
fn of_file(program: &Path) -> Result<(u64, u64)> {
    let file = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    sizes(&file).with_context(|| format!("{}: no ELF file with sections", program.display()))
}

/// Bytes of the sections that are executed, and of those that are written.
fn sizes(file: &[u8]) -> Result<(u64, u64)> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
    let sections = elf.section_headers().context("there are no sections")?;
    let sum = |flag: u32| {
        let wanted = u64::from(SHF_ALLOC | flag);
        let of_kind = sections.iter().filter(|section| section.sh_flags & wanted == wanted);
        of_kind.map(|section| section.sh_size).sum()
    };
    Ok((sum(SHF_EXECINSTR), sum(SHF_WRITE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_has_code_and_memory() {
        let (text, ram) = of_file(&std::env::current_exe().unwrap()).unwrap();
        assert!(text > 1 << 20 && ram > 1 << 10, "{text} {ram}");
    }

    #[test]
    fn other_files_are_refused() {
        assert!(sizes(b"#!/bin/sh\n").is_err());
    }
}
