//! Lists all files of the ext4 file system on the disk, and reads them.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use ext4_view::{Ext4, Ext4Read, FileType, PathBuf};
use linked_list_allocator::LockedHeap;
use static_cell::ConstStaticCell;
use support::{Failure, println};
use virtio_blk::DiskOptions;
use virtio_blk_blocking::{BlockIo, BlockingDisk, BounceDisk, ByteRange};
use virtio_bounce::BouncePool;
use virtio_core::{LinearMap, PollLimit, StaticDma};
use virtio_mmio::MmioWindow;

support::program!(read_files);

/// The first VirtIO window of QEMU's `virt` machine.
const WINDOW: NonNull<u8> = NonNull::new(0x1000_1000 as *mut u8).unwrap();
const WINDOW_BYTES: usize = 0x1000;

/// Memory for the device: rings and bounce buffers.
static MEMORY: ConstStaticCell<[u8; 0x10000]> = ConstStaticCell::new([0; 0x10000]);

/// Memory for the file system.
#[global_allocator]
static HEAP: LockedHeap = LockedHeap::empty();
static HEAP_MEMORY: ConstStaticCell<[MaybeUninit<u8>; 1 << 20]> =
    ConstStaticCell::new([MaybeUninit::uninit(); 1 << 20]);

const CHECKSUM: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// The disk as the file system reads it.
struct Reader<D>(ByteRange<D>);

impl<D: BlockIo> Ext4Read for Reader<D> {
    fn read(&mut self, start_byte: u64, memory: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.0.read_at(start_byte, memory)?)
    }
}

fn read_files() -> Result<(), Failure> {
    HEAP.lock().init_from_slice(HEAP_MEMORY.take());
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

    let files = Ext4::load(Box::new(Reader(ByteRange::whole(disk))))?;
    println!("file system `{}`", files.label().display());
    let mut folders = Vec::from([PathBuf::new("/")]);
    while let Some(folder) = folders.pop() {
        for entry in files.read_dir(&folder)? {
            let entry = entry?;
            let (name, path) = (entry.file_name(), entry.path());
            match entry.file_type()? {
                FileType::Directory if name.as_ref() != b"." && name.as_ref() != b".." => folders.push(path),
                FileType::Regular => print_checksum(&files, &path)?,
                FileType::Symlink => println!("{} -> {}", path.display(), files.read_link(&path)?.display()),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Reads a file in pieces.
fn print_checksum(files: &Ext4, path: &PathBuf) -> Result<(), Failure> {
    let mut file = files.open(path)?;
    let mut checksum = CHECKSUM.digest();
    let mut piece = [0; 1000];
    loop {
        match file.read_bytes(&mut piece)? {
            0 => break,
            count => checksum.update(&piece[..count]),
        }
    }
    let bytes = file.metadata().len();
    println!(
        "{}: {bytes} bytes, checksum {:08x}",
        path.display(),
        checksum.finalize()
    );
    Ok(())
}
