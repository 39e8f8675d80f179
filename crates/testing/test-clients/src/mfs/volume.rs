//! A file system on a minor: from an inode and a place in its contents to bytes in memory.
//!
//! | where | what |
//! |---|---|
//! | byte 1024 | superblock |
//! | block 2 on | bitmap of inodes, then bitmap of zones, then inodes from number 1 on |
//! | first data zone on | contents. A zone is `1 << log_zone_size` blocks; zone n starts at block `n << log_zone_size` |

use core::fmt;

use guest_protocol::pattern::Digest;
use minix_abi::bdev::{BdevAccess, MAX_ELEMENTS};
use minix_abi::minor::Minor;
use minix_rt::Ipc;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::args::Target;
use crate::bdev::{Direction, Session, Trouble};
use crate::buffer::{Kind, Memory, Piece};
use crate::client::Client;

pub(super) const ROOT_INODE: u32 = 1;
/// Kinds of files in the mode of an inode.
pub(super) const DIRECTORY: u16 = 0o040_000;
pub(super) const REGULAR: u16 = 0o100_000;
const KIND_MASK: u16 = 0o170_000;

const SUPER_POSITION: u64 = 1024;
/// The superblock is read with as many bytes as the largest block of a device has.
const FIRST_READ_BYTES: usize = 4096;
const MAGIC: u16 = 0x4D5A;
/// The block that the bitmaps start at.
const FIRST_MAP_BLOCK: u64 = 2;
/// Zones that an inode names itself.
const DIRECT_ZONES: usize = 7;
/// Levels of indirect blocks.
const LEVELS: usize = 3;

/// Sizes of blocks that this reader has room for. MINIX makes blocks of 4096 bytes unless told otherwise.
const BLOCK_BYTES: core::ops::RangeInclusive<usize> = 1024..=8192;
/// Most bytes of a file that one request reads.
const RUN_BYTES: usize = 64 << 10;
/// Distance of blocks in memory. Each has its own pages, as in a cache.
const STRIDE: usize = *BLOCK_BYTES.end();
/// Where blocks are in memory: one of inodes, one of a directory, one for each level of indirect blocks, and contents.
const INODES: usize = 0;
const ENTRIES: usize = 1;
const INDIRECT: usize = 2;
const CONTENTS: usize = INDIRECT + LEVELS;
/// The noise that memory holds before a read.
const NOISE: u64 = 0x3f50_0000_0000;

/// Why a file system could not be read.
pub(super) enum MfsError {
    Trouble(Trouble),
    /// A wrong statement on the disk, and the number in question.
    Damaged(&'static str, u32),
}

impl From<Trouble> for MfsError {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl fmt::Display for MfsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trouble(trouble) => write!(f, "cannot read: {trouble}"),
            Self::Damaged(what, number) => write!(f, "damaged: {what} {number}"),
        }
    }
}

pub(super) fn damaged(what: &'static str, number: impl Into<u32>) -> MfsError {
    MfsError::Damaged(what, number.into())
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct SuperBlock {
    inodes: U32,
    old_zones: U16,
    inode_map_blocks: U16,
    zone_map_blocks: U16,
    first_data_zone: U16,
    log_zone_size: U16,
    flags: U16,
    max_bytes: U32,
    zones: U32,
    magic: U16,
    padding: U16,
    block_bytes: U16,
    disk_version: [u8; 2],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct Inode {
    /// Kind and permissions.
    pub(super) mode: U16,
    pub(super) links: U16,
    owner: [U16; 2],
    pub(super) bytes: U32,
    times: [U32; 3],
    /// The direct zones, then one indirect block for each level. Zero is a hole.
    zones: [U32; DIRECT_ZONES + LEVELS],
}

impl Inode {
    pub(super) fn kind(&self) -> u16 {
        self.mode.get() & KIND_MASK
    }

    /// Entries of a directory.
    pub(super) fn entries(&self) -> u32 {
        self.bytes.get() / size_of::<DirEntry>() as u32
    }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct DirEntry {
    /// Zero if the entry is free.
    pub(super) inode: U32,
    name: [u8; 60],
}

impl DirEntry {
    pub(super) fn name(&self) -> &[u8] {
        self.name.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

pub(super) struct Volume<'c, I: Ipc> {
    pub(super) session: Session<'c, I>,
    minor: Minor,
    memory: Memory,
    /// Positions of the blocks that memory holds before the contents.
    kept: [Option<u64>; CONTENTS],
    block: usize,
    log_zone_size: u32,
    pub(super) inodes: u32,
    /// In bytes.
    inode_position: u64,
    first_data_zone: u64,
    zones: u32,
}

impl<'c, I: Ipc> Volume<'c, I> {
    /// Opens the minor, and reads and checks the superblock.
    pub(super) fn open(client: &'c mut Client<I>, target: Target) -> Result<Self, MfsError> {
        let bytes = (CONTENTS + MAX_ELEMENTS) * STRIDE;
        let memory = Memory::new(&mut client.ipc, Kind::Scattered, bytes).map_err(Trouble::from)?;
        let mut volume = Self {
            session: Session::connect(client, target.label, 1, target.minor, BdevAccess::READ)?,
            minor: target.minor,
            memory,
            kept: [None; CONTENTS],
            block: FIRST_READ_BYTES,
            log_zone_size: 0,
            inodes: 0,
            inode_position: 0,
            first_data_zone: 0,
            zones: 0,
        };
        let on_disk: SuperBlock = volume.get(INODES, SUPER_POSITION)?;
        volume.kept[INODES] = None;
        if on_disk.magic.get() != MAGIC {
            return Err(damaged("no superblock: the magic number is", on_disk.magic.get()));
        }
        volume.block = usize::from(on_disk.block_bytes.get());
        if !volume.block.is_power_of_two() || !BLOCK_BYTES.contains(&volume.block) {
            return Err(damaged("blocks of bytes:", on_disk.block_bytes.get()));
        }
        volume.log_zone_size = u32::from(on_disk.log_zone_size.get());
        if volume.log_zone_size > 8 {
            return Err(damaged("zones of blocks, as a power of two:", volume.log_zone_size));
        }
        volume.inodes = on_disk.inodes.get();
        volume.zones = on_disk.zones.get();
        let maps = u64::from(on_disk.inode_map_blocks.get()) + u64::from(on_disk.zone_map_blocks.get());
        volume.inode_position = (FIRST_MAP_BLOCK + maps) * volume.block as u64;
        let inodes_end = volume.inode_position + u64::from(volume.inodes) * size_of::<Inode>() as u64;
        volume.first_data_zone = inodes_end.div_ceil(volume.zone_bytes());
        volume.session.client.say(format_args!(
            "MINIX file system: {} inodes, {} zones of {} bytes",
            volume.inodes,
            volume.zones,
            volume.zone_bytes()
        ));
        Ok(volume)
    }

    pub(super) fn inode(&mut self, number: u32) -> Result<Inode, MfsError> {
        if number == 0 || number > self.inodes {
            return Err(damaged("no inode", number));
        }
        let offset = u64::from(number - 1) * size_of::<Inode>() as u64;
        self.get(INODES, self.inode_position + offset)
    }

    /// An entry of a directory, which has no holes.
    pub(super) fn entry(&mut self, number: u32, directory: &Inode, nth: u32) -> Result<DirEntry, MfsError> {
        let (offset, block) = (u64::from(nth) * size_of::<DirEntry>() as u64, self.block as u64);
        match self.position(directory, offset / block)? {
            Some(position) => self.get(ENTRIES, position + offset % block),
            None => Err(damaged("a hole in directory", number)),
        }
    }

    /// Reads a file from beginning to end: contiguous blocks with one request. Holes are zeroes.
    pub(super) fn digest(&mut self, file: &Inode) -> Result<u64, MfsError> {
        let (bytes, block) = (file.bytes.get() as usize, self.block);
        let mut digest = Digest::new();
        let mut done = 0;
        while done < bytes {
            let most = (bytes - done).div_ceil(block).min(RUN_BYTES / block);
            let first = (done / block) as u64;
            let start = self.position(file, first)?;
            let mut blocks = 1;
            while blocks < most {
                let follows = start.map(|start| start + (blocks * block) as u64);
                if self.position(file, first + blocks as u64)? != follows {
                    break;
                }
                blocks += 1;
            }
            if let Some(start) = start {
                self.read(CONTENTS, start, blocks)?;
            }
            for nth in 0..blocks {
                let part = block.min(bytes - done);
                match start {
                    Some(_) => self.memory.update(&mut digest, (CONTENTS + nth) * STRIDE, part),
                    None => digest.update(&[0; *BLOCK_BYTES.end()][..part]),
                }
                done += part;
            }
        }
        Ok(digest.finish())
    }

    /// Where block `nth` of a file is, in bytes; `None` for a hole.
    fn position(&mut self, file: &Inode, nth: u64) -> Result<Option<u64>, MfsError> {
        let per_block = (self.block / size_of::<U32>()) as u64;
        let mut index = nth >> self.log_zone_size;
        let (mut level, mut span) = (0, 1);
        let mut top = index as usize;
        if let Some(beyond) = index.checked_sub(DIRECT_ZONES as u64) {
            // The number of bytes has 32 bits, so three levels are always enough.
            (index, level, span) = (beyond, 1, per_block);
            while index >= span {
                index -= span;
                span *= per_block;
                level += 1;
            }
            top = DIRECT_ZONES + level - 1;
        }
        let mut zone = file.zones[top].get();
        for slot in CONTENTS - level..CONTENTS {
            span /= per_block;
            let Some(table) = self.zone_position(zone)? else {
                return Ok(None);
            };
            let number: U32 = self.get(slot, table + index / span * size_of::<U32>() as u64)?;
            zone = number.get();
            index %= span;
        }
        let in_zone = nth & ((1 << self.log_zone_size) - 1);
        let position = self.zone_position(zone)?;
        Ok(position.map(|position| position + in_zone * self.block as u64))
    }

    /// Where a zone with contents starts, in bytes. Zone 0 is a hole.
    fn zone_position(&self, zone: u32) -> Result<Option<u64>, MfsError> {
        match u64::from(zone) {
            0 => Ok(None),
            number if number < self.first_data_zone || zone >= self.zones => {
                Err(damaged("no zone with contents:", zone))
            }
            number => Ok(Some(number * self.zone_bytes())),
        }
    }

    fn zone_bytes(&self) -> u64 {
        (self.block as u64) << self.log_zone_size
    }

    /// A structure on the disk, which lies inside one block. The block stays in memory.
    fn get<T: FromBytes + IntoBytes>(&mut self, slot: usize, position: u64) -> Result<T, MfsError> {
        let offset = position % self.block as u64;
        let start = position - offset;
        if self.kept[slot] != Some(start) {
            self.kept[slot] = None;
            self.read(slot, start, 1)?;
            self.kept[slot] = Some(start);
        }
        let mut value = T::new_zeroed();
        self.memory.read(slot * STRIDE + offset as usize, value.as_mut_bytes());
        Ok(value)
    }

    /// Reads contiguous blocks with one request.
    fn read(&mut self, slot: usize, position: u64, blocks: usize) -> Result<(), Trouble> {
        let mut pieces = heapless::Vec::<Piece, MAX_ELEMENTS>::new();
        for place in (slot..slot + blocks).map(|slot| slot * STRIDE) {
            // Data of another block must not pass for this one.
            self.memory.fill_noise(place, self.block, NOISE);
            let pushed = pieces.push(self.memory.piece(place, self.block));
            pushed.map_err(|_| Trouble::NoRoom)?;
        }
        let minor = self.minor;
        let status = self.session.repeat(|session| match &pieces[..] {
            [piece] => session.read(minor, position, *piece),
            _ => session.transfer_pieces(Direction::Read, minor, position, &pieces),
        })?;
        Trouble::unless_moved(status, blocks * self.block)
    }
}
