//! The unit of addresses and lengths: 512 bytes for any block size of the disk (`BLK-N-02`).

use core::fmt;

use zerocopy::little_endian::U64;

/// Bytes of one sector.
pub const SECTOR_BYTES: u64 = 512;

/// A position on the disk or a number of sectors, in units of 512 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(transparent)]
pub struct Sector(pub u64);

impl Sector {
    /// The first sector; also what requests carry that name no position.
    pub const ZERO: Self = Self(0);

    /// The number.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sector `count` further on, or `None` past 2^64.
    #[inline]
    pub const fn checked_add(self, count: u64) -> Option<Self> {
        match self.0.checked_add(count) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The same in bytes, or `None` past 2^64.
    #[inline]
    pub const fn to_bytes(self) -> Option<u64> {
        self.0.checked_mul(SECTOR_BYTES)
    }

    /// The sector that starts at byte `bytes`; `None` if none starts there.
    #[inline]
    pub const fn from_bytes(bytes: u64) -> Option<Self> {
        if bytes.is_multiple_of(SECTOR_BYTES) {
            Some(Self(bytes / SECTOR_BYTES))
        } else {
            None
        }
    }
}

impl fmt::Display for Sector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<U64> for Sector {
    fn from(wire: U64) -> Self {
        Self(wire.get())
    }
}

impl From<Sector> for U64 {
    fn from(sector: Sector) -> Self {
        Self::new(sector.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_sectors_convert_without_overflow() {
        assert_eq!(Sector(3).to_bytes(), Some(1536));
        assert_eq!(Sector(u64::MAX / 512).to_bytes(), Some(u64::MAX - 511));
        assert_eq!(Sector(u64::MAX / 512 + 1).to_bytes(), None);
        assert_eq!(Sector::from_bytes(1024), Some(Sector(2)));
        assert_eq!(Sector::from_bytes(1), None);
        assert_eq!(Sector(u64::MAX).checked_add(1), None);
    }
}
