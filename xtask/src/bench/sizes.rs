//! How large programs are: code, and the memory they have for good.

use std::path::Path;

use anyhow::{Context, Result};
use elf::ElfBytes;
use elf::abi::{SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE};
use elf::endian::LittleEndian;

use super::row::Row;

/// The size of a program as a row. `name` is what the row calls the program.
pub(crate) fn row(name: &str, program: &Path) -> Result<Row> {
    let file = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let (text, ram) = sizes(&file).with_context(|| format!("{}: no ELF file with sections", program.display()))?;
    Ok(Row {
        contender: name.to_owned(),
        operation: "size".to_owned(),
        text_bytes: Some(text),
        ram_bytes: Some(ram),
        ..Row::default()
    })
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
        let row = row("xtask", &std::env::current_exe().unwrap()).unwrap();
        assert!(row.text_bytes.is_some_and(|bytes| bytes > 1 << 20), "{row:?}");
        assert!(row.ram_bytes.is_some_and(|bytes| bytes > 1 << 10), "{row:?}");
    }

    #[test]
    fn other_files_are_refused() {
        assert!(sizes(b"#!/bin/sh\n").is_err());
    }
}
