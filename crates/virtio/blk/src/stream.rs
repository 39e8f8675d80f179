//! A stream of the bytes of a disk as `embedded-io` knows it: its position and its errors, for the crates that carry operations out.

use embedded_io::{ErrorKind, SeekFrom};
use virtio_blk_proto::StatusError;

use crate::{Error, IoError, SubmitError};

/// Why a stream does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StreamError {
    /// The disk has not done it. The position is where it was.
    #[error(transparent)]
    Disk(#[from] Error),
    /// The position is at the end of the stream or after it, and something was to be written.
    #[error("nothing can be written at byte {position} of {len}")]
    AtEnd {
        /// The position.
        position: u64,
        /// Bytes of the stream.
        len: u64,
    },
    /// The new position would be before the first byte, or not fit 64 bits. It is where it was.
    #[error("no such position")]
    BadPosition,
}

/// The position of a stream, in bytes. It can be after the end: there is nothing to read there, and nothing can be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position(u64);

impl Position {
    /// The byte that is next.
    pub fn get(self) -> u64 {
        self.0
    }

    /// How many of `wanted` bytes there are to be read in a stream of `len` bytes. None are the end.
    pub fn readable(self, len: u64, wanted: usize) -> usize {
        let left = len.saturating_sub(self.0);
        usize::try_from(left).map_or(wanted, |left| left.min(wanted))
    }

    /// How many of `wanted` bytes can be written in a stream of `len` bytes. They are none only if none are wanted.
    ///
    /// # Errors
    ///
    /// [`StreamError::AtEnd`].
    pub fn writable(self, len: u64, wanted: usize) -> Result<usize, StreamError> {
        match self.readable(len, wanted) {
            0 if wanted > 0 => Err(StreamError::AtEnd { position: self.0, len }),
            count => Ok(count),
        }
    }

    /// Moves on by bytes that were [readable](Self::readable) or [writable](Self::writable).
    pub fn advance(&mut self, count: usize) {
        self.0 = self.0.saturating_add(count as u64);
    }

    /// Moves the position in a stream of `len` bytes, and returns the new one.
    ///
    /// # Errors
    ///
    /// [`StreamError::BadPosition`].
    pub fn seek(&mut self, len: u64, to: SeekFrom) -> Result<u64, StreamError> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => len.checked_add_signed(by),
            SeekFrom::Current(by) => self.0.checked_add_signed(by),
        };
        self.0 = position.ok_or(StreamError::BadPosition)?;
        Ok(self.0)
    }
}

impl embedded_io::Error for StreamError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Disk(error) => embedded_io::Error::kind(error),
            Self::AtEnd { .. } => ErrorKind::WriteZero,
            Self::BadPosition => ErrorKind::InvalidInput,
        }
    }
}

/// The nearest kind. The error itself says more.
impl embedded_io::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(error) => refused(*error),
            Self::Failed(IoError::Device(StatusError::Unsupported)) => ErrorKind::Unsupported,
            // What a device says of a request that it has failed has no kind.
            Self::Failed(_) | Self::BufferWaiting | Self::InUse => ErrorKind::Other,
            Self::TimedOut => ErrorKind::TimedOut,
            Self::Broken(_) | Self::NotLive(_) => ErrorKind::NotConnected,
            Self::OutOfRange { .. } => ErrorKind::InvalidInput,
            Self::BounceTooSmall { .. } | Self::NoBounceBuffer => ErrorKind::OutOfMemory,
        }
    }
}

fn refused(error: SubmitError) -> ErrorKind {
    match error {
        SubmitError::OutOfRange { .. }
        | SubmitError::Misaligned { .. }
        | SubmitError::Empty
        | SubmitError::TooLarge
        | SubmitError::TooScattered
        | SubmitError::BadSegment
        | SubmitError::Zone(_) => ErrorKind::InvalidInput,
        SubmitError::ReadOnly => ErrorKind::PermissionDenied,
        SubmitError::Unsupported => ErrorKind::Unsupported,
        SubmitError::Stopped | SubmitError::Broken(_) => ErrorKind::NotConnected,
        SubmitError::QueueFull => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use embedded_io::Error as _;
    use virtio_blk_proto::Sector;

    use super::*;
    use crate::{DeviceFault, Liveness};

    #[test]
    fn each_error_has_the_nearest_kind_and_is_not_lost() {
        let refused = Error::Refused;
        let failed = |error| Error::Failed(IoError::Device(error));
        let beyond = SubmitError::OutOfRange { capacity: Sector(1) };
        for (error, kind) in [
            (refused(SubmitError::ReadOnly), ErrorKind::PermissionDenied),
            (refused(SubmitError::Unsupported), ErrorKind::Unsupported),
            (failed(StatusError::Unsupported), ErrorKind::Unsupported),
            (refused(beyond), ErrorKind::InvalidInput),
            (
                refused(SubmitError::Misaligned { block_bytes: 512 }),
                ErrorKind::InvalidInput,
            ),
            (Error::OutOfRange { end: 1 }, ErrorKind::InvalidInput),
            (Error::TimedOut, ErrorKind::TimedOut),
            (refused(SubmitError::Stopped), ErrorKind::NotConnected),
            (Error::Broken(DeviceFault::Gone), ErrorKind::NotConnected),
            (Error::NotLive(Liveness::NeedsReset), ErrorKind::NotConnected),
            (Error::NoBounceBuffer, ErrorKind::OutOfMemory),
            (Error::BounceTooSmall { block_bytes: 4096 }, ErrorKind::OutOfMemory),
            (failed(StatusError::Io), ErrorKind::Other),
            (Error::Failed(IoError::Aborted), ErrorKind::Other),
            (Error::InUse, ErrorKind::Other),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
            let StreamError::Disk(inner) = StreamError::from(error) else {
                panic!("{error}");
            };
            assert_eq!((inner, StreamError::Disk(inner).kind()), (error, kind));
        }
        assert_eq!(StreamError::BadPosition.kind(), ErrorKind::InvalidInput);
        assert_eq!(StreamError::AtEnd { position: 1, len: 1 }.kind(), ErrorKind::WriteZero);
    }

    #[test]
    fn a_position_stays_where_it_is_if_there_is_no_other() {
        let mut position = Position::default();
        assert_eq!(position.seek(10, SeekFrom::End(-3)), Ok(7));
        for to in [SeekFrom::Current(-8), SeekFrom::End(-11), SeekFrom::End(i64::MIN)] {
            assert_eq!(position.seek(10, to), Err(StreamError::BadPosition));
        }
        assert_eq!((position.get(), position.readable(10, 5)), (7, 3));
        assert_eq!(position.seek(10, SeekFrom::Start(u64::MAX)), Ok(u64::MAX));
        assert_eq!(position.seek(10, SeekFrom::Current(1)), Err(StreamError::BadPosition));
        assert_eq!((position.readable(10, 5), position.writable(10, 0)), (0, Ok(0)));
        let at_end = StreamError::AtEnd {
            position: u64::MAX,
            len: 10,
        };
        assert_eq!(position.writable(10, 1), Err(at_end));
    }
}
