//! What the disk takes, and the checks that keep everything else away from the ring.

use virtio_blk_proto::{BlkConfig, BlkFeatures, RangeLimits, SECTOR_BYTES, Sector, ZeroesLimits};

use crate::{SectorRange, SubmitError};

/// The most data bytes in one device request. Any multiple of every block size below 4 GiB would do.
const MAX_REQUEST_BYTES: u32 = 1 << 30;

/// The limits in force for requests: outcome of negotiation and configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Lifetime requests are there.
    pub lifetime: bool,
    /// Discard requests are there.
    pub discard: Option<RangeLimits>,
    /// Write-zeroes requests are there.
    pub write_zeroes: Option<ZeroesLimits>,
    /// Secure-erase requests are there.
    pub secure_erase: Option<RangeLimits>,
}

impl Limits {
    /// Limits of a device with that configuration, which offered and was asked for these features, on a queue whose
    /// requests can have `max_segments` data segments.
    ///
    /// What can be asked of the device depends on what was accepted. What the device cannot bear does not: it is what
    /// it is, whoever accepted what.
    pub(crate) fn new(config: &BlkConfig, offered: BlkFeatures, accepted: BlkFeatures, max_segments: u16) -> Self {
        let has = |feature| accepted.contains(feature);
        // Zero would mean that nothing can be transferred; devices mean that they do not care.
        let seg_max = match config.seg_max {
            Some(limit) => u16::try_from(limit.max(1)).unwrap_or(u16::MAX),
            None => u16::MAX,
        };
        let size_max = match config.size_max {
            Some(limit) if limit != 0 => limit,
            _ => u32::MAX,
        };
        Self {
            capacity: config.capacity,
            block_bytes: config.block_bytes(),
            read_only: offered.contains(BlkFeatures::RO),
            max_segments: max_segments.min(seg_max),
            max_segment_bytes: size_max,
            max_request_bytes: MAX_REQUEST_BYTES,
            flush: has(BlkFeatures::FLUSH),
            lifetime: has(BlkFeatures::LIFETIME),
            discard: config.discard.filter(|_| has(BlkFeatures::DISCARD)),
            write_zeroes: config.write_zeroes.filter(|_| has(BlkFeatures::WRITE_ZEROES)),
            secure_erase: config.secure_erase.filter(|_| has(BlkFeatures::SECURE_ERASE)),
        }
    }

    /// Sectors of a block.
    pub fn block_sectors(&self) -> u64 {
        u64::from(self.block_bytes) / SECTOR_BYTES
    }

    /// Whether `bytes` bytes at `first` are whole blocks on the disk (`BLK-D-12`, `BLK-D-16`).
    pub(crate) fn check_transfer(&self, first: Sector, bytes: u64) -> Result<(), SubmitError> {
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
                capacity: self.capacity.get(),
            }),
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

/// Whether `amount` is a multiple of `block`, a power of two. Cheaper than a division, and this is done per request.
#[inline]
fn is_whole(amount: u64, block: u64) -> bool {
    amount & block.wrapping_sub(1) == 0
}

#[cfg(test)]
pub(crate) mod tests {
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
            lifetime: false,
            discard: None,
            write_zeroes: None,
            secure_erase: None,
        }
    }

    #[test]
    fn the_last_block_is_on_the_disk_and_the_next_is_not() {
        let limits = limits(100, 512);
        assert_eq!(limits.check_transfer(Sector(99), 512), Ok(()));
        let beyond = Err(SubmitError::OutOfRange { capacity: 100 });
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
