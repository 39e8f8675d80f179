//! The one error of all operations.

use core::fmt;

use virtio_blk::{DeviceFault, IoError, Liveness, Rejected, SubmitError};

/// Why an operation was not done. What it was to change on the disk may have changed in part, except where a variant says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The driver does not take it: it reaches past the end of the disk, is not made of whole blocks, the disk is read-only, the device does
    /// not do that. Nothing has changed, except that the head of a byte range may be written whose middle or tail was refused.
    #[error(transparent)]
    Refused(SubmitError),
    /// The device has failed it.
    #[error(transparent)]
    Failed(#[from] IoError),
    /// The hook has given up. What the device still has comes back to this crate when the device is done; the next operation waits for it
    /// first.
    #[error("the device has not answered in time")]
    TimedOut,
    /// The device broke the rules of the ring, or is gone. [Stop](crate::BlockingDisk::stop) the disk and start it again.
    #[error("the device needs a reset: {0}")]
    Broken(DeviceFault),
    /// The device asks for a reset, has failed, or was reset by other code. [Stop](crate::BlockingDisk::stop) the disk and start it again.
    #[error("the device is not live any more: {0:?}")]
    NotLive(Liveness),
    /// The range of bytes reaches past the end of the disk, or of the [part](crate::ByteRange) of it. Nothing has changed.
    #[error("past the end, byte {end}")]
    OutOfRange {
        /// The byte after the last one that can be named.
        end: u64,
    },
    /// A bounce buffer is smaller than a block of the disk. Nothing was done.
    #[error("a bounce buffer has less than the {block_bytes} bytes of a block")]
    BounceTooSmall {
        /// Bytes of a block.
        block_bytes: u32,
    },
    /// The pool has no bounce buffers: they were taken out of it before the disk got it.
    #[error("there is no bounce buffer")]
    NoBounceBuffer,
    /// The buffer of an earlier operation that was not answered in time has come back:
    /// [take it](crate::BlockingDisk::take_late_buffer) first. Nothing was done.
    #[error("a buffer that came back late has not been taken")]
    BufferWaiting,
    /// A call on the same disk has not returned yet, and its hook has called again. Nothing was done.
    #[error("the disk is used by a call that has not returned")]
    InUse,
}

impl Error {
    /// Whether nothing but [stopping](crate::BlockingDisk::stop) the disk and starting it again helps.
    pub fn needs_restart(&self) -> bool {
        matches!(
            self,
            Self::Broken(_) | Self::NotLive(_) | Self::Refused(SubmitError::Stopped)
        )
    }
}

impl From<SubmitError> for Error {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Broken(fault) => Self::Broken(fault),
            error => Self::Refused(error),
        }
    }
}

impl From<DeviceFault> for Error {
    fn from(fault: DeviceFault) -> Self {
        Self::Broken(fault)
    }
}

impl<B, K> From<Rejected<B, K>> for Error {
    fn from(rejected: Rejected<B, K>) -> Self {
        rejected.error.into()
    }
}

/// A transfer of a buffer of the caller that was not done.
pub struct BufferError<B> {
    /// Why.
    pub error: Error,
    /// The buffer, unless the device still has it. Then [`take_late_buffer`](crate::BlockingDisk::take_late_buffer) gives it once the
    /// device is done, or [`stop`](crate::BlockingDisk::stop).
    pub buffer: Option<B>,
}

impl<B> BufferError<B> {
    pub(crate) fn new(error: impl Into<Error>, buffer: Option<B>) -> Self {
        Self {
            error: error.into(),
            buffer,
        }
    }
}

impl<B> fmt::Debug for BufferError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<B> fmt::Display for BufferError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<B> core::error::Error for BufferError<B> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.error.source()
    }
}

impl<B> From<BufferError<B>> for Error {
    fn from(failed: BufferError<B>) -> Self {
        failed.error
    }
}
