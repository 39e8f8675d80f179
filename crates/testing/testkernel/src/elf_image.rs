//! The rules by which MINIX riscv64 loads a program, each with an error of its own.
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
use minix_abi::PAGE_BYTES;
use minix_abi::process::{ELF_HEADERS_LIMIT, ELF_PROGRAM_HEADER_BYTES, IMAGE_LIMIT, RESERVED, STACK};

const ELF_HEADER_BYTES: usize = 64;
const IDENT_BYTES: usize = 16;

/// A part of the program that has to be in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Where it goes.
    pub address: u64,
    /// What it begins with.
    pub file: &'a [u8],
    /// Bytes it has in memory; what the file does not give is zero.
    pub memory_bytes: u64,
    /// Whether it may be executed. It may be read and written in any case.
    pub is_executable: bool,
}

impl Segment<'_> {
    /// The pages it takes, from the first byte of the first to the first behind the last.
    pub fn pages(&self) -> Range<u64> {
        let start = self.address - self.address % PAGE_BYTES;
        // `Image::parse` has seen that it ends below 4 GiB.
        let end = self.address.saturating_add(self.memory_bytes);
        start..end.saturating_add(PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES
    }
}

/// A program that can be loaded.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    file: &'a [u8],
    headers: ParsingTable<'a, LittleEndian, ProgramHeader>,
    /// Where it starts.
    pub entry: u64,
}

impl<'a> Image<'a> {
    /// Checks a file against all rules.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks.
    pub fn parse(file: &'a [u8]) -> Result<Self, ElfError> {
        let ident = file.first_chunk::<IDENT_BYTES>().ok_or(ElfError::NotElf)?;
        let ident = parse_ident::<LittleEndian>(ident).map_err(|error| match error {
            ParseError::BadMagic(_) => ElfError::NotElf,
            ParseError::UnsupportedElfClass(_) => ElfError::Not64Bit,
            ParseError::UnsupportedElfEndianness(_) => ElfError::NotLittleEndian,
            _ => ElfError::BadVersion,
        })?;
        if ident.1 != Class::ELF64 {
            return Err(ElfError::Not64Bit);
        }
        let tail = file.get(IDENT_BYTES..ELF_HEADER_BYTES).ok_or(ElfError::Truncated)?;
        let header = FileHeader::parse_tail(ident, tail).map_err(|_| ElfError::Truncated)?;
        if header.version != u32::from(EV_CURRENT) {
            return Err(ElfError::BadVersion);
        }
        if !matches!(header.e_type, ET_EXEC | ET_DYN) {
            return Err(ElfError::NotAProgram { kind: header.e_type });
        }
        let image = Self {
            file,
            headers: program_headers(file, &header)?,
            entry: header.e_entry,
        };
        image.check_segments()?;
        Ok(image)
    }

    /// What has to be in memory, in the order of the file.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'a>> + '_ {
        // `parse` has seen that every one can be read.
        self.headers
            .iter()
            .filter_map(|header| self.segment(&header).ok().flatten())
    }

    /// Bytes of memory the program takes, in whole pages.
    pub fn memory_bytes(&self) -> u64 {
        self.segments()
            .map(|segment| segment.pages())
            .map(|pages| pages.end - pages.start)
            .sum()
    }

    /// The segment a header stands for, if it does.
    fn segment(&self, header: &ProgramHeader) -> Result<Option<Segment<'a>>, ElfError> {
        match header.p_type {
            PT_INTERP => return Err(ElfError::NeedsInterpreter),
            PT_LOAD if header.p_memsz > 0 => {}
            _ => return Ok(None),
        }
        let at = header.p_vaddr;
        if header.p_filesz > header.p_memsz {
            return Err(ElfError::FileLargerThanMemory { at });
        }
        let outside = ElfError::SegmentOutsideFile { at };
        let start = usize::try_from(header.p_offset).map_err(|_| outside)?;
        let bytes = usize::try_from(header.p_filesz).map_err(|_| outside)?;
        let rest = self.file.get(start..).ok_or(outside)?;
        Ok(Some(Segment {
            address: at,
            file: rest.get(..bytes).ok_or(outside)?,
            memory_bytes: header.p_memsz,
            is_executable: header.p_flags & PF_X != 0,
        }))
    }

    fn check_segments(&self) -> Result<(), ElfError> {
        let mut has_entry = false;
        for (index, header) in self.headers.iter().enumerate() {
            let Some(segment) = self.segment(&header)? else {
                continue;
            };
            let at = segment.address;
            let end = at.checked_add(segment.memory_bytes);
            if end.is_none_or(|end| end > IMAGE_LIMIT) {
                return Err(ElfError::Above4Gib { at });
            }
            let pages = segment.pages();
            let meets = |other: &Range<u64>| other.start < pages.end && pages.start < other.end;
            // The space of a process ends with its stack.
            if RESERVED.iter().any(meets) || pages.end > STACK.start {
                return Err(ElfError::Reserved { at });
            }
            let mut earlier = self.headers.iter().take(index);
            if earlier.any(|header| matches!(self.segment(&header), Ok(Some(other)) if meets(&other.pages()))) {
                return Err(ElfError::SharedPage { at });
            }
            has_entry |= segment.is_executable && at <= self.entry && end.is_some_and(|end| self.entry < end);
        }
        if has_entry { Ok(()) } else { Err(ElfError::EntryOutside) }
    }
}

fn program_headers<'a>(
    file: &'a [u8],
    header: &FileHeader<LittleEndian>,
) -> Result<ParsingTable<'a, LittleEndian, ProgramHeader>, ElfError> {
    if header.e_phnum == 0 {
        return Err(ElfError::NoProgramHeaders);
    }
    if header.e_phentsize != ELF_PROGRAM_HEADER_BYTES {
        return Err(ElfError::BadProgramHeaderSize {
            bytes: header.e_phentsize,
        });
    }
    let bytes = u64::from(header.e_phnum) * u64::from(ELF_PROGRAM_HEADER_BYTES);
    let end = header.e_phoff.checked_add(bytes);
    let end = end
        .filter(|&end| end <= ELF_HEADERS_LIMIT)
        .ok_or(ElfError::HeadersTooFarBack)?;
    let table = file
        .get(header.e_phoff as usize..end as usize)
        .ok_or(ElfError::Truncated)?;
    Ok(ParsingTable::new(LittleEndian, Class::ELF64, table))
}

/// Which rule a file breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElfError {
    /// It does not begin like an ELF file.
    NotElf,
    /// It is for a machine with another word size.
    Not64Bit,
    /// It is for a machine with another byte order.
    NotLittleEndian,
    /// It is of an ELF version there has never been.
    BadVersion,
    /// It ends within its headers.
    Truncated,
    /// It is neither `ET_EXEC` nor `ET_DYN`.
    NotAProgram {
        /// What it is instead.
        kind: u16,
    },
    /// It has nothing to load.
    NoProgramHeaders,
    /// A program header does not have 56 bytes.
    BadProgramHeaderSize {
        /// What it has.
        bytes: u16,
    },
    /// Not all program headers end within the first 512 bytes of the file: there is room for eight.
    HeadersTooFarBack,
    /// It wants to be loaded by another program.
    NeedsInterpreter,
    /// A segment has more bytes in the file than in memory.
    FileLargerThanMemory {
        /// The segment's address.
        at: u64,
    },
    /// A segment's bytes are not all in the file.
    SegmentOutsideFile {
        /// The segment's address.
        at: u64,
    },
    /// A segment does not end below 4 GiB.
    Above4Gib {
        /// The segment's address.
        at: u64,
    },
    /// A segment lies where the kernel keeps something, or the stack is.
    Reserved {
        /// The segment's address.
        at: u64,
    },
    /// A segment begins or ends on a page that an earlier one uses.
    SharedPage {
        /// The segment's address.
        at: u64,
    },
    /// The first instruction is in no segment that may be executed.
    EntryOutside,
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => f.write_str("not an ELF file"),
            Self::Not64Bit => f.write_str("not a 64-bit ELF file"),
            Self::NotLittleEndian => f.write_str("not a little-endian ELF file"),
            Self::BadVersion => f.write_str("not of ELF version 1"),
            Self::Truncated => f.write_str("ends within its headers"),
            Self::NotAProgram { kind } => write!(f, "of type {kind}, which is neither ET_EXEC nor ET_DYN"),
            Self::NoProgramHeaders => f.write_str("no program headers"),
            Self::BadProgramHeaderSize { bytes } => write!(f, "program headers of {bytes} bytes instead of 56"),
            Self::HeadersTooFarBack => f.write_str("program headers not within the first 512 bytes (8 fit)"),
            Self::NeedsInterpreter => f.write_str("wants an interpreter: it is not static"),
            Self::FileLargerThanMemory { at } => write!(f, "segment at {at:#x} is larger in the file than in memory"),
            Self::SegmentOutsideFile { at } => write!(f, "segment at {at:#x} is not all in the file"),
            Self::Above4Gib { at } => write!(f, "segment at {at:#x} does not end below 4 GiB"),
            Self::Reserved { at } => write!(f, "segment at {at:#x} is where kernel or stack are"),
            Self::SharedPage { at } => write!(f, "segment at {at:#x} shares a page with another one"),
            Self::EntryOutside => f.write_str("the entry point is not in an executable segment"),
        }
    }
}

impl core::error::Error for ElfError {}
