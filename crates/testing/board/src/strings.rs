//! The host's half of how `defmt` strings are linked.
//!
//! `defmt` numbers its format strings by the addresses of symbols close to zero, which code at 0x8020_0000 cannot reach.
//! The linker script therefore puts them higher up, and frames carry the lower 16 bits. Decoders know nothing of that;
//! they take the whole address from the ELF file. So it is changed in a copy of the file before a decoder sees it.

use core::fmt;

/// Why a file cannot be prepared for a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElfError {
    /// It is not an ELF file of 64 bits, little-endian.
    NotElf64,
    /// A table or a section lies outside of the file.
    Truncated,
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotElf64 => "not a little-endian 64-bit ELF file",
            Self::Truncated => "ELF file is cut off",
        })
    }
}

impl core::error::Error for ElfError {}

const SECTION_BYTES: usize = 64;
const SYMBOL_BYTES: usize = 24;
const SYMBOL_TABLE: u32 = 2;

/// Takes the upper bits off the addresses of all symbols in the section `.defmt` of an image, and off that section's own.
///
/// For the host: do this to the bytes of an image before handing them to `defmt-decoder`. Doing it twice does no harm.
/// Returns how many symbols the section has; zero for an image that does not use `defmt`.
///
/// # Errors
///
/// [`ElfError`]. The bytes may have been changed in part by then.
pub fn lower_defmt_symbols(elf: &mut [u8]) -> Result<usize, ElfError> {
    // Class 2 (64 bits), data 1 (little-endian).
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return Err(ElfError::NotElf64);
    }
    let sections = offset(u64_at(elf, 0x28)?)?;
    let count = usize::from(u16_at(elf, 0x3c)?);
    let names = usize::from(u16_at(elf, 0x3e)?);
    let header = |index: usize| sections.checked_add(index * SECTION_BYTES).ok_or(ElfError::Truncated);
    let names = offset(u64_at(elf, header(names)? + 0x18)?)?;

    let mut strings = None;
    for index in 0..count {
        let name = names.checked_add(u32_at(elf, header(index)?)? as usize);
        let name = name.and_then(|start| elf.get(start..));
        let name = name.filter(|name| name.contains(&0)).ok_or(ElfError::Truncated)?;
        if name.starts_with(b".defmt\0") {
            strings = Some(index);
        }
    }
    let Some(strings) = strings else { return Ok(0) };
    lower(elf, header(strings)? + 0x10)?;

    let mut lowered = 0;
    for index in 0..count {
        let table = header(index)?;
        if u32_at(elf, table + 4)? != SYMBOL_TABLE {
            continue;
        }
        let start = offset(u64_at(elf, table + 0x18)?)?;
        let symbols = offset(u64_at(elf, table + 0x20)?)? / SYMBOL_BYTES;
        for symbol in 0..symbols {
            let symbol = symbol.checked_mul(SYMBOL_BYTES).and_then(|at| at.checked_add(start));
            let symbol = symbol.ok_or(ElfError::Truncated)?;
            if usize::from(u16_at(elf, symbol + 6)?) == strings {
                lower(elf, symbol + 8)?;
                lowered += 1;
            }
        }
    }
    Ok(lowered)
}

/// Keeps the lower 16 bits of the 64-bit word at an offset.
fn lower(elf: &mut [u8], at: usize) -> Result<(), ElfError> {
    let upper = at.checked_add(2).zip(at.checked_add(8));
    let upper = upper.and_then(|(start, end)| elf.get_mut(start..end));
    upper.ok_or(ElfError::Truncated)?.fill(0);
    Ok(())
}

fn offset(value: u64) -> Result<usize, ElfError> {
    // Half of the address space is more than any file has, and leaves room for the small sums above.
    usize::try_from(value)
        .ok()
        .filter(|&value| value <= usize::MAX / 2)
        .ok_or(ElfError::Truncated)
}

fn bytes_at<const N: usize>(elf: &[u8], at: usize) -> Result<[u8; N], ElfError> {
    let bytes = elf.get(at..).and_then(|rest| rest.first_chunk::<N>());
    bytes.copied().ok_or(ElfError::Truncated)
}

fn u16_at(elf: &[u8], at: usize) -> Result<u16, ElfError> {
    bytes_at(elf, at).map(u16::from_le_bytes)
}

fn u32_at(elf: &[u8], at: usize) -> Result<u32, ElfError> {
    bytes_at(elf, at).map(u32::from_le_bytes)
}

fn u64_at(elf: &[u8], at: usize) -> Result<u64, ElfError> {
    bytes_at(elf, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file with four sections: none, names, `.defmt` (or another), symbols. The first symbol is in section 2, the
    /// second in section 1.
    fn elf(name: &[u8]) -> Vec<u8> {
        let mut names = b"\0".to_vec();
        names.extend(name);
        names.push(0);
        names.resize(16, 0);
        let sections: usize = 0x40;
        let names_at = sections + 4 * SECTION_BYTES;
        let symbols_at = names_at + names.len();
        let mut file = vec![0; symbols_at];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[0x28..0x30].copy_from_slice(&(sections as u64).to_le_bytes());
        file[0x3c] = 4;
        file[0x3e] = 1;
        let mut put = |section: usize, field: usize, value: u64| {
            let at = sections + section * SECTION_BYTES + field;
            file[at..at + 8].copy_from_slice(&value.to_le_bytes());
        };
        put(1, 0x18, names_at as u64);
        // Name at offset 1, type 1.
        put(2, 0, 1 << 32 | 1);
        put(2, 0x10, 0x0400_0008);
        put(3, 0, 2 << 32);
        put(3, 0x18, symbols_at as u64);
        put(3, 0x20, 2 * SYMBOL_BYTES as u64);
        file[names_at..].copy_from_slice(&names);
        for section in [2u8, 1] {
            let mut symbol = [0; SYMBOL_BYTES];
            symbol[6] = section;
            symbol[8..16].copy_from_slice(&0x0400_1234u64.to_le_bytes());
            file.extend(symbol);
        }
        file
    }

    #[test]
    fn only_symbols_of_the_strings_are_lowered() {
        let mut file = elf(b".defmt");
        let end = file.len();
        assert_eq!(lower_defmt_symbols(&mut file), Ok(1));
        assert_eq!(u64_at(&file, end - 2 * SYMBOL_BYTES + 8), Ok(0x1234));
        assert_eq!(u64_at(&file, end - SYMBOL_BYTES + 8), Ok(0x0400_1234));
        assert_eq!(u64_at(&file, 0x40 + 2 * SECTION_BYTES + 0x10), Ok(8));
        let once = file.clone();
        assert_eq!(lower_defmt_symbols(&mut file), Ok(1));
        assert_eq!(file, once);
    }

    #[test]
    fn an_image_without_strings_stays_as_it_is() {
        let mut file = elf(b".data");
        let before = file.clone();
        assert_eq!(lower_defmt_symbols(&mut file), Ok(0));
        assert_eq!(file, before);
    }

    #[test]
    fn anything_cut_off_or_foreign_is_an_error() {
        let file = elf(b".defmt");
        // The last 16 bytes of the last symbol are not looked at.
        for length in 0..file.len() - 16 {
            assert!(lower_defmt_symbols(&mut file[..length].to_vec()).is_err(), "{length}");
        }
        assert_eq!(lower_defmt_symbols(&mut b"#!/bin/sh".to_vec()), Err(ElfError::NotElf64));
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(at in 0usize..0x190, value in any::<u64>()) {
            let mut file = elf(b".defmt");
            if let Some(place) = file.get_mut(at..at + 8) {
                place.copy_from_slice(&value.to_le_bytes());
            }
            let _ = lower_defmt_symbols(&mut file);
        }
    }
}
