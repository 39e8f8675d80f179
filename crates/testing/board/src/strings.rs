//! The host's half of how `defmt` strings are linked.
//!
//! `defmt` numbers its format strings by the addresses of symbols close to zero, which code at 0x8020_0000 cannot reach.
//! The linker script therefore puts them higher up, and frames carry the lower 16 bits. Decoders know nothing of that;
//! they take the whole address from the ELF file. So it is changed in a copy of the file before a decoder sees it.

extern crate alloc;

use alloc::vec::Vec;

use elf::abi::SHT_SYMTAB;
use elf::endian::LittleEndian;
use elf::{ElfBytes, ParseError};

/// Where the address is in the header of a section and in a symbol, and how long a symbol is.
const SECTION_ADDRESS: usize = 16;
const SYMBOL_VALUE: usize = 8;
const SYMBOL_BYTES: usize = 24;

/// Takes the upper bits off the addresses of all symbols in the section `.defmt` of an image, and off that section's own.
///
/// For the host: do this to the bytes of an image before handing them to `defmt-decoder`. Doing it twice does no harm.
/// Returns how many symbols the section has; zero for an image that does not use `defmt`.
///
/// # Errors
///
/// The bytes are no ELF file, or one that is cut off.
pub fn lower_defmt_symbols(file: &mut [u8]) -> Result<usize, ParseError> {
    let addresses = addresses(file)?.unwrap_or_default();
    for &at in &addresses {
        // The lower 16 bits of the 64 stay.
        if let Some(upper) = file.get_mut(at + 2..at + 8) {
            upper.fill(0);
        }
    }
    // One of them is that of the section.
    Ok(addresses.len().saturating_sub(1))
}

/// Where in the file the addresses are; `None` without `defmt`.
fn addresses(file: &[u8]) -> Result<Option<Vec<usize>>, ParseError> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
    let (Some(sections), Some(names)) = elf.section_headers_with_strtab()? else {
        return Ok(None);
    };
    let is_defmt = |name: u32| names.get(name as usize).is_ok_and(|name| name == ".defmt");
    let Some(strings) = sections.iter().position(|section| is_defmt(section.sh_name)) else {
        return Ok(None);
    };
    let table = sections.iter().find(|section| section.sh_type == SHT_SYMTAB);
    let (Some(table), Some((symbols, _))) = (table, elf.symbol_table()?) else {
        return Ok(None);
    };
    let header = elf.ehdr.e_shoff as usize + strings * usize::from(elf.ehdr.e_shentsize);
    let first = table.sh_offset as usize;
    let of_strings = (0..).zip(symbols.iter());
    let of_strings = of_strings.filter(|(_, symbol)| usize::from(symbol.st_shndx) == strings);
    let values = of_strings.map(|(index, _): (usize, _)| first + index * SYMBOL_BYTES + SYMBOL_VALUE);
    Ok(Some([header + SECTION_ADDRESS].into_iter().chain(values).collect()))
}
