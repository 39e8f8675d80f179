//! The configuration space: 96 bytes, most of which exist only with a feature.
//!
//! [`BlkConfig::read`] and [`ConfigSnapshot::read`] touch a field only if the device offered its feature (`CFG-D-04`), and each
//! with an access of the field's own width (`MMIO-D-05` to `MMIO-D-07`). The transport makes one consistent snapshot of
//! several reads.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::zoned::ZonedConfig;
use crate::{BlkFeatures, SECTOR_BYTES, Sector};

/// Reads configuration fields at byte offsets from the start of the configuration space.
pub trait ConfigAccess {
    /// One 8-bit access.
    fn read_u8(&self, offset: u16) -> u8;
    /// One aligned 16-bit access; the value in native order.
    fn read_u16(&self, offset: u16) -> u16;
    /// One aligned 32-bit access; the value in native order.
    fn read_u32(&self, offset: u16) -> u32;
}

/// Byte offset of the `writeback` field, the only one a driver writes.
///
/// Not part of [`BlkConfig`], because it must not be read before the features are settled (`BLK-D-04`).
pub const WRITEBACK_OFFSET: u16 = 32;

/// The configuration space as it lies in memory, for code that plays the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "the fields are described where they are read, in `BlkConfig`"
)]
pub struct ConfigSpace {
    pub capacity: U64,
    pub size_max: U32,
    pub seg_max: U32,
    pub cylinders: U16,
    pub heads: u8,
    pub sectors: u8,
    pub blk_size: U32,
    pub physical_block_exp: u8,
    pub alignment_offset: u8,
    pub min_io_size: U16,
    pub opt_io_size: U32,
    pub writeback: u8,
    pub unused0: u8,
    pub num_queues: U16,
    pub max_discard_sectors: U32,
    pub max_discard_seg: U32,
    pub discard_sector_alignment: U32,
    pub max_write_zeroes_sectors: U32,
    pub max_write_zeroes_seg: U32,
    pub write_zeroes_may_unmap: u8,
    pub unused1: [u8; 3],
    pub max_secure_erase_sectors: U32,
    pub max_secure_erase_seg: U32,
    pub secure_erase_sector_alignment: U32,
    pub zone_sectors: U32,
    pub max_open_zones: U32,
    pub max_active_zones: U32,
    pub max_append_sectors: U32,
    pub write_granularity: U32,
    pub zoned_model: u8,
    pub unused2: [u8; 3],
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<ConfigSpace>() == ConfigSpace::BYTES);
    assert!(size_of::<ConfigSpace>() == 96);
    assert!(offset_of!(ConfigSpace, capacity) == 0);
    assert!(offset_of!(ConfigSpace, size_max) == 8);
    assert!(offset_of!(ConfigSpace, seg_max) == 12);
    assert!(offset_of!(ConfigSpace, cylinders) == 16);
    assert!(offset_of!(ConfigSpace, heads) == 18);
    assert!(offset_of!(ConfigSpace, sectors) == 19);
    assert!(offset_of!(ConfigSpace, blk_size) == 20);
    assert!(offset_of!(ConfigSpace, physical_block_exp) == 24);
    assert!(offset_of!(ConfigSpace, alignment_offset) == 25);
    assert!(offset_of!(ConfigSpace, min_io_size) == 26);
    assert!(offset_of!(ConfigSpace, opt_io_size) == 28);
    assert!(offset_of!(ConfigSpace, writeback) == WRITEBACK_OFFSET as usize);
    assert!(offset_of!(ConfigSpace, num_queues) == 34);
    assert!(offset_of!(ConfigSpace, max_discard_sectors) == 36);
    assert!(offset_of!(ConfigSpace, max_discard_seg) == 40);
    assert!(offset_of!(ConfigSpace, discard_sector_alignment) == 44);
    assert!(offset_of!(ConfigSpace, max_write_zeroes_sectors) == 48);
    assert!(offset_of!(ConfigSpace, max_write_zeroes_seg) == 52);
    assert!(offset_of!(ConfigSpace, write_zeroes_may_unmap) == 56);
    assert!(offset_of!(ConfigSpace, max_secure_erase_sectors) == 60);
    assert!(offset_of!(ConfigSpace, max_secure_erase_seg) == 64);
    assert!(offset_of!(ConfigSpace, secure_erase_sector_alignment) == 68);
    assert!(offset_of!(ConfigSpace, zone_sectors) == 72);
    assert!(offset_of!(ConfigSpace, max_open_zones) == 76);
    assert!(offset_of!(ConfigSpace, max_active_zones) == 80);
    assert!(offset_of!(ConfigSpace, max_append_sectors) == 84);
    assert!(offset_of!(ConfigSpace, write_granularity) == 88);
    assert!(offset_of!(ConfigSpace, zoned_model) == 92);
};

impl ConfigSpace {
    /// Bytes of the whole configuration space.
    pub const BYTES: usize = 96;

    fn bytes_at<const N: usize>(&self, offset: u16) -> [u8; N] {
        let rest = self.as_bytes().get(usize::from(offset)..);
        rest.and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
    }
}

/// Reads a configuration space that lies in ordinary memory: a dump, or that of a simulated device.
///
/// Bytes past its end read as zeroes.
impl ConfigAccess for ConfigSpace {
    fn read_u8(&self, offset: u16) -> u8 {
        u8::from_le_bytes(self.bytes_at(offset))
    }

    fn read_u16(&self, offset: u16) -> u16 {
        u16::from_le_bytes(self.bytes_at(offset))
    }

    fn read_u32(&self, offset: u16) -> u32 {
        u32::from_le_bytes(self.bytes_at(offset))
    }
}

/// As bytes, since the features decide which fields have a meaning.
#[cfg(feature = "defmt")]
impl defmt::Format for ConfigSpace {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "ConfigSpace({=[u8]:x})", self.as_bytes());
    }
}

/// Where a field lies, how wide it is, and which feature makes it readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Field {
    /// Name as in the specification.
    pub name: &'static str,
    /// Byte offset.
    pub offset: u16,
    /// Bytes of the field; 8-byte fields are read as two halves.
    pub width: u8,
    /// The feature that has to be offered; empty for none.
    pub feature: BlkFeatures,
}

/// Every field of the configuration space, in order.
pub const FIELDS: [Field; 28] = {
    const fn field(name: &'static str, offset: u16, width: u8, feature: BlkFeatures) -> Field {
        Field {
            name,
            offset,
            width,
            feature,
        }
    }
    use BlkFeatures as F;
    [
        field("capacity", 0, 8, F::empty()),
        field("size_max", 8, 4, F::SIZE_MAX),
        field("seg_max", 12, 4, F::SEG_MAX),
        field("geometry.cylinders", 16, 2, F::GEOMETRY),
        field("geometry.heads", 18, 1, F::GEOMETRY),
        field("geometry.sectors", 19, 1, F::GEOMETRY),
        field("blk_size", 20, 4, F::BLK_SIZE),
        field("topology.physical_block_exp", 24, 1, F::TOPOLOGY),
        field("topology.alignment_offset", 25, 1, F::TOPOLOGY),
        field("topology.min_io_size", 26, 2, F::TOPOLOGY),
        field("topology.opt_io_size", 28, 4, F::TOPOLOGY),
        field("writeback", WRITEBACK_OFFSET, 1, F::CONFIG_WCE),
        field("num_queues", 34, 2, F::MQ),
        field("max_discard_sectors", 36, 4, F::DISCARD),
        field("max_discard_seg", 40, 4, F::DISCARD),
        field("discard_sector_alignment", 44, 4, F::DISCARD),
        field("max_write_zeroes_sectors", 48, 4, F::WRITE_ZEROES),
        field("max_write_zeroes_seg", 52, 4, F::WRITE_ZEROES),
        field("write_zeroes_may_unmap", 56, 1, F::WRITE_ZEROES),
        field("max_secure_erase_sectors", 60, 4, F::SECURE_ERASE),
        field("max_secure_erase_seg", 64, 4, F::SECURE_ERASE),
        field("secure_erase_sector_alignment", 68, 4, F::SECURE_ERASE),
        field("zoned.zone_sectors", 72, 4, F::ZONED),
        field("zoned.max_open_zones", 76, 4, F::ZONED),
        field("zoned.max_active_zones", 80, 4, F::ZONED),
        field("zoned.max_append_sectors", 84, 4, F::ZONED),
        field("zoned.write_granularity", 88, 4, F::ZONED),
        field("zoned.model", 92, 1, F::ZONED),
    ]
};

/// One access to the configuration of a device.
#[derive(Clone, Copy)]
struct Access {
    offset: u8,
    width: u8,
    /// The number of the feature that has to be offered.
    feature: u8,
}

/// The accesses of a [`ConfigSnapshot`], beside the two to the capacity. They are a table because code for each field is five
/// times as long.
const ACCESSES: [Access; FIELDS.len() - 2] = {
    let mut accesses = [Access {
        offset: 0,
        width: 0,
        feature: 0,
    }; FIELDS.len() - 2];
    let (mut next, mut n) = (0, 1);
    while n < FIELDS.len() {
        let field = FIELDS[n];
        // It must not be read before the features are settled (`BLK-D-04`).
        if field.offset != WRITEBACK_OFFSET {
            assert!(
                field.width <= 4 && field.offset < ConfigSpace::BYTES as u16 && field.feature.bits().is_power_of_two()
            );
            accesses[next] = Access {
                offset: field.offset as u8,
                width: field.width,
                feature: field.feature.bits().ilog2() as u8,
            };
            next += 1;
        }
        n += 1;
    }
    assert!(next == accesses.len());
    accesses
};

/// The content of a configuration space at one time: those fields that the device offered, and zero for the others.
///
/// It is what a driver compares and keeps. [`BlkConfig::read`] decodes it, as it does a device.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConfigSnapshot {
    /// Four bytes each, the one with the lowest offset in the lowest bits.
    words: [u32; ConfigSpace::BYTES / 4],
}

impl ConfigSnapshot {
    /// How many words it has.
    pub const WORDS: usize = ConfigSpace::BYTES / 4;

    /// Its words, to pass it on: four bytes of the configuration space each, the one with the lowest offset in the lowest bits.
    pub const fn into_words(self) -> [u32; Self::WORDS] {
        self.words
    }

    /// The snapshot with these [words](Self::into_words).
    pub const fn from_words(words: [u32; Self::WORDS]) -> Self {
        Self { words }
    }

    /// Reads every field whose feature is in `offered`.
    pub fn read(config: &impl ConfigAccess, offered: BlkFeatures) -> Self {
        let mut words = [0; ConfigSpace::BYTES / 4];
        (words[0], words[1]) = (config.read_u32(0), config.read_u32(4));
        for Access { offset, width, feature } in ACCESSES {
            if offered.bits() >> feature & 1 == 0 {
                continue;
            }
            let at = u16::from(offset);
            let value = match width {
                1 => u32::from(config.read_u8(at)),
                2 => u32::from(config.read_u16(at)),
                _ => config.read_u32(at),
            };
            if let Some(word) = words.get_mut(usize::from(offset / 4)) {
                *word |= value << (8 * (offset % 4));
            }
        }
        Self { words }
    }
}

impl PartialEq for ConfigSnapshot {
    fn eq(&self, other: &Self) -> bool {
        // Element by element: the comparison of whole arrays is a call of `memcmp`, which is larger than all of this.
        self.words.iter().zip(&other.words).all(|(one, other)| one == other)
    }
}

impl Eq for ConfigSnapshot {}

/// Bytes past the end read as zeroes.
impl ConfigAccess for ConfigSnapshot {
    #[inline]
    fn read_u8(&self, offset: u16) -> u8 {
        (self.read_u32(offset) >> (8 * (offset % 4))) as u8
    }

    #[inline]
    fn read_u16(&self, offset: u16) -> u16 {
        (self.read_u32(offset) >> (8 * (offset % 4))) as u16
    }

    #[inline]
    fn read_u32(&self, offset: u16) -> u32 {
        self.words.get(usize::from(offset / 4)).copied().unwrap_or(0)
    }
}

/// Cylinders, heads and sectors: numbers for old software.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Geometry {
    /// Number of cylinders.
    pub cylinders: u16,
    /// Number of heads.
    pub heads: u8,
    /// Sectors per track.
    pub sectors: u8,
}

/// The best way to access the disk: advice, in logical blocks (`BLK-N-19`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Topology {
    /// Logical blocks per physical block, as a power of two.
    pub physical_block_exp: u8,
    /// The first logical block that starts a physical block.
    pub alignment_offset: u8,
    /// Least good transfer, in logical blocks.
    pub min_io_blocks: u16,
    /// Best transfer, in logical blocks.
    pub opt_io_blocks: u32,
}

/// Limits of discard and secure erase. The number of sectors is per range (`BLK-N-09`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RangeLimits {
    /// Sectors in one range at most.
    pub max_sectors: u32,
    /// Ranges in one request at most.
    pub max_segments: u32,
    /// The best alignment of ranges, in sectors (`BLK-N-10`).
    pub alignment_sectors: u32,
}

/// Limits of write-zeroes. The number of sectors is per range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ZeroesLimits {
    /// Sectors in one range at most.
    pub max_sectors: u32,
    /// Ranges in one request at most.
    pub max_segments: u32,
    /// Whether the device may unmap a range if the request allows it (`BLK-N-12`).
    pub may_unmap: bool,
}

/// The fields of the configuration that the device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BlkConfig {
    /// Size of the disk in sectors of 512 bytes.
    pub capacity: Sector,
    /// Bytes in one data segment at most.
    pub size_max: Option<u32>,
    /// Data segments in one request at most.
    pub seg_max: Option<u32>,
    /// Made-up or real geometry.
    pub geometry: Option<Geometry>,
    /// Bytes of a logical block, unchecked; see [`block_bytes`](Self::block_bytes).
    pub blk_size: Option<u32>,
    /// Access advice.
    pub topology: Option<Topology>,
    /// Number of request queues.
    pub num_queues: Option<u16>,
    /// Limits of discard.
    pub discard: Option<RangeLimits>,
    /// Limits of write-zeroes.
    pub write_zeroes: Option<ZeroesLimits>,
    /// Limits of secure erase.
    pub secure_erase: Option<RangeLimits>,
    /// Zones.
    pub zoned: Option<ZonedConfig>,
}

impl BlkConfig {
    /// Reads every field whose feature is in `offered`.
    // Inlined in any case, so that a caller who looks at some fields of a snapshot has the code for these.
    #[inline(always)]
    pub fn read(config: &impl ConfigAccess, offered: BlkFeatures) -> Self {
        let has = |feature| offered.contains(feature);
        let ranges = |feature, offset: u16| {
            has(feature).then(|| RangeLimits {
                max_sectors: config.read_u32(offset),
                max_segments: config.read_u32(offset + 4),
                alignment_sectors: config.read_u32(offset + 8),
            })
        };
        Self {
            capacity: read_capacity(config),
            size_max: has(BlkFeatures::SIZE_MAX).then(|| config.read_u32(8)),
            seg_max: has(BlkFeatures::SEG_MAX).then(|| config.read_u32(12)),
            geometry: has(BlkFeatures::GEOMETRY).then(|| Geometry {
                cylinders: config.read_u16(16),
                heads: config.read_u8(18),
                sectors: config.read_u8(19),
            }),
            blk_size: has(BlkFeatures::BLK_SIZE).then(|| config.read_u32(20)),
            topology: has(BlkFeatures::TOPOLOGY).then(|| Topology {
                physical_block_exp: config.read_u8(24),
                alignment_offset: config.read_u8(25),
                min_io_blocks: config.read_u16(26),
                opt_io_blocks: config.read_u32(28),
            }),
            num_queues: has(BlkFeatures::MQ).then(|| config.read_u16(34)),
            discard: ranges(BlkFeatures::DISCARD, 36),
            write_zeroes: has(BlkFeatures::WRITE_ZEROES).then(|| ZeroesLimits {
                max_sectors: config.read_u32(48),
                max_segments: config.read_u32(52),
                may_unmap: config.read_u8(56) != 0,
            }),
            secure_erase: ranges(BlkFeatures::SECURE_ERASE, 60),
            zoned: has(BlkFeatures::ZONED).then(|| ZonedConfig::read(config)),
        }
    }

    /// Bytes of a logical block: positions and lengths are multiples of it.
    ///
    /// 512 if the field is absent, or is no power of two of at least 512.
    pub fn block_bytes(&self) -> u32 {
        match self.blk_size {
            Some(bytes) if bytes.is_power_of_two() && u64::from(bytes) >= SECTOR_BYTES => bytes,
            Some(bytes) => {
                warn!("block size {} makes no sense, 512 taken", bytes);
                SECTOR_BYTES as u32
            }
            None => SECTOR_BYTES as u32,
        }
    }
}

/// Reads the capacity as its two halves. Bracket it like any field wider than 32 bits (`CFG-D-01`).
pub fn read_capacity(config: &impl ConfigAccess) -> Sector {
    Sector(u64::from(config.read_u32(0)) | u64::from(config.read_u32(4)) << 32)
}
