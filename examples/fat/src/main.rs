//! Lists, reads and writes files of the FAT file system in the first partition of the disk.

#![no_std]
#![no_main]

use core::ops::ControlFlow;
use core::ptr::NonNull;

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use embedded_sdmmc::{BlockDevice, Directory, Mode, TimeSource, Timestamp, VolumeIdx, VolumeManager};
use static_cell::ConstStaticCell;
use support::{Failure, println};
use virtio_blk::DiskOptions;
use virtio_blk_blocking::{BlockingDisk, BounceDisk, ByteRange, SharedRange};
use virtio_bounce::BouncePool;
use virtio_core::{LinearMap, PollLimit, StaticDma};
use virtio_mmio::MmioWindow;

support::program!(use_files);

/// The first VirtIO window of QEMU's `virt` machine.
const WINDOW: NonNull<u8> = NonNull::new(0x1000_1000 as *mut u8).unwrap();
const WINDOW_BYTES: usize = 0x1000;

/// Memory for the device: rings and bounce buffers.
static MEMORY: ConstStaticCell<[u8; 0x10000]> = ConstStaticCell::new([0; 0x10000]);

const CHECKSUM: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// The machine has a clock, and this program no driver for it.
struct Midnight;

impl TimeSource for Midnight {
    fn get_timestamp(&self) -> Timestamp {
        Timestamp {
            year_since_1970: 56,
            zero_indexed_month: 0,
            zero_indexed_day: 0,
            hours: 0,
            minutes: 0,
            seconds: 0,
        }
    }
}

fn use_files() -> Result<(), Failure> {
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
    let disk = BlockingDisk::new(disk, pool, PollLimit::default());

    let files = VolumeManager::<_, _, 4, 4, 1>::new(SharedRange::new(ByteRange::whole(disk)), Midnight);
    {
        let volume = files.open_volume(VolumeIdx(0))?;
        let root = volume.open_root_dir()?;
        list(&root)?;
        copy(&root, "DATA.BIN", "COPY.BIN")?;
        let greeting = root.open_file_in_dir("HELLO.TXT", Mode::ReadWriteAppend)?;
        greeting.write(b"and good-bye\n")?;
        greeting.close()?;
        root.make_dir_in_dir("NEW")?;
        let folder = root.open_dir("NEW")?;
        let file = folder.open_file_in_dir("NOTE.TXT", Mode::ReadWriteCreate)?;
        file.write(b"made without an operating system\n")?;
        file.close()?;
        list(&root)?;
    }
    // The file system itself has no flush.
    files.device(|disk| disk.with(ByteRange::flush))?;
    Ok(())
}

/// Prints names and sizes of files, and names of folders.
fn list<D: BlockDevice, T: TimeSource>(folder: &Directory<'_, D, T, 4, 4, 1>) -> Result<(), Failure> {
    println!("files:");
    folder.iterate_dir(|entry| {
        if entry.attributes.is_volume() {
            // The name of the file system.
        } else if entry.attributes.is_directory() {
            println!("  {}/", entry.name);
        } else {
            println!("  {} {}", entry.name, entry.size);
        }
        ControlFlow::Continue(())
    })?;
    Ok(())
}

/// Copies a file, and prints the checksum of what it has read.
fn copy<D: BlockDevice, T: TimeSource>(
    folder: &Directory<'_, D, T, 4, 4, 1>,
    from: &str,
    to: &str,
) -> Result<(), Failure> {
    let source = folder.open_file_in_dir(from, Mode::ReadOnly)?;
    let copy = folder.open_file_in_dir(to, Mode::ReadWriteCreate)?;
    let mut checksum = CHECKSUM.digest();
    let mut piece = [0; 1000];
    while !source.is_eof() {
        let count = source.read(&mut piece)?;
        checksum.update(&piece[..count]);
        copy.write(&piece[..count])?;
    }
    copy.close()?;
    println!("{from}: checksum {:08x}", checksum.finalize());
    Ok(())
}
