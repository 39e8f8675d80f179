//! `Read`, `Write` and `Seek` of `embedded-io`: a stream of bytes with a position.

use embedded_io::{ErrorKind, ErrorType, Read, Seek, SeekFrom, Write};
use virtio_blk::proto::StatusError;
use virtio_blk::{IoError, SubmitError};

use crate::{BlockIo, ByteRange, Error};

/// A range of bytes of a disk that is read and written at a position, which moves along.
///
/// Nothing is buffered. A read or write of a few bytes is a request for a block, and such a write reads the block first; code that transfers
/// a few bytes at a time is better off with a buffer in front.
#[derive(Debug)]
pub struct ByteCursor<D> {
    range: ByteRange<D>,
    position: u64,
}

/// Why a stream does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CursorError {
    /// The disk has not done it. The position is where it was.
    #[error(transparent)]
    Disk(#[from] Error),
    /// The position is at the end of the range or after it, and something was to be written.
    #[error("nothing can be written at byte {position} of {len}")]
    AtEnd {
        /// The position.
        position: u64,
        /// Bytes of the range.
        len: u64,
    },
    /// The new position would be before the first byte, or not fit 64 bits. It is where it was.
    #[error("no such position")]
    BadPosition,
}

impl<D> ByteCursor<D> {
    /// A cursor at the first byte of `range`.
    pub fn new(range: ByteRange<D>) -> Self {
        Self { range, position: 0 }
    }

    /// The position, in bytes. It can be after the end of the range.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The range.
    pub fn range(&self) -> &ByteRange<D> {
        &self.range
    }

    /// The range, to read and write at other places.
    pub fn range_mut(&mut self) -> &mut ByteRange<D> {
        &mut self.range
    }

    /// The range back.
    pub fn into_range(self) -> ByteRange<D> {
        self.range
    }
}

impl<D: BlockIo> ByteCursor<D> {
    /// How many of `len` bytes there are from the position on.
    fn available(&self, len: usize) -> usize {
        let left = self.range.len().saturating_sub(self.position);
        usize::try_from(left).map_or(len, |left| left.min(len))
    }
}

impl<D> ErrorType for ByteCursor<D> {
    type Error = CursorError;
}

impl<D: BlockIo> Read for ByteCursor<D> {
    /// Fills `memory` if there are as many bytes up to the end of the range. None are the end.
    fn read(&mut self, memory: &mut [u8]) -> Result<usize, CursorError> {
        let count = self.available(memory.len());
        if count > 0 {
            self.range.read_at(self.position, &mut memory[..count])?;
            self.position += count as u64;
        }
        Ok(count)
    }
}

impl<D: BlockIo> Write for ByteCursor<D> {
    /// Writes all of `memory` if there are as many bytes up to the end of the range.
    fn write(&mut self, memory: &[u8]) -> Result<usize, CursorError> {
        let count = self.available(memory.len());
        if count == 0 && !memory.is_empty() {
            return Err(CursorError::AtEnd {
                position: self.position,
                len: self.range.len(),
            });
        }
        if count > 0 {
            self.range.write_at(self.position, &memory[..count])?;
            self.position += count as u64;
        }
        Ok(count)
    }

    /// Makes every write so far durable; see [`BlockIo::flush`].
    fn flush(&mut self) -> Result<(), CursorError> {
        Ok(self.range.flush()?)
    }
}

impl<D: BlockIo> Seek for ByteCursor<D> {
    /// Moves the position. It can be after the end: there is nothing to read there, and nothing can be written.
    fn seek(&mut self, to: SeekFrom) -> Result<u64, CursorError> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.range.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(CursorError::BadPosition)?;
        Ok(self.position)
    }
}

impl embedded_io::Error for CursorError {
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
            Self::Refused(SubmitError::ReadOnly) => ErrorKind::PermissionDenied,
            Self::Refused(SubmitError::Unsupported) | Self::Failed(IoError::Device(StatusError::Unsupported)) => {
                ErrorKind::Unsupported
            }
            Self::Refused(
                SubmitError::OutOfRange { .. }
                | SubmitError::Misaligned { .. }
                | SubmitError::Empty
                | SubmitError::TooLarge
                | SubmitError::TooScattered
                | SubmitError::BadSegment
                | SubmitError::Zone(_),
            )
            | Self::OutOfRange { .. } => ErrorKind::InvalidInput,
            Self::TimedOut => ErrorKind::TimedOut,
            Self::Broken(_) | Self::NotLive(_) | Self::Refused(SubmitError::Stopped) => ErrorKind::NotConnected,
            Self::BounceTooSmall { .. } | Self::NoBounceBuffer => ErrorKind::OutOfMemory,
            // What the device says of a request that it has failed has no kind of its own.
            _ => ErrorKind::Other,
        }
    }
}
