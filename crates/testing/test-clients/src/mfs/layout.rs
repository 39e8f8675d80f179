//! What is on the disk: the structures of the MINIX file system, version 3, and their numbers.
//!
//! Plain data, for readers and for tests that make such a file system. All numbers are little-endian.
//!
//! | where | what |
//! |---|---|
//! | byte [`SUPER_POSITION`] | [`SuperBlock`] |
//! | block [`FIRST_MAP_BLOCK`] on | bitmap of inodes, `inode_map_blocks` blocks; bit 0 is taken, bit n is inode n |
//! | next | bitmap of zones, `zone_map_blocks` blocks; bit 0 is taken, bit n is zone `first_data_zone + n - 1` |
//! | next | inodes from number 1 on, [`INODE_BYTES`] each |
//! | zone `first_data_zone` on | contents. A zone is `1 << log_zone_size` blocks; zone n starts at block `n << log_zone_size` |

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Where the superblock is, in bytes from the start of the file system, for every size of a block.
pub(super) const SUPER_POSITION: u64 = 1024;
/// What makes it a superblock of version 3.
pub(super) const MAGIC: u16 = 0x4D5A;
/// The block at which the bitmaps start.
pub(super) const FIRST_MAP_BLOCK: u64 = 2;
/// Bytes of an inode.
pub(super) const INODE_BYTES: usize = 64;
/// Bytes of a directory entry.
pub(super) const ENTRY_BYTES: usize = 64;
/// The inode of the root directory.
pub(super) const ROOT_INODE: u32 = 1;
/// Zones of a file that its inode names itself.
pub(super) const DIRECT_ZONES: usize = 7;
/// Zone numbers in an inode: the direct ones, then one each of a single, double and triple indirect block.
pub(super) const ZONES: usize = DIRECT_ZONES + 3;
/// Longest name of a file, in bytes.
pub(super) const NAME_BYTES: usize = 60;

/// The superblock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct SuperBlock {
    /// Inodes there are, used or not.
    pub(super) inodes: U32,
    /// Unused in this version.
    pub(super) old_zones: U16,
    /// Blocks of the bitmap of inodes.
    pub(super) inode_map_blocks: U16,
    /// Blocks of the bitmap of zones.
    pub(super) zone_map_blocks: U16,
    /// The first zone with contents; zero if it does not fit, then it is the first one after the inodes.
    pub(super) first_data_zone: U16,
    /// Blocks of a zone, as a power of two.
    pub(super) log_zone_size: U16,
    /// Set while mounted.
    pub(super) flags: U16,
    /// Longest file, in bytes.
    pub(super) max_bytes: U32,
    /// Zones there are, counted from the start of the file system.
    pub(super) zones: U32,
    /// [`MAGIC`].
    pub(super) magic: U16,
    pub(super) pad: U16,
    /// Bytes of a block.
    pub(super) block_bytes: U16,
    pub(super) disk_version: u8,
    pub(super) end: u8,
}

/// An inode: what a file is and where its contents are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct Inode {
    /// Kind ([`KIND_MASK`]) and permissions. Zero in a free inode.
    pub(super) mode: U16,
    /// Directory entries that name it.
    pub(super) links: U16,
    /// Owner.
    pub(super) user: U16,
    /// Group.
    pub(super) group: U16,
    /// Bytes of the contents.
    pub(super) bytes: U32,
    /// When it was last read, in seconds.
    pub(super) accessed: U32,
    /// When it was last written.
    pub(super) modified: U32,
    /// When its inode was last changed.
    pub(super) changed: U32,
    /// Where its contents are; zero is a hole. A device has its number in the first one.
    pub(super) zones: [U32; ZONES],
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct DirEntry {
    /// The inode; zero if the entry is free.
    pub(super) inode: U32,
    /// The name, filled up with NUL.
    pub(super) name: [u8; NAME_BYTES],
}

const _: () = assert!(size_of::<SuperBlock>() == 32);
const _: () = assert!(size_of::<Inode>() == INODE_BYTES);
const _: () = assert!(size_of::<DirEntry>() == ENTRY_BYTES);

/// The bits of a mode that tell the kind of a file.
pub(super) const KIND_MASK: u16 = 0o170_000;
/// Kind: pipe.
pub(super) const PIPE: u16 = 0o010_000;
/// Kind: character device.
pub(super) const CHARACTER_DEVICE: u16 = 0o020_000;
/// Kind: directory.
pub(super) const DIRECTORY: u16 = 0o040_000;
/// Kind: block device.
pub(super) const BLOCK_DEVICE: u16 = 0o060_000;
/// Kind: regular file.
pub(super) const REGULAR: u16 = 0o100_000;
/// Kind: symbolic link; the contents are what it points to.
pub(super) const LINK: u16 = 0o120_000;

impl Inode {
    /// The kind: one of the constants above, in an undamaged file system.
    pub(super) fn kind(&self) -> u16 {
        self.mode.get() & KIND_MASK
    }
}

impl DirEntry {
    /// The name without what fills it up.
    pub(super) fn name(&self) -> &[u8] {
        let end = self.name.iter().position(|byte| *byte == 0);
        &self.name[..end.unwrap_or(NAME_BYTES)]
    }
}
