//! How large programs are: code, constants, and the memory they have for good.

use std::path::Path;

use anyhow::{Context, Result};
use elf::ElfBytes;
use elf::abi::{SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE};
use elf::endian::LittleEndian;

use super::row::Row;

/// The section of a stack. How large it is says nothing about the program.
const STACK: &str = ".stack";

/// Bytes of a program by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// What is executed.
    pub(crate) text: u64,
    /// What is only read.
    pub(crate) rodata: u64,
    /// What is written: `.data` and `.bss`.
    pub(crate) ram: u64,
}

impl Size {
    /// The size of a program.
    pub(crate) fn of(program: &Path) -> Result<Size> {
        let file = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        Self::of_elf(&file).with_context(|| format!("{}: no ELF file with sections", program.display()))
    }

    fn of_elf(file: &[u8]) -> Result<Size> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
        let (sections, names) = elf.section_headers_with_strtab()?;
        let (sections, names) = sections.zip(names).context("there are no sections")?;
        let mut size = Size::default();
        for section in sections {
            let has = |flag: u32| section.sh_flags & u64::from(flag) != 0;
            if !has(SHF_ALLOC) || names.get(section.sh_name as usize)? == STACK {
                continue;
            }
            *if has(SHF_EXECINSTR) {
                &mut size.text
            } else if has(SHF_WRITE) {
                &mut size.ram
            } else {
                &mut size.rodata
            } += section.sh_size;
        }
        Ok(size)
    }

    /// What this one has beyond another.
    pub(crate) fn beyond(self, other: Size) -> Size {
        Size {
            text: self.text.saturating_sub(other.text),
            rodata: self.rodata.saturating_sub(other.rodata),
            ram: self.ram.saturating_sub(other.ram),
        }
    }

    /// The size as a row. `name` is what the row calls the program.
    pub(crate) fn row(self, name: &str) -> Row {
        Row {
            contender: name.to_owned(),
            operation: "size".to_owned(),
            text_bytes: Some(self.text),
            rodata_bytes: Some(self.rodata),
            ram_bytes: Some(self.ram),
            ..Row::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_has_code_constants_and_memory() {
        let size = Size::of(&std::env::current_exe().unwrap()).unwrap();
        assert!(
            size.text > 1 << 20 && size.rodata > 1 << 16 && size.ram > 1 << 10,
            "{size:?}"
        );
    }

    #[test]
    fn other_files_are_refused() {
        assert!(Size::of_elf(b"#!/bin/sh\n").is_err());
    }

    #[test]
    fn sections_are_added_up_by_their_flags() {
        // A file of section headers and their names: none, names, code, constants, memory, stack.
        let names = b"\0.names\0.text\0.rodata\0.bss\0.stack\0";
        let sections = [
            (0u32, 0u64, 0u64),
            (1, 0, names.len() as u64),
            (8, 6, 100),
            (14, 2, 30),
            (22, 3, 8),
            (27, 3, 4096),
        ];
        let mut file = vec![0; 64];
        file[..7].copy_from_slice(&[0x7F, b'E', b'L', b'F', 2, 1, 1]);
        file[40] = 64 + names.len() as u8;
        (file[52], file[58], file[60], file[62]) = (64, 64, sections.len() as u8, 1);
        file.extend_from_slice(names);
        for (name, flags, size) in sections {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            // Of no type that has bytes in the file, but for the names.
            header[4] = if name == 1 { 3 } else { 8 };
            header[8..16].copy_from_slice(&flags.to_le_bytes());
            header[24] = 64;
            header[32..40].copy_from_slice(&size.to_le_bytes());
            file.extend_from_slice(&header);
        }
        let expected = Size {
            text: 100,
            rodata: 30,
            ram: 8,
        };
        assert_eq!(Size::of_elf(&file).unwrap(), expected);
    }

    #[test]
    fn what_another_has_is_left_out() {
        let size = |text, rodata, ram| Size { text, rodata, ram };
        assert_eq!(size(10, 5, 7).beyond(size(4, 5, 8)), size(6, 0, 0));
    }
}
