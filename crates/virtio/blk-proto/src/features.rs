//! Feature bits of block devices.

use bitflags::bitflags;

bitflags! {
    /// The abilities of a block device, as offered in feature bits 0 to 23 (VirtIO 1.4, "Block Device / Feature bits").
    ///
    /// Most bits stand for configuration fields that may be read. Bits without a name are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct BlkFeatures: u64 {
        /// Legacy only: requests can carry a barrier.
        const BARRIER = 1 << 0;
        /// A segment has at most `size_max` bytes.
        const SIZE_MAX = 1 << 1;
        /// A request has at most `seg_max` data segments.
        const SEG_MAX = 1 << 2;
        /// `geometry` is there.
        const GEOMETRY = 1 << 4;
        /// The device cannot be written.
        const RO = 1 << 5;
        /// `blk_size` is there.
        const BLK_SIZE = 1 << 6;
        /// Legacy only: SCSI commands.
        const SCSI = 1 << 7;
        /// Flush requests; on legacy devices also "the write cache is on".
        const FLUSH = 1 << 9;
        /// `topology` is there.
        const TOPOLOGY = 1 << 10;
        /// `writeback` can be read and written.
        const CONFIG_WCE = 1 << 11;
        /// Several request queues: `num_queues` is there.
        const MQ = 1 << 12;
        /// Discard requests, with their limits.
        const DISCARD = 1 << 13;
        /// Write-zeroes requests, with their limits.
        const WRITE_ZEROES = 1 << 14;
        /// Lifetime requests.
        const LIFETIME = 1 << 15;
        /// Secure-erase requests, with their limits.
        const SECURE_ERASE = 1 << 16;
        /// The zoned fields and requests are there.
        const ZONED = 1 << 17;

        // Other bits are kept.
        const _ = !0;
    }
}

impl BlkFeatures {
    /// The bits that have a meaning on legacy devices only.
    pub const LEGACY_ONLY: Self = Self::BARRIER.union(Self::SCSI);

    /// The set without the bits whose prerequisites are not in it (`FEAT-D-02`).
    ///
    /// The write cache can only be switched on a device that can flush (`BLK-N-29`).
    #[must_use]
    pub fn without_unmet(self) -> Self {
        if self.contains(Self::FLUSH) {
            self
        } else {
            self - Self::CONFIG_WCE
        }
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for BlkFeatures {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "BlkFeatures({=u64:#x})", self.bits());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_have_their_numbers() {
        let numbers = [
            (BlkFeatures::BARRIER, 0),
            (BlkFeatures::SIZE_MAX, 1),
            (BlkFeatures::SEG_MAX, 2),
            (BlkFeatures::GEOMETRY, 4),
            (BlkFeatures::RO, 5),
            (BlkFeatures::BLK_SIZE, 6),
            (BlkFeatures::SCSI, 7),
            (BlkFeatures::FLUSH, 9),
            (BlkFeatures::TOPOLOGY, 10),
            (BlkFeatures::CONFIG_WCE, 11),
            (BlkFeatures::MQ, 12),
            (BlkFeatures::DISCARD, 13),
            (BlkFeatures::WRITE_ZEROES, 14),
            (BlkFeatures::LIFETIME, 15),
            (BlkFeatures::SECURE_ERASE, 16),
            (BlkFeatures::ZONED, 17),
        ];
        for (feature, bit) in numbers {
            assert_eq!(feature.bits(), 1 << bit, "{feature:?}");
        }
    }

    #[test]
    fn a_switchable_cache_needs_flush() {
        let offered = BlkFeatures::CONFIG_WCE | BlkFeatures::SEG_MAX;
        assert_eq!(offered.without_unmet(), BlkFeatures::SEG_MAX);
        let offered = offered | BlkFeatures::FLUSH;
        assert_eq!(offered.without_unmet(), offered);
    }
}
