//! One contiguous piece of memory as a descriptor names it.

use crate::DeviceAddr;

/// A contiguous range of device-visible memory.
///
/// This is plain data: having one gives no right to the memory. The right comes with a
/// [`DmaSegments`](crate::DmaSegments) value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Segment {
    /// First byte, as the device sees it.
    pub addr: DeviceAddr,
    /// Length in bytes.
    pub len: u32,
}

impl Segment {
    /// The segment of `len` bytes at `addr`.
    #[inline]
    pub const fn new(addr: DeviceAddr, len: u32) -> Self {
        Self { addr, len }
    }

    /// Whether the last byte still has an address.
    #[inline]
    pub const fn is_representable(self) -> bool {
        self.addr.0.checked_add(self.len.saturating_sub(1) as u64).is_some()
    }

    /// The part that starts `skip` bytes in and has at most `limit` bytes; `None` if nothing is left.
    #[inline]
    pub fn part(self, skip: u32, limit: u32) -> Option<Self> {
        let len = self.len.checked_sub(skip)?.min(limit);
        (len > 0).then(|| Self::new(self.addr.wrapping_add(u64::from(skip)), len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_segment_without_overlap() {
        let whole = Segment::new(DeviceAddr(0x1000), 10);
        assert_eq!(whole.part(0, 4), Some(Segment::new(DeviceAddr(0x1000), 4)));
        assert_eq!(whole.part(4, 4), Some(Segment::new(DeviceAddr(0x1004), 4)));
        assert_eq!(whole.part(8, 4), Some(Segment::new(DeviceAddr(0x1008), 2)));
        assert_eq!(whole.part(10, 4), None);
        assert_eq!(whole.part(11, 4), None);
        assert_eq!(whole.part(0, 0), None);
    }

    #[test]
    fn the_end_of_the_address_space_is_noticed() {
        assert!(Segment::new(DeviceAddr(u64::MAX), 1).is_representable());
        assert!(!Segment::new(DeviceAddr(u64::MAX), 2).is_representable());
        assert!(!Segment::new(DeviceAddr(u64::MAX - 511), 513).is_representable());
    }
}
