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

/// Where the superblock is, in bytes from the start of the file system, whatever the size of a block.
pub const SUPER_POSITION: u64 = 1024;
/// What makes it a superblock of version 3.
pub const MAGIC: u16 = 0x4D5A;
/// The block at which the bitmaps start.
pub const FIRST_MAP_BLOCK: u64 = 2;
/// Bytes of an inode.
pub const INODE_BYTES: usize = 64;
/// Bytes of a directory entry.
pub const ENTRY_BYTES: usize = 64;
/// The inode of the root directory.
pub const ROOT_INODE: u32 = 1;
/// Zones of a file that its inode names itself.
pub const DIRECT_ZONES: usize = 7;
/// Zone numbers in an inode: the direct ones, then one each of a single, double and triple indirect block.
pub const ZONES: usize = DIRECT_ZONES + 3;
/// Longest name of a file, in bytes.
pub const NAME_BYTES: usize = 60;

/// The superblock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SuperBlock {
    /// Inodes there are, used or not.
    pub inodes: U32,
    /// Unused in this version.
    pub old_zones: U16,
    /// Blocks of the bitmap of inodes.
    pub inode_map_blocks: U16,
    /// Blocks of the bitmap of zones.
    pub zone_map_blocks: U16,
    /// The first zone with contents; zero if it does not fit, then it is the first one after the inodes.
    pub first_data_zone: U16,
    /// Blocks of a zone, as a power of two.
    pub log_zone_size: U16,
    /// Set while mounted.
    pub flags: U16,
    /// Longest file, in bytes.
    pub max_bytes: U32,
    /// Zones there are, counted from the start of the file system.
    pub zones: U32,
    /// [`MAGIC`].
    pub magic: U16,
    pub pad: U16,
    /// Bytes of a block.
    pub block_bytes: U16,
    pub disk_version: u8,
    pub end: u8,
}

/// An inode: what a file is and where its contents are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Inode {
    /// Kind ([`KIND_MASK`]) and permissions. Zero in a free inode.
    pub mode: U16,
    /// Directory entries that name it.
    pub links: U16,
    /// Owner.
    pub user: U16,
    /// Group.
    pub group: U16,
    /// Bytes of the contents.
    pub bytes: U32,
    /// When it was last read, in seconds.
    pub accessed: U32,
    /// When it was last written.
    pub modified: U32,
    /// When its inode was last changed.
    pub changed: U32,
    /// Where its contents are; zero is a hole. A device has its number in the first one.
    pub zones: [U32; ZONES],
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DirEntry {
    /// The inode; zero if the entry is free.
    pub inode: U32,
    /// The name, filled up with NUL.
    pub name: [u8; NAME_BYTES],
}

const _: () = assert!(size_of::<SuperBlock>() == 32);
const _: () = assert!(size_of::<Inode>() == INODE_BYTES);
const _: () = assert!(size_of::<DirEntry>() == ENTRY_BYTES);

/// The bits of a mode that tell the kind of a file.
pub const KIND_MASK: u16 = 0o170_000;
/// Kind: pipe.
pub const PIPE: u16 = 0o010_000;
/// Kind: character device.
pub const CHARACTER_DEVICE: u16 = 0o020_000;
/// Kind: directory.
pub const DIRECTORY: u16 = 0o040_000;
/// Kind: block device.
pub const BLOCK_DEVICE: u16 = 0o060_000;
/// Kind: regular file.
pub const REGULAR: u16 = 0o100_000;
/// Kind: symbolic link; the contents are what it points to.
pub const LINK: u16 = 0o120_000;

impl Inode {
    /// The kind: one of the constants above, in an undamaged file system.
    pub fn kind(&self) -> u16 {
        self.mode.get() & KIND_MASK
    }
}

impl DirEntry {
    /// An entry; `None` if the name is empty or too long.
    pub fn new(inode: u32, name: &[u8]) -> Option<Self> {
        let mut entry = Self {
            inode: U32::new(inode),
            name: [0; NAME_BYTES],
        };
        entry.name.get_mut(..name.len())?.copy_from_slice(name);
        (!name.is_empty()).then_some(entry)
    }

    /// The name without what fills it up.
    pub fn name(&self) -> &[u8] {
        let end = self.name.iter().position(|byte| *byte == 0);
        &self.name[..end.unwrap_or(NAME_BYTES)]
    }
}
