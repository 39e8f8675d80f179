//! Requests as they lie in memory.
//!
//! Every request is a readable [`RequestHeader`], then data, then one writable [`Status`](crate::Status) byte
//! (`BLK-N-05`). The constructors write zero into fields that the specification wants to be zero.

use bitflags::bitflags;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Sector;

/// The type of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(transparent)]
pub struct RequestType(pub u32);

impl RequestType {
    /// Read.
    pub const IN: Self = Self(0);
    /// Write.
    pub const OUT: Self = Self(1);
    /// Legacy: a SCSI command that reads.
    pub const SCSI_CMD: Self = Self(2);
    /// Legacy: a SCSI command that writes.
    pub const SCSI_CMD_OUT: Self = Self(3);
    /// Make completed writes durable.
    pub const FLUSH: Self = Self(4);
    /// Legacy: the same as flush (`LEG-D-24`).
    pub const FLUSH_OUT: Self = Self(5);
    /// Read the identification string.
    pub const GET_ID: Self = Self(8);
    /// Read the wear estimate.
    pub const GET_LIFETIME: Self = Self(10);
    /// The content of ranges is not needed any more.
    pub const DISCARD: Self = Self(11);
    /// Ranges shall read as zeroes.
    pub const WRITE_ZEROES: Self = Self(13);
    /// Ranges shall be unrecoverable.
    pub const SECURE_ERASE: Self = Self(14);
    /// Zoned: write at the zone's write pointer.
    pub const ZONE_APPEND: Self = Self(15);
    /// Zoned: describe zones.
    pub const ZONE_REPORT: Self = Self(16);
    /// Zoned: open a zone.
    pub const ZONE_OPEN: Self = Self(18);
    /// Zoned: close a zone.
    pub const ZONE_CLOSE: Self = Self(20);
    /// Zoned: finish a zone.
    pub const ZONE_FINISH: Self = Self(22);
    /// Zoned: reset a zone.
    pub const ZONE_RESET: Self = Self(24);
    /// Zoned: reset all zones.
    pub const ZONE_RESET_ALL: Self = Self(26);
    /// Legacy: or-ed to a type, the request is a barrier (`LEG-N-18`).
    pub const BARRIER_BIT: u32 = 1 << 31;
}

/// The readable start of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RequestHeader {
    /// [`RequestType`].
    pub kind: U32,
    /// Zero; legacy devices took an I/O priority here (`BLK-N-07`).
    pub reserved: U32,
    /// The position, for requests that have one, else zero (`BLK-N-06`).
    pub sector: U64,
}

impl RequestHeader {
    /// Bytes of a header.
    pub const BYTES: u32 = 16;

    /// A request at a position: read, write, and the zone requests but report of all zones and reset of all.
    #[inline]
    pub const fn at(kind: RequestType, sector: Sector) -> Self {
        Self {
            kind: U32::new(kind.0),
            reserved: U32::ZERO,
            sector: U64::new(sector.0),
        }
    }

    /// A request without a position: flush, identification, lifetime, and the ones that carry [`RangeSegment`]s
    /// (`BLK-D-14`, `BLK-N-06`).
    #[inline]
    pub const fn without_position(kind: RequestType) -> Self {
        Self::at(kind, Sector::ZERO)
    }

    /// The type in the header.
    #[inline]
    pub const fn request_type(&self) -> RequestType {
        RequestType(self.kind.get())
    }

    /// The position in the header.
    #[inline]
    pub const fn position(&self) -> Sector {
        Sector(self.sector.get())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for RequestHeader {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "RequestHeader({}, {})", self.request_type(), self.position());
    }
}

bitflags! {
    /// Flags of a [`RangeSegment`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RangeFlags: u32 {
        /// Write-zeroes only: the device may unmap the range, as long as it reads as zeroes (`BLK-N-11`).
        const UNMAP = 1;

        // Other bits are kept.
        const _ = !0;
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for RangeFlags {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "RangeFlags({=u32:#x})", self.bits());
    }
}

/// One range of a discard, write-zeroes or secure-erase request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RangeSegment {
    /// First sector.
    pub sector: U64,
    /// Number of sectors.
    pub sectors: U32,
    /// [`RangeFlags`].
    pub flags: U32,
}

impl RangeSegment {
    /// Bytes of one range.
    pub const BYTES: u32 = 16;

    /// A range to discard or to erase: no flag is legal there (`BLK-D-24`).
    #[inline]
    pub const fn plain(first: Sector, sectors: u32) -> Self {
        Self {
            sector: U64::new(first.0),
            sectors: U32::new(sectors),
            flags: U32::ZERO,
        }
    }

    /// A range to fill with zeroes, which the device may unmap if `may_unmap`.
    #[inline]
    pub const fn zeroes(first: Sector, sectors: u32, may_unmap: bool) -> Self {
        let flags = if may_unmap {
            RangeFlags::UNMAP
        } else {
            RangeFlags::empty()
        };
        Self {
            flags: U32::new(flags.bits()),
            ..Self::plain(first, sectors)
        }
    }

    /// First sector of the range.
    #[inline]
    pub const fn first(&self) -> Sector {
        Sector(self.sector.get())
    }

    /// The flags, known or not.
    #[inline]
    pub const fn range_flags(&self) -> RangeFlags {
        RangeFlags::from_bits_retain(self.flags.get())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for RangeSegment {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "RangeSegment({}+{=u32}, {})",
            self.first(),
            self.sectors.get(),
            self.range_flags()
        );
    }
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<RequestHeader>() == 16);
    assert!(offset_of!(RequestHeader, kind) == 0);
    assert!(offset_of!(RequestHeader, reserved) == 4);
    assert!(offset_of!(RequestHeader, sector) == 8);
    assert!(size_of::<RangeSegment>() == 16);
    assert!(offset_of!(RangeSegment, sector) == 0);
    assert!(offset_of!(RangeSegment, sectors) == 8);
    assert!(offset_of!(RangeSegment, flags) == 12);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_these_bytes() {
        let header = RequestHeader::at(RequestType::OUT, Sector(0x0102_0304_0506_0708));
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1];
        assert_eq!(header.as_bytes(), bytes);
        assert_eq!(RequestHeader::read_from_bytes(&bytes), Ok(header));
    }

    // Shows BLK-D-14.
    #[test]
    fn requests_without_a_position_carry_sector_zero() {
        let header = RequestHeader::without_position(RequestType::FLUSH);
        assert_eq!(header.as_bytes(), [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    // Shows BLK-D-24.
    #[test]
    fn only_zeroes_can_be_unmapped() {
        let plain = RangeSegment::plain(Sector(0x20), 0x0100);
        assert_eq!(plain.as_bytes(), [0x20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(RangeSegment::zeroes(Sector(0x20), 0x0100, false), plain);
        let unmap = RangeSegment::zeroes(Sector(0x20), 0x0100, true);
        assert_eq!(unmap.as_bytes(), [0x20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0]);
    }
}
