//! The check of a whole blob that comes before everything else.
//!
//! `dtoolkit` reads a blob well but checks more than it needs: it refuses blocks in another order than most tools write,
//! though the specification's order is a recommendation that TinyEMU and others do not follow, and its errors name neither
//! the broken block nor, in a form a program can read, the place. So the check is made here, and `dtoolkit` reads blobs that
//! passed it. `dtoolkit`'s readers rely on these facts, each of which is checked below:
//!
//! * the structure and strings blocks lie inside the blob, and the list of reservations ends inside it,
//! * the structure is one tree of whole tokens: each name ends, each value is there, properties come before children,
//! * each name is text.
//!
//! A test holds this check against `dtoolkit`'s own on blobs whose order `dtoolkit` takes.

use core::ops::Range;

use crate::error::{Block, Defect, FdtError};
use crate::walk::MAX_DEPTH;

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 40;

/// The version whose layout is read.
const VERSION: u32 = 17;

/// Bytes of a token, and the alignment of each token.
const TOKEN_BYTES: usize = 4;

/// Bytes of an entry of the list of reservations.
const RESERVATION_BYTES: usize = 16;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// Offsets of the header's fields in bytes.
mod field {
    pub(super) const STRUCTURE_OFFSET: usize = 8;
    pub(super) const STRINGS_OFFSET: usize = 12;
    pub(super) const RESERVATIONS_OFFSET: usize = 16;
    pub(super) const VERSION: usize = 20;
    pub(super) const LAST_COMPATIBLE_VERSION: usize = 24;
    pub(super) const STRINGS_BYTES: usize = 32;
    pub(super) const STRUCTURE_BYTES: usize = 36;
}

/// Checks a blob that has the magic number and exactly the size in its header.
pub(crate) fn check(blob: &[u8]) -> Result<(), FdtError> {
    let header = |offset| word_at(blob, offset).ok_or(corrupt(Block::Header, offset, Defect::Outside));
    let version = header(field::VERSION)?;
    if !(header(field::LAST_COMPATIBLE_VERSION)?..=version).contains(&VERSION) {
        return Err(FdtError::UnsupportedVersion(version));
    }
    let structure = place(
        blob,
        Block::Structure,
        header(field::STRUCTURE_OFFSET)?,
        header(field::STRUCTURE_BYTES)?,
    )?;
    let strings = place(
        blob,
        Block::Strings,
        header(field::STRINGS_OFFSET)?,
        header(field::STRINGS_BYTES)?,
    )?;
    let reservations = place_of_reservations(blob, header(field::RESERVATIONS_OFFSET)?)?;
    if overlap(&reservations, &structure) || overlap(&reservations, &strings) {
        return Err(corrupt(Block::Reservations, reservations.start, Defect::Overlap));
    }
    if overlap(&structure, &strings) {
        return Err(corrupt(Block::Strings, strings.start, Defect::Overlap));
    }
    Structure {
        // The offsets stay those of the blob; bytes beyond the block cannot be read.
        bytes: blob.get(..structure.end).unwrap_or(&[]),
        at: structure.start,
        strings: blob.get(strings.clone()).unwrap_or(&[]),
        strings_at: strings.start,
    }
    .check()
}

fn corrupt(block: Block, offset_bytes: usize, defect: Defect) -> FdtError {
    FdtError::Corrupt {
        block,
        offset_bytes,
        defect,
    }
}

fn word_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes
        .get(offset..)?
        .first_chunk::<TOKEN_BYTES>()
        .map(|word| u32::from_be_bytes(*word))
}

/// Where a block of known size lies.
fn place(blob: &[u8], block: Block, offset: u32, size: u32) -> Result<Range<usize>, FdtError> {
    let (start, size) = (offset as usize, size as usize);
    if block == Block::Structure && !start.is_multiple_of(TOKEN_BYTES) {
        return Err(corrupt(block, start, Defect::Misaligned));
    }
    match start.checked_add(size) {
        Some(end) if start >= HEADER_BYTES && end <= blob.len() => Ok(start..end),
        _ => Err(corrupt(block, start, Defect::Outside)),
    }
}

/// Where the list of reservations lies. It has no size: an entry of zeroes ends it.
fn place_of_reservations(blob: &[u8], offset: u32) -> Result<Range<usize>, FdtError> {
    let start = offset as usize;
    if !start.is_multiple_of(8) {
        return Err(corrupt(Block::Reservations, start, Defect::Misaligned));
    }
    let list = blob.get(start..).filter(|_| start >= HEADER_BYTES);
    let list = list.ok_or(corrupt(Block::Reservations, start, Defect::Outside))?;
    let (entries, _) = list.as_chunks::<RESERVATION_BYTES>();
    match entries.iter().position(|entry| *entry == [0; RESERVATION_BYTES]) {
        Some(last) => Ok(start..start + (last + 1) * RESERVATION_BYTES),
        None => Err(corrupt(Block::Reservations, start, Defect::Unterminated)),
    }
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start.max(other.start) < one.end.min(other.end)
}

/// The structure block during the check.
struct Structure<'a> {
    /// The blob up to the end of the block.
    bytes: &'a [u8],
    /// Offset of the next token.
    at: usize,
    strings: &'a [u8],
    strings_at: usize,
}

impl Structure<'_> {
    fn check(&mut self) -> Result<(), FdtError> {
        let mut depth = 0;
        let mut properties_may_follow = false;
        // The root node comes first, and nothing but the end comes after it.
        let mut root_ended = false;
        loop {
            let at = self.at;
            let token = self.word(Defect::Unterminated)?;
            match token {
                BEGIN_NODE if !root_ended => {
                    self.node_name(depth == 0)?;
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(FdtError::TooDeep);
                    }
                    properties_may_follow = true;
                }
                PROPERTY if properties_may_follow => self.property()?,
                END_NODE if depth > 0 => {
                    depth -= 1;
                    properties_may_follow = false;
                    root_ended = depth == 0;
                }
                NOP if depth > 0 => {}
                END if root_ended => return Ok(()),
                BEGIN_NODE | PROPERTY | END_NODE | NOP | END => {
                    return Err(corrupt(Block::Structure, at, Defect::MisplacedToken(token)));
                }
                _ => return Err(corrupt(Block::Structure, at, Defect::UnknownToken(token))),
            }
        }
    }

    fn word(&mut self, missing: Defect) -> Result<u32, FdtError> {
        let word = word_at(self.bytes, self.at).ok_or(corrupt(Block::Structure, self.at, missing))?;
        self.at += TOKEN_BYTES;
        Ok(word)
    }

    /// Steps over so many bytes and their padding.
    fn skip(&mut self, bytes: usize) -> Option<()> {
        let end = self.at.checked_add(bytes).filter(|end| *end <= self.bytes.len())?;
        self.at = end.checked_next_multiple_of(TOKEN_BYTES)?;
        Some(())
    }

    fn node_name(&mut self, is_root: bool) -> Result<(), FdtError> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let name = until_nul(rest).ok_or(corrupt(Block::Structure, self.at, Defect::Unterminated))?;
        if name.is_empty() != is_root || !is_text(name) {
            return Err(corrupt(Block::Structure, self.at, Defect::BadName));
        }
        self.skip(name.len() + 1)
            .ok_or(corrupt(Block::Structure, self.at, Defect::Unterminated))
    }

    fn property(&mut self) -> Result<(), FdtError> {
        let length = self.word(Defect::Unterminated)? as usize;
        let name_offset = self.word(Defect::Unterminated)? as usize;
        let name_at = self.strings_at.saturating_add(name_offset);
        let rest = self.strings.get(name_offset..).filter(|rest| !rest.is_empty());
        let rest = rest.ok_or(corrupt(Block::Strings, name_at, Defect::Outside))?;
        let name = until_nul(rest).ok_or(corrupt(Block::Strings, name_at, Defect::Unterminated))?;
        if name.is_empty() || !is_text(name) {
            return Err(corrupt(Block::Strings, name_at, Defect::BadName));
        }
        self.skip(length)
            .ok_or(corrupt(Block::Structure, self.at, Defect::Outside))
    }
}

fn until_nul(bytes: &[u8]) -> Option<&[u8]> {
    bytes
        .split(|&byte| byte == 0)
        .next()
        .filter(|name| name.len() < bytes.len())
}

/// Whether a name is printable. The specification allows fewer characters, and at most 31 of them; trees in use have
/// longer names, and nothing here depends on it.
fn is_text(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}
