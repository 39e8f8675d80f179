//! The error of a transfer that gives a buffer away.

use core::fmt;

use virtio_blk::Error;

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
