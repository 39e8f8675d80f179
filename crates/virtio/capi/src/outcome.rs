//! The answers of the functions.

use virtio_blk::proto::StatusError;
use virtio_blk::{InitError, IoError, SubmitError};

/// How a call or a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum Outcome {
    /// It succeeded.
    Ok = 0,
    /// An argument is null, or the storage is too small or not aligned.
    Argument = 1,
    /// There is no VirtIO device at the registers, or not one for blocks.
    NoDevice = 2,
    /// The device did not come up.
    NotStarted = 3,
    /// The platform gave no memory.
    Memory = 4,
    /// No room now: try again after a completion.
    QueueFull = 5,
    /// The request reaches past the end of the disk.
    OutOfRange = 6,
    /// Position or length is not a multiple of the block size, or there is nothing to transfer.
    Misaligned = 7,
    /// The disk cannot be written.
    ReadOnly = 8,
    /// The device cannot do that.
    Unsupported = 9,
    /// The device, or its storage, failed.
    Io = 10,
    /// The disk was shut down before the request was done.
    Aborted = 11,
    /// The device broke the rules, or is gone: shut the disk down.
    Broken = 12,
    /// The device did not finish its reset, and may still be using its memory: try again later.
    TimedOut = 13,
}

impl From<InitError> for Outcome {
    fn from(error: InitError) -> Self {
        match error {
            InitError::NotBlock(_) | InitError::Gone => Self::NoDevice,
            InitError::Dma(_) => Self::Memory,
            _ => Self::NotStarted,
        }
    }
}

impl From<SubmitError> for Outcome {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::QueueFull => Self::QueueFull,
            SubmitError::OutOfRange { .. } | SubmitError::BadSegment => Self::OutOfRange,
            SubmitError::Misaligned { .. } | SubmitError::Empty => Self::Misaligned,
            SubmitError::ReadOnly => Self::ReadOnly,
            SubmitError::Broken(_) | SubmitError::Stopped => Self::Broken,
            _ => Self::Unsupported,
        }
    }
}

impl From<IoError> for Outcome {
    fn from(error: IoError) -> Self {
        match error {
            IoError::Device(StatusError::Unsupported) => Self::Unsupported,
            IoError::Aborted => Self::Aborted,
            _ => Self::Io,
        }
    }
}
