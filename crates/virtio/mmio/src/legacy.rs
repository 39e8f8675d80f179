//! Queue registers of version 1.

use virtio_core::{QueueIndex, QueueSetup, QueueSetupError, fence};

use crate::registers::QUEUE_SEL;
use crate::registers::legacy::{GUEST_PAGE_SIZE, QUEUE_ALIGN, QUEUE_PFN};
use crate::{RegisterAccess, queue_size};

/// The page size, in bytes, in which the place of a legacy queue is told to the device.
///
/// A queue starts at a multiple of it, below 2^44 (`LEG-N-14`). It need not be the page size of the platform.
pub const LEGACY_PAGE_BYTES: u32 = 4096;

/// Takes a queue into use in the order of `LEG-N-10`.
///
/// # Safety
///
/// The contract of [`enable_queue`](virtio_core::Transport::enable_queue).
pub(crate) unsafe fn enable_queue<A: RegisterAccess>(
    access: &mut A,
    queue: QueueIndex,
    setup: &QueueSetup,
) -> Result<(), QueueSetupError> {
    let page = setup
        .legacy_page(LEGACY_PAGE_BYTES)
        .ok_or(QueueSetupError::BadAddress)?;
    // Once before any queue would do; nothing forbids to repeat it, and there is no earlier moment that is certain to
    // come after the reset (`LEG-N-06`).
    // SAFETY: neither tells the device of memory. No other queue is told by page number at this moment, since the transport is
    // the only one that has the registers, and all of them are told in the same unit.
    unsafe {
        GUEST_PAGE_SIZE.write(access, LEGACY_PAGE_BYTES);
        QUEUE_SEL.write(access, u32::from(queue.0));
    }
    if QUEUE_PFN.read(access) != 0 {
        return Err(QueueSetupError::InUse);
    }
    // SAFETY: the caller keeps the same contract for all that is said about the queue.
    unsafe {
        queue_size::write(access, setup.size)?;
        QUEUE_ALIGN.write(access, setup.legacy_align);
    }
    // The device may look at the rings as soon as it has seen the page number, and must find them zeroed.
    fence::before_doorbell();
    // SAFETY: the caller keeps the same contract.
    unsafe { QUEUE_PFN.write(access, page) };
    if QUEUE_PFN.read(access) != page {
        // Whether this lets go of the queue or resets the device: the memory is not in use when the caller hears of it.
        // SAFETY: this takes memory away from the device.
        unsafe { QUEUE_PFN.write(access, 0) };
        warn!("the device did not take queue {} into use", queue.0);
        return Err(QueueSetupError::NotReady);
    }
    Ok(())
}
