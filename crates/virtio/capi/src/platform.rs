//! The platform: registers and memory through callbacks.

use core::alloc::Layout;
use core::ffi::c_void;
use core::ptr::NonNull;

use virtio_core::{DeviceAddr, Dma, DmaError, DmaRegion};
use virtio_mmio::{Doorbell, RegisterAccess};

/// Byte offset of the register that notifies the device.
const QUEUE_NOTIFY: u32 = 0x50;

/// The registers of a device: its MMIO window.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Registers {
    /// Handed to the callbacks.
    pub context: *mut c_void,
    /// Reads `bytes` (1, 2 or 4) at an offset from the start of the window, in one access. All ones beyond its end.
    pub read: Option<unsafe extern "C" fn(context: *mut c_void, offset: u32, bytes: u32) -> u32>,
    /// Writes `bytes` (1 or 4) at an offset from the start of the window, in one access. Nothing beyond its end.
    pub write: Option<unsafe extern "C" fn(context: *mut c_void, offset: u32, bytes: u32, value: u32)>,
}

/// Where memory comes from that the device can reach.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Memory {
    /// Handed to the callbacks.
    pub context: *mut c_void,
    /// Gives `bytes` zeroed bytes, aligned to `alignment` (a power of two) for the processor and the device, and their address as the device
    /// sees it. Null: there is none. Called by `virtio_blk_start` only.
    pub allocate: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            bytes: usize,
            alignment: usize,
            device_address: *mut u64,
        ) -> *mut c_void,
    >,
    /// Takes memory back that `allocate` gave. Called by `virtio_blk_shut_down`, and by a start that fails.
    pub release:
        Option<unsafe extern "C" fn(context: *mut c_void, start: *mut c_void, bytes: usize, device_address: u64)>,
}

/// The registers, all callbacks of which are there.
#[derive(Debug)]
pub(crate) struct Window {
    context: *mut c_void,
    read: unsafe extern "C" fn(*mut c_void, u32, u32) -> u32,
    write: unsafe extern "C" fn(*mut c_void, u32, u32, u32),
}

/// Rings the doorbell of a window.
#[derive(Debug)]
pub(crate) struct Bell {
    context: *mut c_void,
    write: unsafe extern "C" fn(*mut c_void, u32, u32, u32),
}

impl Window {
    /// None: a callback is missing.
    ///
    /// # Safety
    ///
    /// The callbacks access the registers of one device, whose window is used by nothing else, and can be called for as long as the value or
    /// a doorbell of it exists.
    pub(crate) unsafe fn new(registers: &Registers) -> Option<Self> {
        Some(Self {
            context: registers.context,
            read: registers.read?,
            write: registers.write?,
        })
    }

    fn read(&self, offset: u32, bytes: u32) -> u32 {
        // SAFETY: the maker of the value promised that the callback can be called, and reading a register is harmless.
        unsafe { (self.read)(self.context, offset, bytes) }
    }
}

// SAFETY: the maker of the value promised that these are the registers of one device, which nothing else writes.
unsafe impl RegisterAccess for Window {
    type Doorbell = Bell;

    #[expect(clippy::cast_possible_truncation, reason = "the callback reads one byte")]
    fn read_u8(&self, offset: u32) -> u8 {
        self.read(offset, 1) as u8
    }

    #[expect(clippy::cast_possible_truncation, reason = "the callback reads two bytes")]
    fn read_u16(&self, offset: u32) -> u16 {
        self.read(offset, 2) as u16
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.read(offset, 4)
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        // SAFETY: the maker of the value promised that the callback can be called; the caller answers for the write.
        unsafe { (self.write)(self.context, offset, 1, u32::from(value)) };
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        // SAFETY: as above.
        unsafe { (self.write)(self.context, offset, 4, value) };
    }

    unsafe fn doorbell(&self) -> Bell {
        Bell {
            context: self.context,
            write: self.write,
        }
    }
}

impl Doorbell for Bell {
    fn ring(&self, value: u32) {
        // SAFETY: the maker of the window promised that the callback can be called, and who made the doorbell answers for the rings.
        unsafe { (self.write)(self.context, QUEUE_NOTIFY, 4, value) };
    }
}

/// The memory, all callbacks of which are there.
#[derive(Debug)]
pub(crate) struct Allocator {
    context: *mut c_void,
    allocate: unsafe extern "C" fn(*mut c_void, usize, usize, *mut u64) -> *mut c_void,
    release: unsafe extern "C" fn(*mut c_void, *mut c_void, usize, u64),
}

impl Allocator {
    /// None: a callback is missing.
    ///
    /// # Safety
    ///
    /// The callbacks do what [`Memory`] says, and can be called for as long as the value exists.
    pub(crate) unsafe fn new(memory: &Memory) -> Option<Self> {
        Some(Self {
            context: memory.context,
            allocate: memory.allocate?,
            release: memory.release?,
        })
    }
}

impl Dma for Allocator {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        let mut address = 0;
        // SAFETY: the maker of the value promised that the callback can be called.
        let start = unsafe { (self.allocate)(self.context, layout.size(), layout.align(), &raw mut address) };
        let start = NonNull::new(start.cast::<u8>()).ok_or(DmaError::OutOfMemory)?;
        // SAFETY: the callback gave this memory to the driver alone, zeroed, at that address for the device.
        Ok(unsafe { DmaRegion::from_raw_parts(start, layout.size(), DeviceAddr(address)) })
    }

    fn release(&mut self, region: DmaRegion) {
        let start = region.as_ptr().as_ptr().cast();
        // SAFETY: every region that this driver has came from the callback beside it.
        unsafe { (self.release)(self.context, start, region.len(), region.device_addr().0) };
    }
}
