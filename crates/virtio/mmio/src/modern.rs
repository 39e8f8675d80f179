//! Queue registers of version 2.

use virtio_core::{DeviceAddr, QueueIndex, QueueSetup, QueueSetupError, Wait, fence};

use crate::gone::answered;
use crate::registers::modern::{
    QUEUE_DESC_HIGH, QUEUE_DESC_LOW, QUEUE_DEVICE_HIGH, QUEUE_DEVICE_LOW, QUEUE_DRIVER_HIGH, QUEUE_DRIVER_LOW,
    QUEUE_READY,
};
use crate::registers::{QUEUE_SEL, Register, WriteOnly};
use crate::{RegisterAccess, queue_size};

/// Takes a queue into use in the order of `MMIO-N-02`.
///
/// # Safety
///
/// The contract of [`enable_queue`](virtio_core::Transport::enable_queue).
pub(crate) unsafe fn enable_queue<A: RegisterAccess>(
    access: &mut A,
    queue: QueueIndex,
    setup: &QueueSetup,
) -> Result<(), QueueSetupError> {
    let aligned = setup.descriptor_table.is_aligned_to(16)
        && setup.driver_area.is_aligned_to(2)
        && setup.device_area.is_aligned_to(4);
    if !aligned {
        return Err(QueueSetupError::BadAddress);
    }
    // SAFETY: selecting a queue tells the device of no memory.
    unsafe { QUEUE_SEL.write(access, u32::from(queue.0)) };
    if QUEUE_READY.read(access) != 0 {
        return Err(QueueSetupError::InUse);
    }
    // SAFETY: the caller keeps the same contract for all that is said about the queue.
    unsafe {
        queue_size::write(access, setup.size)?;
        write_address(access, QUEUE_DESC_LOW, QUEUE_DESC_HIGH, setup.descriptor_table);
        write_address(access, QUEUE_DRIVER_LOW, QUEUE_DRIVER_HIGH, setup.driver_area);
        write_address(access, QUEUE_DEVICE_LOW, QUEUE_DEVICE_HIGH, setup.device_area);
    }
    // The device may look at the rings as soon as it has seen the 1, and must find them zeroed.
    fence::before_doorbell();
    // SAFETY: the caller keeps the same contract.
    unsafe { QUEUE_READY.write(access, 1) };
    if QUEUE_READY.read(access) != 1 {
        // It may still be thinking about it; the memory must not be used once the caller has been told of the failure.
        // SAFETY: this takes memory away from the device.
        unsafe { QUEUE_READY.write(access, 0) };
        warn!("the device did not take queue {} into use", queue.0);
        return Err(QueueSetupError::NotReady);
    }
    Ok(())
}

/// Writes both halves of an address. The high half is written even if it is zero, because what the register held
/// before is unknown (`MMIO-N-05`).
///
/// # Safety
///
/// The contract of [`enable_queue`](virtio_core::Transport::enable_queue).
unsafe fn write_address<A: RegisterAccess>(
    access: &mut A,
    low: Register<WriteOnly>,
    high: Register<WriteOnly>,
    address: DeviceAddr,
) {
    // SAFETY: the caller keeps the same contract.
    unsafe {
        low.write(access, address.get() as u32);
        high.write(access, (address.get() >> 32) as u32);
    }
}

/// Writes 0 to QueueReady and reads until it is (`MMIO-D-18`, `MMIO-D-19`).
pub(crate) fn disable_queue<A: RegisterAccess>(
    access: &mut A,
    queue: QueueIndex,
    wait: &mut dyn Wait,
) -> Result<(), QueueSetupError> {
    // SAFETY: this takes memory away from the device.
    unsafe {
        QUEUE_SEL.write(access, u32::from(queue.0));
        QUEUE_READY.write(access, 0);
    }
    while answered(access, QUEUE_READY.read(access))? != 0 {
        if !wait.wait() {
            return Err(QueueSetupError::NotReady);
        }
    }
    fence::registers_and_memory();
    Ok(())
}
