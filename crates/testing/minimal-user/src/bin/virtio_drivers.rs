//! The same as `minimal-user` with the crate `virtio-drivers`, to compare sizes.

#![cfg_attr(target_arch = "riscv64", no_std, no_main)]

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use minimal_user::Failure;
use virtio_drivers::device::blk::VirtIOBlk;
use virtio_drivers::transport::mmio::MmioTransport;
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

minimal_user::program!(run);

/// The first VirtIO window of QEMU's `virt` machine.
const WINDOW: usize = 0x1000_1000;
const WINDOW_BYTES: usize = 0x1000;

fn run() -> Result<(), Failure> {
    let window = NonNull::new(WINDOW as *mut _).ok_or(Failure::NoDevice)?;
    // SAFETY: the machine has a device or an empty slot there, nothing is translated, and this is the only transport made of it.
    let transport = unsafe { MmioTransport::new(window, WINDOW_BYTES) }.map_err(|_| Failure::NoDevice)?;
    let mut disk = VirtIOBlk::<Machine, _>::new(transport).map_err(|_| Failure::Start)?;
    let mut buffer = [0x5A; 512];
    disk.write_blocks(3, &buffer).map_err(|_| Failure::Io)?;
    buffer.fill(0);
    disk.read_blocks(3, &mut buffer).map_err(|_| Failure::Io)?;
    // As in `minimal-user`, the device is never given up.
    core::mem::forget(disk);
    if buffer.iter().all(|&byte| byte == 0x5A) {
        Ok(())
    } else {
        Err(Failure::Differs)
    }
}

/// Memory for the device. Page alignment is for devices with a legacy interface.
#[repr(align(4096))]
struct Static(UnsafeCell<[u8; 0x8000]>);

// SAFETY: every byte is given away once, below.
unsafe impl Sync for Static {}

static STATIC: Static = Static(UnsafeCell::new([0; 0x8000]));

/// Bytes of it that were given away.
static USED: AtomicUsize = AtomicUsize::new(0);

/// A machine without address translation.
struct Machine;

// SAFETY: memory is given away once; it is as large and aligned as asked for, and zero; nothing is translated.
unsafe impl Hal for Machine {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let start = USED.fetch_add(pages.wrapping_mul(PAGE_SIZE), Ordering::Relaxed);
        if start.saturating_add(pages.saturating_mul(PAGE_SIZE)) > size_of::<Static>() {
            return (0, NonNull::dangling());
        }
        // SAFETY: inside the static.
        let start = unsafe { NonNull::from(&STATIC.0).cast::<u8>().add(start) };
        (start.addr().get() as PhysAddr, start)
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        0
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(paddr as *mut u8).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.addr().get() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
