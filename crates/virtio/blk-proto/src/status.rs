//! The status byte at the end of every request.

use core::fmt;

/// The status byte as the device wrote it, unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(transparent)]
pub struct Status(pub u8);

impl Status {
    /// Success.
    pub const OK: Self = Self(0);
    /// The device or its storage failed.
    pub const IOERR: Self = Self(1);
    /// The device does not support the request.
    pub const UNSUPP: Self = Self(2);
    /// Zoned: the command does not fit the zone.
    pub const ZONE_INVALID_CMD: Self = Self(3);
    /// Zoned: not at the write pointer.
    pub const ZONE_UNALIGNED_WP: Self = Self(4);
    /// Zoned: too many open zones.
    pub const ZONE_OPEN_RESOURCE: Self = Self(5);
    /// Zoned: too many active zones.
    pub const ZONE_ACTIVE_RESOURCE: Self = Self(6);
    /// The content before the request. No device writes it, so it shows that a status was never written (`BLK-N-18`).
    pub const NOT_WRITTEN: Self = Self(0xFF);

    /// The outcome as a result.
    ///
    /// # Errors
    ///
    /// Every status but OK. Values that the specification does not define are [`StatusError::Unknown`].
    #[inline]
    pub const fn check(self) -> Result<(), StatusError> {
        Err(match self {
            Self::OK => return Ok(()),
            Self::IOERR => StatusError::Io,
            Self::UNSUPP => StatusError::Unsupported,
            Self::ZONE_INVALID_CMD => StatusError::ZoneInvalidCommand,
            Self::ZONE_UNALIGNED_WP => StatusError::ZoneUnalignedWritePointer,
            Self::ZONE_OPEN_RESOURCE => StatusError::ZoneOpenResource,
            Self::ZONE_ACTIVE_RESOURCE => StatusError::ZoneActiveResource,
            Self::NOT_WRITTEN => StatusError::NotWritten,
            Self(other) => StatusError::Unknown(other),
        })
    }
}

/// The failure of a request, as the device reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StatusError {
    /// An I/O error.
    Io,
    /// The device does not support the request.
    Unsupported,
    /// The command does not fit the state of the zone.
    ZoneInvalidCommand,
    /// A write that does not start at the zone's write pointer.
    ZoneUnalignedWritePointer,
    /// No more zones can be open.
    ZoneOpenResource,
    /// No more zones can be active.
    ZoneActiveResource,
    /// The device returned the request without writing a status.
    NotWritten,
    /// A status the specification does not define.
    Unknown(u8),
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io => "I/O error",
            Self::Unsupported => "request not supported by the device",
            Self::ZoneInvalidCommand => "command not valid for the zone",
            Self::ZoneUnalignedWritePointer => "write not at the zone's write pointer",
            Self::ZoneOpenResource => "too many open zones",
            Self::ZoneActiveResource => "too many active zones",
            Self::NotWritten => "the device wrote no status",
            Self::Unknown(status) => return write!(f, "unknown status {status}"),
        })
    }
}

impl core::error::Error for StatusError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zero_is_success_and_every_other_value_an_error() {
        for value in 0..=u8::MAX {
            let outcome = Status(value).check();
            match value {
                0 => assert_eq!(outcome, Ok(())),
                1 => assert_eq!(outcome, Err(StatusError::Io)),
                2 => assert_eq!(outcome, Err(StatusError::Unsupported)),
                3..=6 => assert!(!matches!(outcome, Ok(()) | Err(StatusError::Unknown(_)))),
                0xFF => assert_eq!(outcome, Err(StatusError::NotWritten)),
                _ => assert_eq!(outcome, Err(StatusError::Unknown(value))),
            }
        }
    }
}
