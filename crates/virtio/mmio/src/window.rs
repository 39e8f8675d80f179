//! Real hardware: a window of device memory.

use core::fmt;
use core::ptr::NonNull;

use volatile::VolatilePtr;

use crate::registers::{CONFIG, QUEUE_NOTIFY};
use crate::{Doorbell, RegisterAccess};

/// Why a piece of address space cannot be a device window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum WindowError {
    /// It ends before the control registers do: fewer than 256 bytes.
    #[error("the window is too small for the VirtIO registers")]
    TooSmall,
    /// It does not start at a multiple of four bytes.
    #[error("the window does not start at a multiple of four bytes")]
    Misaligned,
}

/// The registers of a device that the CPU reaches by load and store.
///
/// There is one of it for a device, so that the registers have one owner. Accesses outside the window, or not aligned to
/// their own width, never reach the bus: reads answer with all bits set, writes vanish.
///
/// Safe code cannot write through it:
///
/// ```compile_fail,E0133
/// # use virtio_mmio::RegisterAccess;
/// # fn on(window: &mut virtio_mmio::MmioWindow) {
/// window.write_u32(0x80, 0x8000_0000); // where the device reads descriptors
/// # }
/// ```
#[derive(PartialEq, Eq)]
pub struct MmioWindow {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the window is device memory, which belongs to no thread; `new` asks for it to stay mapped everywhere.
unsafe impl Send for MmioWindow {}
// SAFETY: every access is one load or store of a device register, which the bus keeps apart from those of other harts.
unsafe impl Sync for MmioWindow {}

impl MmioWindow {
    /// The window of `bytes` bytes that starts at `base`.
    ///
    /// # Errors
    ///
    /// [`WindowError`] if no VirtIO device fits there; nothing was accessed.
    ///
    /// # Safety
    ///
    /// As long as the window or a doorbell of it exists, on every hart that uses it:
    ///
    /// * `base..base + bytes` is mapped as device memory (uncached, accesses in program order), is not part of any
    ///   Rust allocation, and every aligned access of 1, 2 or 4 bytes in it is completed by the bus without a trap;
    /// * what answers there is a VirtIO MMIO device, an empty slot, or something that does no harm when its first
    ///   twelve bytes are read;
    /// * a device that was there when the window was made, and does not answer any more (reads complete with all bits set), is
    ///   off the bus and reaches no memory;
    /// * no other driver uses the device, and there is no other `MmioWindow` of it. (A window that was given up, and of which
    ///   no doorbell is left, can be made anew.)
    pub unsafe fn new(base: NonNull<u8>, bytes: usize) -> Result<Self, WindowError> {
        if bytes < CONFIG as usize {
            return Err(WindowError::TooSmall);
        }
        if !base.cast::<u32>().is_aligned() {
            return Err(WindowError::Misaligned);
        }
        Ok(Self { base, bytes })
    }

    /// Where the window starts, as the CPU sees it.
    pub const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Its size in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place of a `T` at `offset`, if it lies in the window and is aligned.
    // Inlined in any case, as are the accesses of 32 bits: with the offset known, nothing is left of it but the address.
    #[inline(always)]
    fn at<T>(&self, offset: u32) -> Option<VolatilePtr<'_, T>> {
        let offset = offset as usize;
        let end = offset.checked_add(size_of::<T>())?;
        // Every window has the control registers, so for these nothing is left to compare.
        let outside = end > CONFIG as usize && end > self.bytes;
        if outside || !offset.is_multiple_of(size_of::<T>()) {
            return None;
        }
        // SAFETY: `offset + size_of::<T>()` lies within the window: in its first 256 bytes, which `new` has made sure of, or as
        // just checked. `base` is aligned to four bytes, so the place is aligned for `T`, one of u8, u16 and u32. By the contract of `new` it is device memory
        // that answers every such access. The pointer lives for one access only. Another hart may access the same
        // register at that moment; that is no data race, because device memory is outside every Rust allocation and
        // each access is a bus transaction of its own.
        Some(unsafe { VolatilePtr::new(self.base.byte_add(offset).cast()) })
    }
}

// SAFETY: every access is one access of that width to the window, which is that of one device by the contract of `new`, as is
// that there is no other window. The doorbell writes one register, and there is no other safe way to write any.
unsafe impl RegisterAccess for MmioWindow {
    type Doorbell = MmioDoorbell;

    #[inline]
    fn read_u8(&self, offset: u32) -> u8 {
        self.at::<u8>(offset).map_or(u8::MAX, VolatilePtr::read)
    }

    #[inline]
    fn read_u16(&self, offset: u32) -> u16 {
        self.at::<u16>(offset).map_or(u16::MAX, |at| u16::from_le(at.read()))
    }

    #[inline(always)]
    fn read_u32(&self, offset: u32) -> u32 {
        self.at::<u32>(offset).map_or(u32::MAX, |at| u32::from_le(at.read()))
    }

    #[inline]
    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        if let Some(at) = self.at::<u8>(offset) {
            at.write(value);
        }
    }

    #[inline(always)]
    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        if let Some(at) = self.at::<u32>(offset) {
            at.write(value.to_le());
        }
    }

    unsafe fn doorbell(&self) -> MmioDoorbell {
        // SAFETY: inside the window, which has 256 bytes at least.
        let register = unsafe { self.base.byte_add(QUEUE_NOTIFY.offset() as usize) };
        MmioDoorbell {
            register: register.cast(),
        }
    }
}

/// The QueueNotify register of a device; [`MmioWindow`] makes it.
#[derive(Debug)]
pub struct MmioDoorbell {
    register: NonNull<u32>,
}

// SAFETY: the register is device memory, which belongs to no thread.
unsafe impl Send for MmioDoorbell {}
// SAFETY: all it does is one store to a device register, which the bus keeps apart from those of other harts.
unsafe impl Sync for MmioDoorbell {}

impl Doorbell for MmioDoorbell {
    #[inline]
    fn ring(&self, value: u32) {
        // SAFETY: the register lies in a window that is mapped as device memory for as long as this exists and whose start is
        // aligned, by the contract of `MmioWindow::new`. The pointer lives for one access only. As in `MmioWindow::at`, an
        // access by another hart at the same moment is no data race.
        unsafe { VolatilePtr::new(self.register) }.write(value.to_le());
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for MmioDoorbell {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "MmioDoorbell({=usize:#x})", self.register.as_ptr() as usize);
    }
}

impl fmt::Debug for MmioWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MmioWindow({:p}, {:#x} bytes)", self.base, self.bytes)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for MmioWindow {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "MmioWindow({=usize:#x}, {=usize:#x} bytes)",
            self.base.as_ptr() as usize,
            self.bytes
        );
    }
}
