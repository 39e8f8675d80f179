//! The answer to a zone report: a header, then descriptions.

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::zoned::ZoneDescriptor;

/// The start of a zone report as it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ZoneReportHeader {
    /// Number of complete descriptions that follow, unchecked (`BLK-N-24`).
    pub nr_zones: U64,
    /// Reserved.
    pub reserved: [u8; 56],
}

impl ZoneReportHeader {
    /// Bytes of the header.
    pub const BYTES: u32 = 64;

    /// A header for so many descriptions, with zeroes in the reserved bytes; for code that plays the device.
    pub const fn new(nr_zones: u64) -> Self {
        Self {
            nr_zones: U64::new(nr_zones),
            reserved: [0; 56],
        }
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for ZoneReportHeader {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "ZoneReportHeader({=u64} zones)", self.nr_zones.get());
    }
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<ZoneReportHeader>() == ZoneReportHeader::BYTES as usize);
    assert!(size_of::<ZoneReportHeader>() == 64);
    assert!(offset_of!(ZoneReportHeader, nr_zones) == 0);
    assert!(offset_of!(ZoneReportHeader, reserved) == 8);
};

/// A zone report in the buffer the device filled.
///
/// It has only the descriptions that lie completely in the buffer, also if the device claims more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ZoneReport<'a> {
    claimed: u64,
    zones: &'a [ZoneDescriptor],
}

impl<'a> ZoneReport<'a> {
    /// A report in the data part of a request. Cut `buffer` to the used length if that is reliable.
    ///
    /// `None` if not even the header fits.
    pub fn parse(buffer: &'a [u8]) -> Option<Self> {
        let (header, rest) = ZoneReportHeader::ref_from_prefix(buffer).ok()?;
        let claimed = header.nr_zones.get();
        let fitting = rest.len() / size_of::<ZoneDescriptor>();
        let count = usize::try_from(claimed).map_or(fitting, |claimed| claimed.min(fitting));
        let (zones, _) = <[ZoneDescriptor]>::ref_from_prefix_with_elems(rest, count).ok()?;
        Some(Self { claimed, zones })
    }

    /// Bytes of data a report of `zones` zones needs; `None` past [`u32::MAX`], the most a segment can have.
    ///
    /// Room for less than one zone is refused by some devices (`BLK-N-24`).
    pub const fn bytes_for(zones: u32) -> Option<u32> {
        match zones.checked_mul(ZoneDescriptor::BYTES) {
            Some(bytes) => bytes.checked_add(ZoneReportHeader::BYTES),
            None => None,
        }
    }

    /// Number of descriptions that the device claims to have written. It can be larger than the number in
    /// [`zones`](Self::zones).
    pub const fn claimed(&self) -> u64 {
        self.claimed
    }

    /// The descriptions, in the order of the device.
    pub const fn zones(&self) -> &'a [ZoneDescriptor] {
        self.zones
    }
}

impl<'a> IntoIterator for ZoneReport<'a> {
    type Item = &'a ZoneDescriptor;
    type IntoIter = core::slice::Iter<'a, ZoneDescriptor>;

    fn into_iter(self) -> Self::IntoIter {
        self.zones.iter()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::Sector;
    use crate::zoned::{ZoneState, ZoneType};

    fn report(claimed: u64, zones: u64) -> Vec<u8> {
        let mut bytes = ZoneReportHeader::new(claimed).as_bytes().to_vec();
        for zone in 0..zones {
            let start = Sector(zone * 0x100);
            let kind = ZoneType::SequentialWriteRequired;
            bytes.extend_from_slice(ZoneDescriptor::new(kind, ZoneState::Empty, start, 0x100, start).as_bytes());
        }
        bytes
    }

    #[test]
    fn the_descriptions_come_in_order() {
        let bytes = report(3, 3);
        let starts: Vec<u64> = ZoneReport::parse(&bytes)
            .unwrap()
            .into_iter()
            .map(|zone| zone.start().get())
            .collect();
        assert_eq!(starts, [0, 0x100, 0x200]);
    }

    #[test]
    fn a_report_has_no_more_zones_than_fit() {
        for claimed in [3, 4, u64::from(u32::MAX) + 1, u64::MAX] {
            let bytes = report(claimed, 3);
            let parsed = ZoneReport::parse(&bytes).unwrap();
            assert_eq!(parsed.claimed(), claimed);
            assert_eq!(parsed.zones().len(), 3);
            assert_eq!(ZoneReport::parse(&bytes[..64 + 191]).unwrap().zones().len(), 2);
        }
    }

    #[test]
    fn a_report_has_no_more_zones_than_claimed() {
        assert_eq!(ZoneReport::parse(&report(1, 3)).unwrap().zones().len(), 1);
        assert_eq!(ZoneReport::parse(&report(0, 3)).unwrap().zones().len(), 0);
    }

    #[test]
    fn a_report_needs_its_header() {
        let bytes = report(1, 0);
        assert_eq!(ZoneReport::parse(&bytes).unwrap().zones().len(), 0);
        assert_eq!(ZoneReport::parse(&bytes[..63]), None);
        assert_eq!(ZoneReport::parse(&[]), None);
    }

    #[test]
    fn the_size_of_a_report_is_known_beforehand() {
        assert_eq!(ZoneReport::bytes_for(0), Some(64));
        assert_eq!(ZoneReport::bytes_for(3), Some(256));
        assert_eq!(ZoneReport::bytes_for(u32::MAX / 64 - 1), Some(u32::MAX - 63));
        assert_eq!(ZoneReport::bytes_for(u32::MAX / 64), None);
        assert_eq!(ZoneReport::bytes_for(u32::MAX), None);
    }
}
