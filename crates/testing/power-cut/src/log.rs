//! The log that QEMU's block driver `blklogwrites` writes, in the format of Linux' dm-log-writes.
//!
//! A sector with the superblock; then, for each request, a sector with the entry, and the data. All numbers are little-endian.

use thiserror::Error;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;

const FLUSH: u64 = 1 << 0;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;
const MARK: u64 = 1 << 3;

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Superblock {
    magic: U64,
    version: U64,
    entries: U64,
    sector_bytes: U32,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    sector: U64,
    count: U64,
    flags: U64,
    data_bytes: U64,
}

/// One request that reached the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'l> {
    /// Whole sectors from this one on. With `durable` the request asked for them to be on the medium.
    Write { first: u64, data: &'l [u8], durable: bool },
    /// The content of so many sectors is given up.
    Discard { first: u64, count: u64 },
    /// All that is above it is on the medium.
    Flush,
    /// A name for this place.
    Mark,
}

/// The log in memory.
#[derive(Clone, Debug)]
pub struct Log<'l> {
    pub entries: Vec<Entry<'l>>,
    /// Bytes after the last entry that the superblock counts. QEMU counts anew with each flush.
    pub uncounted: usize,
}

/// Why bytes are no such log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LogError {
    #[error("it has no superblock")]
    NoSuperblock,
    #[error("it begins with {0:#x}, which is no log of writes")]
    Magic(u64),
    #[error("it has version {0}")]
    Version(u64),
    /// Sectors of the disk are counted in this unit, so it has to be that of the judge.
    #[error("it counts sectors of {0} bytes")]
    SectorBytes(u32),
    #[error("entry {0} is not all there")]
    Cut(u64),
    #[error("entry {0} has unknown flags {1:#x}")]
    Flags(u64, u64),
}

const SECTOR: usize = guest_protocol::SECTOR_BYTES;

impl<'l> Log<'l> {
    /// Reads a log.
    ///
    /// # Errors
    ///
    /// [`LogError`] for the first thing that is wrong.
    pub fn parse(bytes: &'l [u8]) -> Result<Self, LogError> {
        let (superblock, _) = Superblock::read_from_prefix(bytes).map_err(|_| LogError::NoSuperblock)?;
        let magic = superblock.magic.get();
        if magic != MAGIC {
            return Err(LogError::Magic(magic));
        }
        if superblock.version.get() != VERSION {
            return Err(LogError::Version(superblock.version.get()));
        }
        let sector_bytes = superblock.sector_bytes.get();
        if sector_bytes as usize != SECTOR {
            return Err(LogError::SectorBytes(sector_bytes));
        }
        let mut rest = bytes.get(SECTOR..).ok_or(LogError::NoSuperblock)?;
        let mut entries = Vec::new();
        for number in 0..superblock.entries.get() {
            let (entry, after) = entry(number, rest)?;
            entries.push(entry);
            rest = after;
        }
        Ok(Self {
            entries,
            uncounted: rest.len(),
        })
    }
}

/// The entry at the start of these bytes, and what is after it.
fn entry(number: u64, bytes: &[u8]) -> Result<(Entry<'_>, &[u8]), LogError> {
    let cut = LogError::Cut(number);
    let (sector, mut rest) = bytes.split_at_checked(SECTOR).ok_or(cut)?;
    let (header, _) = Header::read_from_prefix(sector).map_err(|_| cut)?;
    let (first, count, flags) = (header.sector.get(), header.count.get(), header.flags.get());
    if flags & !(FLUSH | FUA | DISCARD | MARK) != 0 {
        return Err(LogError::Flags(number, flags));
    }
    let mut data = |bytes: u64| {
        let (data, after) = usize::try_from(bytes)
            .ok()
            .and_then(|bytes| rest.split_at_checked(bytes))
            .ok_or(cut)?;
        rest = after;
        Ok(data)
    };
    let entry = if flags & MARK != 0 {
        // Its text is in the sector of the entry.
        Entry::Mark
    } else if flags & DISCARD != 0 {
        Entry::Discard { first, count }
    } else if flags & FLUSH != 0 && count == 0 {
        Entry::Flush
    } else {
        let data = data(count.checked_mul(SECTOR as u64).ok_or(cut)?)?;
        let durable = flags & FUA != 0;
        Entry::Write { first, data, durable }
    };
    Ok((entry, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock(entries: u64) -> Vec<u8> {
        let superblock = Superblock {
            magic: U64::new(MAGIC),
            version: U64::new(VERSION),
            entries: U64::new(entries),
            sector_bytes: U32::new(SECTOR as u32),
        };
        let mut bytes = superblock.as_bytes().to_vec();
        bytes.resize(SECTOR, 0);
        bytes
    }

    fn header(sector: u64, count: u64, flags: u64) -> Vec<u8> {
        let header = Header {
            sector: U64::new(sector),
            count: U64::new(count),
            flags: U64::new(flags),
            data_bytes: U64::new(0),
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(SECTOR, 0);
        bytes
    }

    /// A write, a flush, a discard, a mark, a write that is durable, and a tail.
    fn sample() -> Vec<u8> {
        let parts = [
            superblock(5),
            header(40, 2, 0),
            [[1; SECTOR], [2; SECTOR]].concat(),
            header(0, 0, FLUSH),
            header(7, 100, DISCARD),
            header(0, 0, MARK),
            header(9, 1, FUA),
            vec![3; SECTOR],
            vec![0; 5],
        ];
        parts.concat()
    }

    #[test]
    fn every_kind_of_entry_is_read() {
        let bytes = sample();
        let log = Log::parse(&bytes).unwrap();
        let write = |first, data, durable| Entry::Write { first, data, durable };
        let entries = [
            write(40, &bytes[2 * SECTOR..4 * SECTOR], false),
            Entry::Flush,
            Entry::Discard { first: 7, count: 100 },
            Entry::Mark,
            write(9, &bytes[8 * SECTOR..9 * SECTOR], true),
        ];
        assert_eq!((log.entries, log.uncounted), (entries.to_vec(), 5));
    }

    #[test]
    fn a_log_cut_before_its_last_entry_is_an_error() {
        let bytes = sample();
        for end in 0..9 * SECTOR {
            assert!(Log::parse(&bytes[..end]).is_err(), "{end}");
        }
        assert!(Log::parse(&bytes[..9 * SECTOR]).is_ok());
    }

    #[test]
    fn other_files_are_refused() {
        let refused = |place: usize, byte: u8| {
            let mut bytes = sample();
            bytes[place] = byte;
            Log::parse(&bytes).unwrap_err()
        };
        assert!(matches!(refused(0, 0), LogError::Magic(_)));
        assert_eq!(refused(8, 2), LogError::Version(2));
        assert_eq!(refused(25, 16), LogError::SectorBytes(4096));
        assert_eq!(refused(SECTOR + 16, 16), LogError::Flags(0, 16));
        assert_eq!(
            refused(SECTOR + 15, 0xff),
            LogError::Cut(0),
            "more data than there can be"
        );
        assert_eq!(Log::parse(&[]).unwrap_err(), LogError::NoSuperblock);
    }
}
