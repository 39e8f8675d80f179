//! What can go wrong, by operation.

use core::fmt;

/// Why a queue could not be made. The memory comes back with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CreateError {
    /// More descriptors than the queue type has slots.
    OverCapacity,
    /// The memory is too small or not aligned.
    BadMemory,
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OverCapacity => "the queue is larger than its compile-time capacity",
            Self::BadMemory => "the memory is too small or not aligned for the queue",
        })
    }
}

impl core::error::Error for CreateError {}

/// Why a chain was not taken. Nothing has changed in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ChainError {
    /// Too few free descriptors now; try again after a completion.
    QueueFull,
    /// More segments than a chain of this queue can ever have.
    TooManySegments,
    /// A chain without any segment, or a segment without any byte (`RING-N-05`).
    Empty,
    /// A device-readable segment after a device-writable one (`RING-D-02`).
    ReadableAfterWritable,
    /// A segment wraps around the address space, or the chain is longer than 2^32 bytes (`RING-D-04`).
    TooLong,
    /// The device broke the rules earlier; only a reset helps.
    Broken(DeviceFault),
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull => f.write_str("not enough free descriptors"),
            Self::TooManySegments => f.write_str("more segments than a chain can have"),
            Self::Empty => f.write_str("a chain or segment is empty"),
            Self::ReadableAfterWritable => f.write_str("device-readable segment after a device-writable one"),
            Self::TooLong => f.write_str("a segment or chain is too long"),
            Self::Broken(fault) => write!(f, "the queue needs a reset: {fault}"),
        }
    }
}

impl core::error::Error for ChainError {}

/// A lie of the device in the used ring. The queue stops there: only a reset makes the device trustworthy again.
///
/// A wrong length is not among them: too many devices in use report lengths that are wrong (`RING-N-09`), and with
/// [`Used::written`](crate::Used::written) clipped to the chain, nothing depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DeviceFault {
    /// The used index ran back, or further on than there are chains with the device.
    IndexJump {
        /// The index the device wrote.
        index: u16,
        /// How many chains it had.
        outstanding: u16,
    },
    /// The id is no descriptor of this queue.
    IdOutOfRange {
        /// What the device wrote.
        id: u32,
    },
    /// The id is not the head of a chain the device has.
    NotInFlight {
        /// What the device wrote.
        id: u32,
    },
}

impl fmt::Display for DeviceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IndexJump { index, outstanding } => {
                write!(
                    f,
                    "used index {index} ran back, or beyond the {outstanding} chains outstanding"
                )
            }
            Self::IdOutOfRange { id } => write!(f, "used id {id} is not a descriptor of the queue"),
            Self::NotInFlight { id } => write!(f, "used id {id} is not in flight"),
        }
    }
}

impl core::error::Error for DeviceFault {}
