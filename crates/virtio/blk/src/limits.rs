//! The limits of a disk, and the checks that keep requests beyond them away from the ring.

use virtio_blk_proto::zoned::ZonedConfig;
use virtio_blk_proto::{BlkConfig, BlkFeatures, RangeLimits, SECTOR_BYTES, Sector, ZeroesLimits};
use virtqueue::SegmentLimit;

use crate::transfer::Transfer;
use crate::{SectorRange, SubmitError};

/// The most data bytes in one device request. Any multiple of every block size below 4 GiB would do.
const MAX_REQUEST_BYTES: u32 = 1 << 30;

const SECTOR_SHIFT: u32 = SECTOR_BYTES.trailing_zeros();

/// The limits in force for requests: outcome of negotiation and configuration.
///
/// Every limit is a field of the configuration that a device may leave out, by not offering its feature, or leave at 0.
/// Devices are tested with the drivers of large systems, so where the specification says nothing, the default is what Linux
/// does:
///
/// | limit | left out | 0 or senseless |
/// |---|---|---|
/// | `seg_max` | 1 | 1 |
/// | `size_max` | no limit | no limit |
/// | `blk_size` | 512 | 512, with a warning |
/// | `max_discard_sectors`, `max_write_zeroes_sectors` | no such requests | no limit but that of the field, 2^32 - 1 |
/// | `max_discard_seg`, `max_write_zeroes_seg` | no such requests | 1, which is all this driver sends |
/// | `discard_sector_alignment` | no such requests | whole blocks |
/// | `max_secure_erase_sectors`, `max_secure_erase_seg` | no such requests | no such requests |
/// | `secure_erase_sector_alignment` | no such requests | whole blocks |
/// | `zoned` | no zone requests | see [`InitError::BadZones`](crate::InitError::BadZones); a limit on open or active zones of 0 is no limit |
/// | `writeback` | on if the device can flush (`BLK-D-03`), else off (`BLK-D-02`) | off |
/// | RO (a feature without a field) | the disk can be written | |
/// | `geometry`, `topology` | unknown; they are advice, and nothing here depends on them | as it is |
/// | `num_queues` | 1 | 1 |
///
/// *One data segment* is not what the specification says, which sets no default. Firecracker and others take exactly one, and on
/// a read take the second for the status byte. *No limit* for discards and zeroes is safe, since a device answers what is too
/// much for it with an error and nothing is lost. For secure erase it would not be: a caller relies on all of it being gone, so
/// a device that leaves its limits open is not asked (Linux refuses such a device altogether).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    /// Size of the disk.
    pub capacity: Sector,
    /// Bytes of a block: positions and lengths are multiples of it.
    pub block_bytes: u32,
    /// The disk cannot be written.
    pub read_only: bool,
    /// Data segments in one device request at most.
    pub max_segments: u16,
    /// Bytes in one data segment at most.
    pub max_segment_bytes: u32,
    /// Data bytes in one device request at most.
    pub max_request_bytes: u32,
    /// Flush requests are there.
    pub flush: bool,
    /// Requests can be [barriers](crate::RequestQueue::submit_barrier): the device is a legacy one with BARRIER.
    pub barrier: bool,
    /// Lifetime requests are there.
    pub lifetime: bool,
    /// Discard requests are there.
    pub discard: Option<RangeLimits>,
    /// Write-zeroes requests are there.
    pub write_zeroes: Option<ZeroesLimits>,
    /// Secure-erase requests are there.
    pub secure_erase: Option<RangeLimits>,
    /// The disk has zones, and ZONED was accepted.
    pub zoned: Option<ZonedConfig>,
}

impl Limits {
    /// Limits of a device with that configuration, which offered and was asked for these features, on a queue whose
    /// requests can have `max_segments` data segments.
    ///
    /// The requests that the device takes depend on the accepted features. Its limits do not.
    pub(crate) fn new(config: &BlkConfig, offered: BlkFeatures, accepted: BlkFeatures, max_segments: u16) -> Self {
        let has = |feature| accepted.contains(feature);
        let size_max = match config.size_max {
            Some(limit) if limit != 0 => limit,
            _ => u32::MAX,
        };
        let discard = config.discard.filter(|_| crate::RANGES).map(|limits| RangeLimits {
            max_sectors: limit_or_none(limits.max_sectors),
            max_segments: limits.max_segments.max(1),
            ..limits
        });
        let write_zeroes = config
            .write_zeroes
            .filter(|_| crate::RANGES)
            .map(|limits| ZeroesLimits {
                max_sectors: limit_or_none(limits.max_sectors),
                max_segments: limits.max_segments.max(1),
                ..limits
            });
        let secure_erase = config
            .secure_erase
            .filter(|limits| crate::RANGES && limits.max_sectors > 0 && limits.max_segments > 0);
        Self {
            capacity: config.capacity,
            block_bytes: config.block_bytes(),
            read_only: offered.contains(BlkFeatures::RO),
            max_segments: max_segments.min(Self::data_segments(config)),
            max_segment_bytes: size_max,
            max_request_bytes: MAX_REQUEST_BYTES,
            flush: has(BlkFeatures::FLUSH),
            barrier: has(BlkFeatures::BARRIER),
            lifetime: crate::LIFETIME && has(BlkFeatures::LIFETIME),
            discard: discard.filter(|_| has(BlkFeatures::DISCARD)),
            write_zeroes: write_zeroes.filter(|_| has(BlkFeatures::WRITE_ZEROES)),
            secure_erase: secure_erase.filter(|_| has(BlkFeatures::SECURE_ERASE)),
            zoned: config
                .zoned
                .filter(|zones| crate::ZONED && has(BlkFeatures::ZONED) && zones.is_usable(config.block_bytes())),
        }
    }

    /// The same after a change of the configuration: what a live queue was laid out for stays as `before`.
    pub(crate) fn on_live_queue(self, before: &Self) -> Self {
        Self {
            block_bytes: before.block_bytes,
            zoned: before.zoned,
            ..self
        }
    }

    /// Data segments that a device with that configuration takes in one request: at least one.
    pub(crate) fn data_segments(config: &BlkConfig) -> u16 {
        u16::try_from(config.seg_max.unwrap_or(1).max(1)).unwrap_or(u16::MAX)
    }

    /// Sectors of a block.
    pub fn block_sectors(&self) -> u64 {
        u64::from(self.block_bytes) / SECTOR_BYTES
    }

    /// Bytes of the whole blocks of the disk. A disk may end inside of a block, and no transfer reaches that rest.
    pub fn whole_bytes(&self) -> u64 {
        // A disk whose bytes do not fit is not brought up. A block is a power of two.
        let bytes = self.capacity.get().saturating_mul(SECTOR_BYTES);
        bytes & !u64::from(self.block_bytes).wrapping_sub(1)
    }

    /// Bytes in one piece of memory that one device request can have: at least those of a block.
    pub fn single_piece_bytes(&self) -> u32 {
        self.max_segment_bytes.min(self.max_request_bytes).max(self.block_bytes)
    }

    /// Whether `bytes` bytes at `first` are whole blocks on the disk (`BLK-D-12`, `BLK-D-16`). For those who cut a transfer into
    /// several requests, and check the whole of it before the first.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Empty`], [`SubmitError::Misaligned`] or [`SubmitError::OutOfRange`], as of a request like that.
    pub fn check_transfer(&self, first: Sector, bytes: u64) -> Result<(), SubmitError> {
        if bytes == 0 {
            return Err(SubmitError::Empty);
        }
        if !is_whole(bytes, u64::from(self.block_bytes)) {
            return Err(SubmitError::Misaligned {
                block_bytes: self.block_bytes,
            });
        }
        self.check_range(SectorRange {
            first,
            sectors: bytes / SECTOR_BYTES,
        })
    }

    /// Whether a range is whole blocks on the disk.
    pub(crate) fn check_range(&self, range: SectorRange) -> Result<(), SubmitError> {
        if range.sectors == 0 {
            return Err(SubmitError::Empty);
        }
        let block = self.block_sectors();
        if !is_whole(range.first.get() | range.sectors, block) {
            return Err(SubmitError::Misaligned {
                block_bytes: self.block_bytes,
            });
        }
        match range.first.checked_add(range.sectors) {
            Some(end) if end <= self.capacity => Ok(()),
            _ => Err(SubmitError::OutOfRange {
                capacity: self.capacity,
            }),
        }
    }

    /// The zones of the disk, if the driver is built for zones.
    #[inline]
    pub(crate) fn zones(&self) -> Option<&ZonedConfig> {
        self.zoned.as_ref().filter(|_| crate::ZONED)
    }

    /// The most bytes of a transfer that one device request can have at `first`: none crosses the end of a zone (`BLK-N-31`).
    #[inline]
    pub(crate) fn most_bytes_at(&self, first: Sector) -> u32 {
        match self.zones() {
            None => self.max_request_bytes,
            Some(zones) => bytes_to_zone_end(zones, first).min(self.max_request_bytes),
        }
    }

    /// Whether the disk can be changed (`BLK-N-08`).
    pub(crate) fn check_writable(&self) -> Result<(), SubmitError> {
        if self.read_only {
            Err(SubmitError::ReadOnly)
        } else {
            Ok(())
        }
    }
}

/// What a transfer has to keep to if it is one device request as it is: the limits in few numbers, since most requests are looked
/// at no further.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainTransfers {
    /// Bytes in one segment of a read at most; 0 if there is always something special.
    most_read: SegmentLimit,
    /// Bytes in one segment of a write at most.
    most_written: SegmentLimit,
    block_mask: u64,
    /// Bytes of all segments at most.
    most_together: u64,
    capacity: u64,
    /// Segments at most.
    pub(crate) segments: u16,
}

impl PlainTransfers {
    /// None at all.
    pub(crate) const NONE: Self = Self {
        most_read: SegmentLimit::at_most(0),
        most_written: SegmentLimit::at_most(0),
        block_mask: 0,
        most_together: 0,
        capacity: 0,
        segments: 0,
    };

    pub(crate) fn new(limits: &Limits) -> Self {
        if !crate::FRAMES || limits.zones().is_some() {
            return Self::NONE;
        }
        let capacity = limits.capacity.get();
        let most_together = u64::from(limits.max_request_bytes).min(capacity.saturating_mul(SECTOR_BYTES));
        let most = most_together.min(u64::from(limits.max_segment_bytes));
        Self {
            most_read: SegmentLimit::at_most(most),
            most_written: SegmentLimit::at_most(if limits.read_only { 0 } else { most }),
            block_mask: u64::from(limits.block_bytes).wrapping_sub(1),
            most_together,
            capacity,
            segments: limits.max_segments,
        }
    }

    /// Bytes in one segment of a transfer at most.
    #[inline]
    pub(crate) fn most(&self, transfer: Transfer) -> SegmentLimit {
        match transfer {
            Transfer::Read => self.most_read,
            Transfer::Write => self.most_written,
        }
    }

    /// Whether a segment of `bytes` bytes, which is not above [`most`](Self::most), is whole blocks on the disk at `first`.
    #[inline]
    pub(crate) fn allow_at(&self, first: Sector, bytes: u32) -> bool {
        let bytes = u64::from(bytes);
        // The disk is not smaller than `most`.
        (bytes | first.get() << SECTOR_SHIFT) & self.block_mask == 0
            && first.get() <= self.capacity - (bytes >> SECTOR_SHIFT)
    }

    /// Whether `bytes` bytes at `first`, in any number of segments, are whole blocks on the disk and few enough.
    #[inline]
    pub(crate) fn allow_together(&self, first: Sector, bytes: u32) -> bool {
        u64::from(bytes) <= self.most_together && self.allow_at(first, bytes)
    }
}

/// Bytes from `first` to the end of its zone.
#[cold]
#[inline(never)]
fn bytes_to_zone_end(zones: &ZonedConfig, first: Sector) -> u32 {
    let zone = u64::from(zones.zone_sectors);
    // Accepted zones have a size.
    let left = zone - first.get().checked_rem(zone).unwrap_or(0);
    u32::try_from(left * SECTOR_BYTES).unwrap_or(u32::MAX)
}

/// A limit in sectors; 0 if the device sets none.
fn limit_or_none(sectors: u32) -> u32 {
    if sectors == 0 { u32::MAX } else { sectors }
}

/// Whether `amount` is a multiple of `block`, a power of two. Cheaper than a division, and this is done per request.
#[inline]
fn is_whole(amount: u64, block: u64) -> bool {
    amount & block.wrapping_sub(1) == 0
}

#[cfg(test)]
pub(crate) mod tests {
    use virtio_blk_proto::ConfigSpace;

    use super::*;

    pub(crate) fn limits(capacity: u64, block_bytes: u32) -> Limits {
        Limits {
            capacity: Sector(capacity),
            block_bytes,
            read_only: false,
            max_segments: 4,
            max_segment_bytes: u32::MAX,
            max_request_bytes: MAX_REQUEST_BYTES,
            flush: true,
            barrier: false,
            lifetime: false,
            discard: None,
            write_zeroes: None,
            secure_erase: None,
            zoned: None,
        }
    }

    fn from_bytes(bytes: [u8; ConfigSpace::BYTES]) -> ConfigSpace {
        zerocopy::transmute!(bytes)
    }

    /// Limits of a device that offers `features` and whose configuration is all `byte`s, but for the capacity.
    fn limits_of(features: BlkFeatures, byte: u8) -> Limits {
        let mut space = [byte; 96];
        space[..8].copy_from_slice(&100u64.to_le_bytes());
        let config = BlkConfig::read(&from_bytes(space), features);
        Limits::new(&config, features, features, 30)
    }

    #[test]
    fn a_rest_of_less_than_a_block_is_no_part_of_the_whole_bytes() {
        assert_eq!(limits(8 + 7, 4096).whole_bytes(), 4096);
        assert_eq!(limits(7, 4096).whole_bytes(), 0);
        assert_eq!(limits(7, 512).whole_bytes(), 7 * 512);
        assert_eq!(limits(u64::MAX, 512).whole_bytes(), u64::MAX - 511);
    }

    #[test]
    fn limits_without_their_features_are_defaults() {
        let limits = limits_of(BlkFeatures::empty(), 0xFF);
        let expected = Limits {
            capacity: Sector(100),
            block_bytes: 512,
            read_only: false,
            max_segments: 1,
            max_segment_bytes: u32::MAX,
            max_request_bytes: MAX_REQUEST_BYTES,
            flush: false,
            barrier: false,
            lifetime: false,
            discard: None,
            write_zeroes: None,
            secure_erase: None,
            zoned: None,
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn limits_of_0_are_defaults() {
        let limits = limits_of(BlkFeatures::all(), 0);
        assert_eq!(limits.max_segments, 1);
        assert_eq!(limits.max_segment_bytes, u32::MAX);
        assert_eq!(limits.block_bytes, 512);
        let discard = limits.discard.unwrap();
        assert_eq!((discard.max_sectors, discard.max_segments), (u32::MAX, 1));
        let zeroes = limits.write_zeroes.unwrap();
        assert_eq!((zeroes.max_sectors, zeroes.max_segments), (u32::MAX, 1));
        assert_eq!(limits.secure_erase, None);
    }

    #[test]
    fn limits_that_are_offered_hold() {
        let limits = limits_of(BlkFeatures::all(), 0x01);
        assert_eq!(limits.max_segments, 30, "what the queue takes");
        assert_eq!(limits.max_segment_bytes, 0x0101_0101);
        assert_eq!(limits.block_bytes, 512, "no power of two");
        for ranges in [limits.discard.unwrap(), limits.secure_erase.unwrap()] {
            assert_eq!((ranges.max_sectors, ranges.max_segments), (0x0101_0101, 0x0101_0101));
            assert_eq!(ranges.alignment_sectors, 0x0101_0101);
        }
        let few = BlkConfig {
            seg_max: Some(3),
            ..BlkConfig::read(&from_bytes([0; 96]), BlkFeatures::empty())
        };
        let limits = Limits::new(&few, BlkFeatures::SEG_MAX, BlkFeatures::empty(), 30);
        assert_eq!(limits.max_segments, 3, "whether SEG_MAX was accepted or not");
    }

    #[test]
    fn the_last_block_is_on_the_disk_and_the_next_is_not() {
        let limits = limits(100, 512);
        assert_eq!(limits.check_transfer(Sector(99), 512), Ok(()));
        let beyond = Err(SubmitError::OutOfRange { capacity: Sector(100) });
        assert_eq!(limits.check_transfer(Sector(99), 1024), beyond);
        assert_eq!(limits.check_transfer(Sector(100), 512), beyond);
        assert_eq!(limits.check_transfer(Sector(u64::MAX), 1024), beyond);
        assert_eq!(limits.check_transfer(Sector(1), u64::MAX - 511), beyond);
    }

    #[test]
    fn blocks_are_whole() {
        let limits = limits(80, 4096);
        let misaligned = Err(SubmitError::Misaligned { block_bytes: 4096 });
        assert_eq!(limits.check_transfer(Sector(8), 4096), Ok(()));
        assert_eq!(limits.check_transfer(Sector(4), 4096), misaligned);
        assert_eq!(limits.check_transfer(Sector(8), 512), misaligned);
        assert_eq!(limits.check_transfer(Sector(8), 0), Err(SubmitError::Empty));
    }
}
