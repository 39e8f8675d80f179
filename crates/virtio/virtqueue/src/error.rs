//! What can go wrong, by operation.

use virtio_core::DeviceGone;

/// Why a queue could not be made. The memory comes back with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CreateError {
    /// More descriptors than the queue type has slots.
    #[error("the queue is larger than its compile-time capacity")]
    OverCapacity,
    /// The memory is too small or not aligned.
    #[error("the memory is too small or not aligned for the queue")]
    BadMemory,
}

/// Why a chain was not taken. Nothing has changed in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ChainError {
    /// Too few free descriptors now; try again after a completion.
    #[error("not enough free descriptors")]
    QueueFull,
    /// More segments than a chain of this queue can ever have.
    #[error("more segments than a chain can have")]
    TooManySegments,
    /// A chain without any segment, or a segment without any byte (`RING-N-05`).
    #[error("a chain or segment is empty")]
    Empty,
    /// A device-readable segment after a device-writable one (`RING-D-02`).
    #[error("device-readable segment after a device-writable one")]
    ReadableAfterWritable,
    /// A segment wraps around the address space, or the chain is longer than 2^32 bytes (`RING-D-04`).
    #[error("a segment or chain is too long")]
    TooLong,
    /// The device broke the rules earlier; only a reset helps.
    #[error("the queue needs a reset: {0}")]
    Broken(DeviceFault),
}

/// Why a queue has stopped: a lie of the device in the used ring, after which only a reset makes it trustworthy again, or its end.
///
/// A wrong length is not among them: too many devices in use report lengths that are wrong (`RING-N-09`), and with
/// [`Used::written`](crate::Used::written) clipped to the chain, nothing depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DeviceFault {
    /// The used index ran back, or further on than there are chains with the device.
    #[error("used index {index} ran back, or beyond the {outstanding} chains outstanding")]
    IndexJump {
        /// The index the device wrote.
        index: u16,
        /// How many chains it had.
        outstanding: u16,
    },
    /// The id is no descriptor of this queue.
    #[error("used id {id} is not a descriptor of the queue")]
    IdOutOfRange {
        /// What the device wrote.
        id: u32,
    },
    /// The id is not the head of a chain the device has.
    #[error("used id {id} is not in flight")]
    NotInFlight {
        /// What the device wrote.
        id: u32,
    },
    /// There is no device any more, as [`VirtQueue::device_gone`](crate::VirtQueue::device_gone) was told. What it had announced
    /// as done before is still given back.
    #[error("the device is gone")]
    Gone,
}

impl From<DeviceGone> for DeviceFault {
    fn from(_: DeviceGone) -> Self {
        Self::Gone
    }
}
