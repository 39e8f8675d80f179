//! Writes, flushes and reads bytes at any place of the disk, and shows an error.

#![no_std]
#![no_main]

use core::ptr::NonNull;

use static_cell::ConstStaticCell;
use support::{Failure, println};
use virtio_blk::DiskOptions;
use virtio_blk_blocking::{BlockingDisk, BounceDisk, ByteRange, Error};
use virtio_bounce::BouncePool;
use virtio_core::{LinearMap, PollLimit, StaticDma};
use virtio_mmio::MmioWindow;

support::program!(run);

/// The first VirtIO window of QEMU's `virt` machine.
const WINDOW: NonNull<u8> = NonNull::new(0x1000_1000 as *mut u8).unwrap();
const WINDOW_BYTES: usize = 0x1000;

/// Memory for the device: rings and bounce buffers.
static MEMORY: ConstStaticCell<[u8; 0x10000]> = ConstStaticCell::new([0; 0x10000]);

/// It begins and ends in the middle of a block, and its memory is not aligned to anything.
const PLACE: u64 = 1000;
const TEXT: &[u8] = b"These bytes go over the end of a sector of 512 bytes, which is at byte 1024 of the disk.";

/// Looks at the device before an operation is given up. A kernel would compare a clock, and sleep or yield between two looks.
const LOOKS: u32 = 100_000_000;

fn run() -> Result<(), Failure> {
    // SAFETY: the machine has a VirtIO device or an empty slot there. Nothing is translated, and this is the only window of it.
    let window = unsafe { MmioWindow::new(WINDOW, WINDOW_BYTES) }?;
    // SAFETY: nothing is translated, so the device sees memory where the program sees it.
    let map = unsafe { LinearMap::identity() };

    let device = virtio_mmio::probe(window).device();
    let device = device.ok_or(Failure::new("there is no device in the window"))?;
    let mut dma = StaticDma::<8>::new(MEMORY.take(), map);
    let pool = BouncePool::<4>::allocate(&mut dma, 4096)?;
    let (options, mut wait) = (DiskOptions::default(), PollLimit::default());
    let disk = BounceDisk::<_, 16>::start(device, &mut dma, &options, &mut wait).map_err(|failed| failed.error)?;
    let mut disk = BlockingDisk::new(disk, pool, |vain| {
        core::hint::spin_loop();
        vain < LOOKS
    });

    let mut bytes = ByteRange::whole(&mut disk);
    bytes.write_at(PLACE, TEXT)?;
    bytes.flush()?;
    let mut found = [0; TEXT.len()];
    bytes.read_at(PLACE, &mut found)?;
    if found != TEXT {
        return Err(Failure::new("what was read is not what was written"));
    }
    println!("{} bytes written and read again at byte {PLACE}", TEXT.len());

    // A mistake of the caller is refused before the device hears of it, and the disk goes on.
    let last = bytes.len() - 4;
    match bytes.write_at(last, TEXT) {
        Err(error @ Error::OutOfRange { .. }) => println!("a write at byte {last} is refused: {error}"),
        other => return Err(Failure::new(format_args!("a write past the end: {other:?}"))),
    }
    bytes.read_at(last, &mut found[..4])?;

    // The memory comes back with the pool.
    let stopped = disk.stop(&mut dma, &mut wait).map_err(|(error, _)| error)?;
    stopped
        .pool
        .release(&mut dma)
        .map_err(|_| Failure::new("the pool has lost a buffer"))
}
