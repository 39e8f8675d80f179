//! The superblock, checked: where everything is.

use zerocopy::FromBytes;

use super::disk::{MAX_BLOCK_BYTES, MIN_BLOCK_BYTES, MfsError, damaged};
use super::layout::{DIRECT_ZONES, FIRST_MAP_BLOCK, INODE_BYTES, MAGIC, SUPER_POSITION, SuperBlock};

/// Bytes at the start of the volume that have the superblock in them.
pub(super) const SUPER_READ_BYTES: usize = 4096;
/// The largest zone, as a power of two of blocks. All known file systems have zero.
const MAX_LOG_ZONE_SIZE: u16 = 8;

/// What is said of a volume too short for a file system.
pub(super) const TOO_SHORT: MfsError =
    MfsError::Damaged("bytes are too few for a file system:", SUPER_READ_BYTES as u32);

/// Where everything is in a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Bytes of a block.
    pub(super) block_bytes: usize,
    /// Blocks of a zone, as a power of two.
    pub(super) log_zone_size: u32,
    /// Inodes there are.
    pub(super) inodes: u32,
    /// Where the inodes are, in bytes.
    pub(super) inode_position: u64,
    /// The first zone with contents.
    pub(super) first_data_zone: u32,
    /// The end of the zones.
    pub(super) zones: u32,
    /// Longest file, in bytes.
    pub(super) max_bytes: u64,
}

impl Geometry {
    /// Finds it in the first [`SUPER_READ_BYTES`] of a volume of `volume_bytes`.
    pub(super) fn read(start: &[u8], volume_bytes: u64) -> Result<Self, MfsError> {
        let start = start.get(SUPER_POSITION as usize..).ok_or(TOO_SHORT)?;
        let (on_disk, _) = SuperBlock::read_from_prefix(start).map_err(|_| TOO_SHORT)?;
        if on_disk.magic.get() != MAGIC {
            return Err(damaged("no superblock: the magic number is", on_disk.magic.get()));
        }
        let block_bytes = usize::from(on_disk.block_bytes.get());
        if !block_bytes.is_power_of_two() || !(MIN_BLOCK_BYTES..=MAX_BLOCK_BYTES).contains(&block_bytes) {
            return Err(damaged("blocks of bytes:", on_disk.block_bytes.get()));
        }
        let log_zone_size = on_disk.log_zone_size.get();
        if log_zone_size > MAX_LOG_ZONE_SIZE {
            return Err(damaged("zones of blocks, as a power of two:", log_zone_size));
        }

        // Nothing below can overflow: 32-bit numbers times at most 2^13 * 2^8.
        let block = block_bytes as u64;
        let inodes = on_disk.inodes.get();
        let zones = on_disk.zones.get();
        let (inode_map, zone_map) = (on_disk.inode_map_blocks.get(), on_disk.zone_map_blocks.get());
        let first_inode_block = FIRST_MAP_BLOCK + u64::from(inode_map) + u64::from(zone_map);
        let inode_blocks = (u64::from(inodes) * INODE_BYTES as u64).div_ceil(block);
        let first_free_zone = (first_inode_block + inode_blocks).div_ceil(1 << log_zone_size);
        let first_data_zone = match on_disk.first_data_zone.get() {
            0 => first_free_zone,
            told => u64::from(told),
        };

        let bits = |blocks: u16| u64::from(blocks) * block * 8;
        let fits = inodes >= 1
            && bits(inode_map) > u64::from(inodes)
            && first_data_zone >= first_free_zone
            && first_data_zone < u64::from(zones)
            && bits(zone_map) > u64::from(zones) - first_data_zone
            && u64::from(zones) * (block << log_zone_size) <= volume_bytes;
        if !fits {
            return Err(damaged("bitmaps, inodes and zones do not fit; zones:", zones));
        }
        Ok(Self {
            block_bytes,
            log_zone_size: u32::from(log_zone_size),
            inodes,
            inode_position: first_inode_block * block,
            // Less than `zones`, which has 32 bits.
            first_data_zone: first_data_zone as u32,
            zones,
            max_bytes: u64::from(on_disk.max_bytes.get()),
        })
    }

    /// Where a zone with contents starts, in bytes.
    pub(super) fn zone_position(&self, zone: u32) -> Result<u64, MfsError> {
        if zone < self.first_data_zone || zone >= self.zones {
            return Err(damaged("no zone with contents:", zone));
        }
        Ok(u64::from(zone) * self.zone_bytes())
    }

    /// Where an inode is: the position of its block, and the offset in that.
    pub(super) fn inode_place(&self, number: u32) -> Result<(u64, usize), MfsError> {
        if number == 0 || number > self.inodes {
            return Err(damaged("no inode", number));
        }
        let offset = u64::from(number - 1) * INODE_BYTES as u64;
        let block = self.block_bytes as u64;
        Ok((self.inode_position + offset / block * block, (offset % block) as usize))
    }

    /// Bytes of a zone.
    pub(super) fn zone_bytes(&self) -> u64 {
        (self.block_bytes as u64) << self.log_zone_size
    }

    /// Zone numbers in an indirect block.
    pub(super) fn zones_per_block(&self) -> u64 {
        (self.block_bytes / size_of::<u32>()) as u64
    }

    /// How many zones a file can have.
    pub(super) fn zones_per_file(&self) -> u64 {
        let per_block = self.zones_per_block();
        DIRECT_ZONES as u64 + per_block + per_block.pow(2) + per_block.pow(3)
    }
}
