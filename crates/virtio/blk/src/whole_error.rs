//! Why an operation as a whole was not done, for the crates that carry operations out on a disk.

use crate::{DeviceFault, IoError, Liveness, Rejected, SubmitError};

/// Why an operation was not done: the error of the crates on top of this one, whose operations are one request or several.
///
/// What the operation was to change on the disk may have changed in part, except where a variant says otherwise.
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
    /// The caller has given up waiting. The memory that the device still has stays with it until it is done.
    #[error("the device has not answered in time")]
    TimedOut,
    /// The device broke the rules of the ring, or is gone. Stop the disk and start it again.
    #[error("the device needs a reset: {0}")]
    Broken(DeviceFault),
    /// The device asks for a reset, has failed, or was reset by other code. Stop the disk and start it again.
    #[error("the device is not live any more: {0:?}")]
    NotLive(Liveness),
    /// The range of bytes reaches past the end of the disk, or of the part of it. Nothing has changed.
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
    /// Buffers of earlier operations that nothing waited for have come back, and there is no room for another one: take them first. Nothing
    /// was done.
    #[error("a buffer that came back late has not been taken")]
    BufferWaiting,
    /// Another call on the same disk has not returned yet. Nothing was done.
    #[error("the disk is used by a call that has not returned")]
    InUse,
}

impl Error {
    /// Whether nothing but stopping the disk and starting it again helps.
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
