//! How a device that is gone is told from one whose register reads as all ones.

use virtio_core::{DeviceGone, fence};

use crate::RegisterAccess;
use crate::registers::MAGIC_VALUE;

/// The answer of a register of 32 bits, unless it is all ones because there is no device any more.
#[inline]
pub(crate) fn answered<A: RegisterAccess>(access: &A, value: u32) -> Result<u32, DeviceGone> {
    if value == u32::MAX {
        look(access)?;
    }
    Ok(value)
}

/// Whether there is still a device: the magic value never reads as all ones on one.
#[cold]
#[inline(never)]
pub(crate) fn look<A: RegisterAccess>(access: &A) -> Result<(), DeviceGone> {
    if MAGIC_VALUE.read(access) != u32::MAX {
        return Ok(());
    }
    // Memory is taken back on this word.
    fence::registers_and_memory();
    Err(DeviceGone)
}
