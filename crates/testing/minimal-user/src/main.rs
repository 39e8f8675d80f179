//! The smallest complete user of the block driver: writes a sector and reads it back.
//!
//! It knows where its device is, has all memory in statics, polls, and has no heap, no console and nothing to print.

#![cfg_attr(target_arch = "riscv64", no_std, no_main)]

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use minimal_user::Failure;
use virtio_blk::proto::Sector;
use virtio_blk::{Disk, DiskOptions, Request};
use virtio_core::{DeviceAddr, Dma, DmaBuffer, DmaError, DmaRegion, PollLimit};
use virtio_mmio::{MmioTransport, MmioWindow};

minimal_user::program!(run);

/// The first VirtIO window of QEMU's `virt` machine.
const WINDOW: usize = 0x1000_1000;
const WINDOW_BYTES: usize = 0x1000;

/// Most requests in flight.
const QUEUE: usize = 16;

/// Of a device at `MmioWindow`, with buffers of one piece; requests are told apart by nothing.
type MyDisk = Disk<MmioTransport<MmioWindow>, DmaBuffer, (), QUEUE>;

fn run() -> Result<(), Failure> {
    // SAFETY: the machine has a device or an empty slot there, nothing is translated, and this is the only window made of it.
    let window = unsafe { MmioWindow::new(NonNull::new(WINDOW as *mut u8).ok_or(Failure::NoDevice)?, WINDOW_BYTES) };
    let window = window.map_err(|_| Failure::NoDevice)?;
    let transport = virtio_mmio::probe(window).device().ok_or(Failure::NoDevice)?;

    let mut memory = Memory::take().ok_or(Failure::Memory)?;
    let options = DiskOptions {
        max_segments: 1,
        ..DiskOptions::default()
    };
    let Ok(mut disk) = MyDisk::start(transport, &mut memory, &options, &mut PollLimit::default()) else {
        return Err(Failure::Start);
    };

    let mut buffer = DmaBuffer::allocate(&mut memory, 512, 512).map_err(|_| Failure::Memory)?;
    buffer.fill(0x5A);
    let mut buffer = finish(&mut disk, Request::write(Sector(3), buffer, ()))?;
    buffer.fill(0);
    let buffer = finish(&mut disk, Request::read(Sector(3), buffer, ()))?;
    if buffer.iter().all(|&byte| byte == 0x5A) {
        Ok(())
    } else {
        Err(Failure::Differs)
    }
}

/// Submits a request, waits for it, and returns its buffer.
fn finish(disk: &mut MyDisk, request: Request<DmaBuffer, ()>) -> Result<DmaBuffer, Failure> {
    disk.submit(request).map_err(|_| Failure::Refused)?;
    disk.notify();
    let mut done = None;
    while done.is_none() {
        disk.poll(|completion| done = Some((completion.buffer, completion.result)))
            .map_err(|_| Failure::Io)?;
    }
    match done {
        Some((Some(buffer), Ok(_))) => Ok(buffer),
        _ => Err(Failure::Io),
    }
}

/// Memory for the device: rings, headers and data. Page alignment is for devices with a legacy interface.
#[repr(align(4096))]
struct Static(UnsafeCell<[u8; 0x8000]>);

// SAFETY: only the one `Memory` uses it.
unsafe impl Sync for Static {}

static STATIC: Static = Static(UnsafeCell::new([0; 0x8000]));

/// Gives the static memory away piece by piece, and takes nothing back.
struct Memory {
    used: usize,
}

impl Memory {
    /// The memory, once.
    fn take() -> Option<Self> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        (!TAKEN.swap(true, Ordering::Relaxed)).then_some(Self { used: 0 })
    }
}

impl Dma for Memory {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        if layout.align() > align_of::<Static>() {
            return Err(DmaError::UnsupportedLayout);
        }
        let start = self.used.wrapping_add(layout.align() - 1) & !(layout.align() - 1);
        let end = start
            .checked_add(layout.size())
            .filter(|&end| end <= size_of::<Static>());
        self.used = end.ok_or(DmaError::OutOfMemory)?;
        // SAFETY: inside the static, which has the alignment; no other region has these bytes, and they are still zero. The
        // device sees memory at the addresses of the program, since nothing is translated.
        unsafe {
            let start = NonNull::from(&STATIC.0).cast::<u8>().add(start);
            let addr = DeviceAddr(start.addr().get() as u64);
            Ok(DmaRegion::from_raw_parts(start, layout.size(), addr))
        }
    }

    fn release(&mut self, _: DmaRegion) {}
}
