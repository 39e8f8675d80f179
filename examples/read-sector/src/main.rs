//! Reads the first sector of the disk and prints how it begins.

#![no_std]
#![no_main]

use core::ptr::NonNull;

use static_cell::ConstStaticCell;
use support::{Failure, println};
use virtio_blk::{Disk, DiskOptions, Request, proto::Sector};
use virtio_core::{DmaBuffer, LinearMap, PollLimit, StaticDma};
use virtio_mmio::MmioWindow;

support::program!(read_sector);

/// The first VirtIO window of QEMU's `virt` machine.
const WINDOW: NonNull<u8> = NonNull::new(0x1000_1000 as *mut u8).unwrap();
const WINDOW_BYTES: usize = 0x1000;

/// Memory for the device: rings and data.
static MEMORY: ConstStaticCell<[u8; 0x8000]> = ConstStaticCell::new([0; 0x8000]);

fn read_sector() -> Result<(), Failure> {
    // SAFETY: the machine has a VirtIO device or an empty slot there. Nothing is translated, and this is the only window of it.
    let window = unsafe { MmioWindow::new(WINDOW, WINDOW_BYTES) }?;
    // SAFETY: nothing is translated, so the device sees memory where the program sees it.
    let map = unsafe { LinearMap::identity() };

    let device = virtio_mmio::probe(window).device();
    let device = device.ok_or(Failure::new("there is no device in the window"))?;
    let mut dma = StaticDma::<8>::new(MEMORY.take(), map);
    let (options, mut wait) = (DiskOptions::default(), PollLimit::default());
    let mut disk =
        Disk::<_, DmaBuffer, (), 16>::start(device, &mut dma, &options, &mut wait).map_err(|failed| failed.error)?;
    println!("{} sectors", disk.limits().capacity);

    // The smallest transfer is a block: a sector on most disks.
    let block_bytes = disk.limits().block_bytes as usize;
    let buffer = DmaBuffer::allocate(&mut dma, block_bytes, 512)?;
    disk.submit(Request::read(Sector(0), buffer, ()))?;
    disk.notify();
    let mut done = None;
    while done.is_none() {
        disk.poll(|completion| done = Some(completion))?;
    }
    let done = done.ok_or(Failure::new("no completion"))?;
    done.result?;
    let block = done.buffer.ok_or(Failure::new("no buffer"))?;
    println!("{}", block[..16].escape_ascii());
    Ok(())
}
