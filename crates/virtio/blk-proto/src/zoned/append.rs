//! The end of an append: the position of the data, then the status.

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{Sector, Status, StatusError};

/// The writable part of an append as it lies in memory; other requests have a lone status byte there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AppendTail {
    /// The position of the data; undefined unless the append succeeded. See [`position`](Self::position).
    pub append_sector: U64,
    /// [`Status`].
    pub status: u8,
}

impl AppendTail {
    /// Bytes of the tail.
    pub const BYTES: u32 = 9;

    /// The content before the request: a position on no disk, and a status that no device writes (`BLK-N-18`).
    pub const NOT_WRITTEN: Self = Self {
        append_sector: U64::MAX_VALUE,
        status: Status::NOT_WRITTEN.0,
    };

    /// The status.
    pub const fn status(&self) -> Status {
        Status(self.status)
    }

    /// The first sector of the appended data (`BLK-D-35`).
    ///
    /// # Errors
    ///
    /// The status, if the append did not succeed; then there is no position.
    pub fn position(&self) -> Result<Sector, StatusError> {
        self.status().check().map(|()| self.append_sector.into())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for AppendTail {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "AppendTail({})", self.position());
    }
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<AppendTail>() == AppendTail::BYTES as usize);
    assert!(size_of::<AppendTail>() == 9);
    assert!(offset_of!(AppendTail, append_sector) == 0);
    assert!(offset_of!(AppendTail, status) == 8);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_has_a_position_only_after_success() {
        let mut tail = AppendTail::read_from_bytes(&[8, 7, 6, 5, 4, 3, 2, 1, 0]).unwrap();
        assert_eq!(tail.position(), Ok(Sector(0x0102_0304_0506_0708)));
        tail.status = 5;
        assert_eq!(tail.position(), Err(StatusError::ZoneOpenResource));
        assert_eq!(AppendTail::NOT_WRITTEN.position(), Err(StatusError::NotWritten));
    }
}
