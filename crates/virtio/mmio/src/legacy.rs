//! Queue registers of version 1.

use virtio_core::{DeviceGone, QueueIndex, QueueSetup, QueueSetupError, fence};

use crate::gone::answered;
use crate::registers::legacy::{GUEST_PAGE_SIZE, QUEUE_ALIGN, QUEUE_PFN};
use crate::registers::{QUEUE_SEL, QUEUE_SIZE_MAX};
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
    let page = page_number(setup).ok_or(QueueSetupError::BadAddress)?;
    // Once before any queue would do; nothing forbids to repeat it, and there is no earlier moment that is certain to
    // come after the reset (`LEG-N-06`).
    // SAFETY: neither tells the device of memory. No other queue is told by page number at this moment, since the transport is
    // the only one that has the registers, and all of them are told in the same unit.
    unsafe {
        GUEST_PAGE_SIZE.write(access, LEGACY_PAGE_BYTES);
        QUEUE_SEL.write(access, u32::from(queue.0));
    }
    if answered(access, QUEUE_PFN.read(access))? != 0 {
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
    if answered(access, QUEUE_PFN.read(access))? != page {
        // Whether this lets go of the queue or resets the device: the memory is not in use when the caller hears of it.
        // SAFETY: this takes memory away from the device.
        unsafe { QUEUE_PFN.write(access, 0) };
        warn!("the device did not take queue {} into use", queue.0);
        return Err(QueueSetupError::NotReady);
    }
    Ok(())
}

/// The most descriptors of a queue, which may be asked only while it is not in use (`LEG-N-09`).
pub(crate) fn max_queue_size<A: RegisterAccess>(access: &mut A, queue: QueueIndex) -> Result<u32, DeviceGone> {
    // SAFETY: selecting a queue tells the device of no memory.
    unsafe { QUEUE_SEL.write(access, u32::from(queue.0)) };
    if answered(access, QUEUE_PFN.read(access))? != 0 {
        return Ok(0);
    }
    answered(access, QUEUE_SIZE_MAX.read(access))
}

/// The page a queue starts at, if the device will find its three parts where the driver put them.
///
/// The device is only told one page number, the size and the alignment, and works out the rest (`LEG-D-08`,
/// `LEG-D-09`): the driver area follows the descriptors, the device area starts at the next multiple of the
/// alignment.
fn page_number(setup: &QueueSetup) -> Option<u32> {
    let size = u64::from(setup.size.get());
    let align = u64::from(setup.legacy_align);
    if !align.is_power_of_two() {
        return None;
    }
    let available = setup.descriptor_table.checked_add(16 * size)?;
    let end = available.checked_add(6 + 2 * size)?;
    let used = end.get().checked_next_multiple_of(align)?;
    let agreed = setup.descriptor_table.is_aligned_to(u64::from(LEGACY_PAGE_BYTES))
        // Alignment counts from the start of the queue, which must therefore have it itself.
        && setup.descriptor_table.is_aligned_to(align)
        && setup.driver_area == available
        && setup.device_area.get() == used
        && setup.device_area.is_aligned_to(4);
    let page = u32::try_from(setup.descriptor_table.get() / u64::from(LEGACY_PAGE_BYTES)).ok()?;
    // Page 0 would read as "not in use".
    (agreed && page != 0).then_some(page)
}
