//! A piece of a BAR that the CPU reaches by load and store.

use core::fmt;
use core::ptr::NonNull;

use volatile::VolatilePtr;

use crate::{Doorbell, RegisterAccess};

/// Device memory that the machine has mapped.
///
/// Accesses outside of it, or not aligned to their own width, never reach the bus: reads answer with all bits set, writes
/// vanish.
///
/// Safe code cannot write through it:
///
/// ```compile_fail,E0133
/// # use virtio_pci::RegisterAccess;
/// # fn on(window: &mut virtio_pci::MemoryWindow) {
/// window.write_u32(0x20, 0x8000_0000); // where the device reads descriptors
/// # }
/// ```
pub struct MemoryWindow {
    base: NonNull<u8>,
    bytes: u32,
}

// SAFETY: the window is device memory, which belongs to no thread; `new` asks for it to stay mapped everywhere.
unsafe impl Send for MemoryWindow {}
// SAFETY: every access is one load or store of a device register, which the bus keeps apart from those of other harts.
unsafe impl Sync for MemoryWindow {}

impl MemoryWindow {
    /// The window of `bytes` bytes at `base`.
    ///
    /// # Safety
    ///
    /// As long as the window or a doorbell of it exists, on every hart that uses it:
    ///
    /// * `base..base + bytes` is mapped as device memory (uncached, accesses in program order), is not part of any
    ///   Rust allocation, and every aligned access of 1, 2 or 4 bytes in it is completed by the bus without a trap, also when
    ///   the device was removed;
    /// * what answers there are registers of one function, and no other code writes them.
    pub const unsafe fn new(base: NonNull<u8>, bytes: u32) -> Self {
        Self { base, bytes }
    }

    /// Where the window starts, as the CPU sees it.
    pub const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Its size in bytes.
    pub const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// The place of a `T` at `offset`, if it lies in the window and is aligned.
    #[inline]
    fn place<T>(&self, offset: u32) -> Option<NonNull<T>> {
        let end = offset.checked_add(size_of::<T>() as u32)?;
        if end > self.bytes {
            return None;
        }
        // SAFETY: just seen to lie within the window, which is mapped as one piece by the contract of `new`.
        let place = unsafe { self.base.byte_add(offset as usize) }.cast::<T>();
        place.is_aligned().then_some(place)
    }

    #[inline]
    fn at<T>(&self, offset: u32) -> Option<VolatilePtr<'_, T>> {
        let place = self.place(offset)?;
        // SAFETY: the place is aligned for `T`, one of u8, u16 and u32, and by the contract of `new` it is device memory that
        // answers every such access. The pointer lives for one access only. Another hart may access the same register at that
        // moment; that is no data race, because device memory is outside every Rust allocation and each access is a bus
        // transaction of its own.
        Some(unsafe { VolatilePtr::new(place) })
    }
}

// SAFETY: every access is one access of that width to the window, which is that of one device by the contract of `new`, as is
// that no other code writes it. A doorbell writes one register, and there is no other safe way to write any.
unsafe impl RegisterAccess for MemoryWindow {
    type Doorbell = MemoryDoorbell;

    #[inline]
    fn read_u8(&self, offset: u32) -> u8 {
        self.at::<u8>(offset).map_or(u8::MAX, VolatilePtr::read)
    }

    #[inline]
    fn read_u16(&self, offset: u32) -> u16 {
        self.at::<u16>(offset).map_or(u16::MAX, |at| u16::from_le(at.read()))
    }

    #[inline]
    fn read_u32(&self, offset: u32) -> u32 {
        self.at::<u32>(offset).map_or(u32::MAX, |at| u32::from_le(at.read()))
    }

    #[inline]
    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        if let Some(at) = self.at::<u8>(offset) {
            at.write(value);
        }
    }

    #[inline]
    unsafe fn write_u16(&mut self, offset: u32, value: u16) {
        if let Some(at) = self.at::<u16>(offset) {
            at.write(value.to_le());
        }
    }

    #[inline]
    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        if let Some(at) = self.at::<u32>(offset) {
            at.write(value.to_le());
        }
    }

    unsafe fn doorbell(&self, offset: u32) -> MemoryDoorbell {
        MemoryDoorbell {
            narrow: self.place(offset),
            wide: self.place(offset),
        }
    }
}

/// One doorbell register of a device; [`MemoryWindow`] makes it.
#[derive(Debug)]
pub struct MemoryDoorbell {
    /// The register in its two widths, as far as it lies in the window.
    narrow: Option<NonNull<u16>>,
    wide: Option<NonNull<u32>>,
}

// SAFETY: the register is device memory, which belongs to no thread.
unsafe impl Send for MemoryDoorbell {}
// SAFETY: all it does is one store to a device register, which the bus keeps apart from those of other harts.
unsafe impl Sync for MemoryDoorbell {}

impl Doorbell for MemoryDoorbell {
    #[inline]
    fn ring_u16(&self, value: u16) {
        if let Some(register) = self.narrow {
            // SAFETY: the register lies in a window that is mapped as device memory for as long as this exists, by the contract
            // of `MemoryWindow::new`, and is aligned. The pointer lives for one access only. As in `MemoryWindow::at`, an access
            // by another hart at the same moment is no data race.
            unsafe { VolatilePtr::new(register) }.write(value.to_le());
        }
    }

    #[inline]
    fn ring_u32(&self, value: u32) {
        if let Some(register) = self.wide {
            // SAFETY: as in `ring_u16`.
            unsafe { VolatilePtr::new(register) }.write(value.to_le());
        }
    }
}

impl fmt::Debug for MemoryWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryWindow({:p}, {:#x} bytes)", self.base, self.bytes)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for MemoryWindow {
    fn format(&self, f: defmt::Formatter<'_>) {
        let base = self.base.as_ptr() as usize;
        defmt::write!(f, "MemoryWindow({=usize:#x}, {=u32:#x} bytes)", base, self.bytes);
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for MemoryDoorbell {
    fn format(&self, f: defmt::Formatter<'_>) {
        let register = self.narrow.map_or(0, |register| register.as_ptr() as usize);
        defmt::write!(f, "MemoryDoorbell({=usize:#x})", register);
    }
}
