//! The rules by which MINIX riscv64 loads a program.
//!
//! Machine, flags and section headers are not looked at, and neither are program headers other than `PT_LOAD` and
//! `PT_INTERP`. Nothing is relocated.

use core::fmt;
use core::ops::Range;

use elf::abi::{ET_DYN, ET_EXEC, EV_CURRENT, PF_X, PT_INTERP, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::parse::{ParseError, ParsingTable};
use elf::segment::ProgramHeader;
use heapless::Vec;
use minix_abi::PAGE_BYTES;
use minix_abi::process::{ELF_HEADERS_LIMIT, ELF_PROGRAM_HEADER_BYTES, IMAGE_LIMIT, RESERVED, STACK};

const ELF_HEADER_BYTES: usize = 64;
const IDENT_BYTES: usize = 16;
/// Program headers that end within the limit.
const MAX_HEADERS: usize = ELF_HEADERS_LIMIT as usize / ELF_PROGRAM_HEADER_BYTES as usize;

/// A part of the program that has to be in memory. Bytes after those of the file are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    pub address: u64,
    pub file: &'a [u8],
    pub memory_bytes: u64,
    /// Every segment may be read and written.
    pub is_executable: bool,
}

impl<'a> Segment<'a> {
    fn new(file: &'a [u8], header: &ProgramHeader) -> Result<Self, ElfError> {
        let error = |rule| Err(ElfError::Segment(header.p_vaddr, rule));
        if header.p_filesz > header.p_memsz {
            return error("is larger in the file than in memory");
        }
        let range = usize::try_from(header.p_offset)
            .ok()
            .zip(header.p_filesz.try_into().ok());
        let content = range.and_then(|(start, bytes): (_, usize)| file.get(start..)?.get(..bytes));
        let Some(content) = content else {
            return error("is not all in the file");
        };
        let end = header.p_vaddr.checked_add(header.p_memsz);
        if end.is_none_or(|end| end > IMAGE_LIMIT) {
            return error("does not end below 4 GiB");
        }
        let segment = Self {
            address: header.p_vaddr,
            file: content,
            memory_bytes: header.p_memsz,
            is_executable: header.p_flags & PF_X != 0,
        };
        // The space of a process ends with its stack.
        if RESERVED.iter().any(|range| segment.meets(range)) || segment.pages().end > STACK.start {
            return error("is where kernel or stack are");
        }
        Ok(segment)
    }

    /// The pages it takes, as a range of addresses.
    pub fn pages(&self) -> Range<u64> {
        let end = self.address + self.memory_bytes;
        self.address - self.address % PAGE_BYTES..end.next_multiple_of(PAGE_BYTES)
    }

    fn meets(&self, other: &Range<u64>) -> bool {
        let pages = self.pages();
        other.start < pages.end && pages.start < other.end
    }
}

/// A program that can be loaded.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    pub entry: u64,
    /// In the order of the file.
    pub segments: Vec<Segment<'a>, MAX_HEADERS>,
}

impl<'a> Image<'a> {
    /// Checks a file against all rules.
    ///
    /// # Errors
    ///
    /// The first broken rule.
    pub fn parse(file: &'a [u8]) -> Result<Self, ElfError> {
        let error = |rule| Err(ElfError::File(rule));
        let header = file_header(file).map_err(ElfError::File)?;
        if !matches!(header.e_type, ET_EXEC | ET_DYN) {
            return error("neither ET_EXEC nor ET_DYN");
        }
        let mut segments = Vec::new();
        for header in program_headers(file, &header).map_err(ElfError::File)? {
            match header.p_type {
                PT_INTERP => return error("wants an interpreter: it is not static"),
                PT_LOAD if header.p_memsz > 0 => {}
                _ => continue,
            }
            let segment = Segment::new(file, &header)?;
            if segments.iter().any(|other: &Segment<'_>| segment.meets(&other.pages())) {
                return Err(ElfError::Segment(segment.address, "shares a page with another one"));
            }
            // There are no more headers than that.
            let _ = segments.push(segment);
        }
        let entry = header.e_entry;
        let has_entry = |segment: &Segment<'_>| {
            segment.is_executable && (segment.address..segment.address + segment.memory_bytes).contains(&entry)
        };
        if !segments.iter().any(has_entry) {
            return error("the entry point is not in an executable segment");
        }
        Ok(Self { entry, segments })
    }
}

fn file_header(file: &[u8]) -> Result<FileHeader<LittleEndian>, &'static str> {
    let ident = file.first_chunk::<IDENT_BYTES>().ok_or("not an ELF file")?;
    let ident = parse_ident::<LittleEndian>(ident).map_err(|error| match error {
        ParseError::BadMagic(_) => "not an ELF file",
        ParseError::UnsupportedElfClass(_) => "not a 64-bit ELF file",
        ParseError::UnsupportedElfEndianness(_) => "not a little-endian ELF file",
        _ => "not of ELF version 1",
    })?;
    if ident.1 != Class::ELF64 {
        return Err("not a 64-bit ELF file");
    }
    let tail = file.get(IDENT_BYTES..ELF_HEADER_BYTES);
    let header = tail.and_then(|tail| FileHeader::parse_tail(ident, tail).ok());
    match header.ok_or("ends within its headers")? {
        header if header.version == u32::from(EV_CURRENT) => Ok(header),
        _ => Err("not of ELF version 1"),
    }
}

fn program_headers<'a>(
    file: &'a [u8],
    header: &FileHeader<LittleEndian>,
) -> Result<ParsingTable<'a, LittleEndian, ProgramHeader>, &'static str> {
    if header.e_phnum == 0 {
        return Err("no program headers");
    }
    if header.e_phentsize != ELF_PROGRAM_HEADER_BYTES {
        return Err("program headers of another size instead of 56 bytes");
    }
    let bytes = u64::from(header.e_phnum) * u64::from(ELF_PROGRAM_HEADER_BYTES);
    let end = header.e_phoff.checked_add(bytes);
    let end = end.filter(|&end| end <= ELF_HEADERS_LIMIT);
    let end = end.ok_or("program headers not within the first 512 bytes (8 fit)")?;
    let table = file.get(header.e_phoff as usize..end as usize);
    let table = table.ok_or("ends within its headers")?;
    Ok(ParsingTable::new(LittleEndian, Class::ELF64, table))
}

/// The rule that a file breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    File(&'static str),
    /// The segment at this address breaks it.
    Segment(u64, &'static str),
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(rule) => f.write_str(rule),
            Self::Segment(at, rule) => write!(f, "segment at {at:#x} {rule}"),
        }
    }
}
