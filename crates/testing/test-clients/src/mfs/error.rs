//! What can be wrong with a file system.

use core::fmt;

/// Why a file system could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MfsError<E> {
    /// The volume could not be read.
    Read(E),
    /// What was read makes no sense.
    Damaged(Damage),
}

impl<E> From<Damage> for MfsError<E> {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl<E: fmt::Display> fmt::Display for MfsError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot read: {error}"),
            Self::Damaged(damage) => write!(f, "damaged: {damage}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for MfsError<E> {}

/// What makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The volume is too short for any file system.
    TooShort,
    /// No superblock of version 3: this is where its magic number should be.
    Magic(u16),
    /// A size of block that no file system has, or one this reader has no room for.
    BlockBytes(u16),
    /// A zone of 2 to the power of this many blocks.
    ZoneSize(u16),
    /// Bitmaps, inodes and zones do not fit together, or not on the volume.
    Geometry,
    /// The root is no directory.
    Root,
    /// An inode number outside of the table.
    InodeNumber(u32),
    /// An entry names an inode that is free, or of an unknown kind.
    InodeKind(u32),
    /// A file is longer than a file can be.
    FileBytes(u32),
    /// A zone number outside of the part with contents.
    Zone(u32),
    /// A directory with a hole, or whose length is not a number of entries.
    Directory(u32),
    /// An entry with a name that no file can have, in this directory.
    Name(u32),
    /// Directories deeper than this reader follows, or a path too long for it; possibly a loop.
    TooDeep,
    /// More directory blocks than there are blocks: a loop, or directories with several parents.
    Loop,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooShort => f.write_str("too short for a file system"),
            Self::Magic(magic) => write!(f, "magic number {magic:#06x} instead of {:#06x}", super::layout::MAGIC),
            Self::BlockBytes(bytes) => write!(f, "blocks of {bytes} bytes"),
            Self::ZoneSize(log) => write!(f, "zones of 2^{log} blocks"),
            Self::Geometry => f.write_str("bitmaps, inodes and zones do not fit"),
            Self::Root => f.write_str("the root is no directory"),
            Self::InodeNumber(number) => write!(f, "there is no inode {number}"),
            Self::InodeKind(number) => write!(f, "inode {number} is no file"),
            Self::FileBytes(number) => write!(f, "inode {number} is too long"),
            Self::Zone(zone) => write!(f, "zone {zone} has no contents"),
            Self::Directory(number) => write!(f, "directory {number} has holes or half an entry"),
            Self::Name(number) => write!(f, "a bad name in directory {number}"),
            Self::TooDeep => f.write_str("directories too deep"),
            Self::Loop => f.write_str("directories contain themselves"),
        }
    }
}

impl core::error::Error for Damage {}
