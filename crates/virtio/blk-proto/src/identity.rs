//! The identification string and the wear estimate of a device.

use core::fmt;

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The answer to an identification request: up to 20 bytes of ASCII, padded with NUL, without a terminator if all 20
/// are used (`BLK-N-16`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(transparent)]
pub struct DeviceIdString(pub [u8; Self::BYTES as usize]);

impl DeviceIdString {
    /// Bytes of the answer: the exact size of the request's buffer (`BLK-D-18`).
    pub const BYTES: u32 = 20;

    /// The string without its padding.
    pub fn as_bytes_trimmed(&self) -> &[u8] {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        &self.0[..end]
    }
}

/// Prints printable ASCII as it is and `?` for the rest: the bytes come from a device.
impl fmt::Display for DeviceIdString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.as_bytes_trimmed() {
            let printable = byte.is_ascii_graphic() || byte == b' ';
            fmt::Write::write_char(f, if printable { char::from(byte) } else { '?' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for DeviceIdString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceIdString(\"{self}\")")
    }
}

/// The answer to a lifetime request as it lies in memory (`BLK-N-17`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Lifetime {
    /// How far the reserved blocks are used up; see [`ReservedBlocks`].
    pub pre_eol_info: U16,
    /// Wear of single-level cells; see [`Wear`].
    pub type_a: U16,
    /// Wear of multi-level cells; see [`Wear`].
    pub type_b: U16,
}

impl Lifetime {
    /// Bytes of the answer.
    pub const BYTES: u32 = 6;

    /// How far the reserved blocks are used up.
    pub fn reserved_blocks(&self) -> ReservedBlocks {
        match self.pre_eol_info.get() {
            0 => ReservedBlocks::Undefined,
            1 => ReservedBlocks::Normal,
            2 => ReservedBlocks::Warning,
            3 => ReservedBlocks::Urgent,
            other => ReservedBlocks::Reserved(other),
        }
    }

    /// Wear of single-level cells.
    pub fn single_level_wear(&self) -> Wear {
        Wear::decode(self.type_a.get())
    }

    /// Wear of multi-level cells.
    pub fn multi_level_wear(&self) -> Wear {
        Wear::decode(self.type_b.get())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Lifetime {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "Lifetime({}, {}, {})",
            self.reserved_blocks(),
            self.single_level_wear(),
            self.multi_level_wear()
        );
    }
}

/// How far a device's reserved blocks are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ReservedBlocks {
    /// Not known to the device.
    Undefined,
    /// Less than 80 %.
    Normal,
    /// 80 % or more.
    Warning,
    /// 90 % or more.
    Urgent,
    /// A value without a meaning yet.
    Reserved(u16),
}

/// An estimate of how much of its life a device has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Wear {
    /// Not known to the device.
    Undefined,
    /// At most this many per cent: 10, 20, up to 100.
    UpToPercent(u8),
    /// Beyond its designed life.
    Exceeded,
    /// A value without a meaning yet.
    Reserved(u16),
}

impl Wear {
    fn decode(value: u16) -> Self {
        match value {
            0 => Self::Undefined,
            1..=10 => Self::UpToPercent(value as u8 * 10),
            11 => Self::Exceeded,
            other => Self::Reserved(other),
        }
    }
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<DeviceIdString>() == 20);
    assert!(size_of::<Lifetime>() == 6);
    assert!(offset_of!(Lifetime, type_a) == 2);
    assert!(offset_of!(Lifetime, type_b) == 4);
};

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn an_id_ends_at_the_first_nul_or_after_twenty_bytes() {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(b"disk");
        bytes[6] = b'x';
        assert_eq!(DeviceIdString(bytes).to_string(), "disk");
        assert_eq!(DeviceIdString([b'7'; 20]).to_string().len(), 20);
        assert_eq!(DeviceIdString([0; 20]).to_string(), "");
        assert_eq!(DeviceIdString([0x1B; 20]).to_string(), "?".repeat(20));
    }

    #[test]
    fn wear_is_decoded_and_unknown_values_are_kept() {
        let lifetime = Lifetime::read_from_bytes(&[2, 0, 10, 0, 0x0C, 1]).unwrap();
        assert_eq!(lifetime.reserved_blocks(), ReservedBlocks::Warning);
        assert_eq!(lifetime.single_level_wear(), Wear::UpToPercent(100));
        assert_eq!(lifetime.multi_level_wear(), Wear::Reserved(0x010C));
        assert_eq!(Wear::decode(1), Wear::UpToPercent(10));
        assert_eq!(Wear::decode(11), Wear::Exceeded);
        assert_eq!(Wear::decode(0), Wear::Undefined);
    }
}
