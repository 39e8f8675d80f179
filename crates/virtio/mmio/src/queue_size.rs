//! The size of a queue, which both versions are told alike.

use virtio_core::{QueueSetupError, QueueSize};

use crate::RegisterAccess;
use crate::registers::{QUEUE_SIZE, QUEUE_SIZE_MAX};

/// Tells the device how many descriptors the selected queue has, if it takes that many (`MMIO-D-16`, `MMIO-N-03`).
///
/// # Safety
///
/// The contract of [`enable_queue`](virtio_core::Transport::enable_queue).
pub(crate) unsafe fn write<A: RegisterAccess>(access: &mut A, size: QueueSize) -> Result<(), QueueSetupError> {
    let size = u32::from(size.get());
    match QUEUE_SIZE_MAX.read(access) {
        0 => Err(QueueSetupError::NoSuchQueue),
        max if size > max => Err(QueueSetupError::TooLarge),
        _ => {
            // SAFETY: the caller keeps the same contract.
            unsafe { QUEUE_SIZE.write(access, size) };
            Ok(())
        }
    }
}
