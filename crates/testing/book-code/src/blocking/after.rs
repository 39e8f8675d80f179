//! The disk of a kernel on `virtio-blk`.

use core::ptr::NonNull;

use static_cell::ConstStaticCell;
use virtio_blk::{DiskOptions, InitError};
use virtio_blk_blocking::{BlockIo, BlockingDisk, BounceDisk, Error, Sector};
use virtio_bounce::BouncePool;
use virtio_core::{Dma, LinearMap, PollLimit, StaticDma, Transport};
use virtio_mmio::{MmioTransport, MmioWindow, WindowError};

/// Memory for rings and four bounce buffers.
static MEMORY: ConstStaticCell<[u8; 0x8000]> = ConstStaticCell::new([0; 0x8000]);

/// Why there is no disk.
#[derive(Debug)]
pub enum NoDisk {
    /// The window cannot be one.
    Window(WindowError),
    /// There is no VirtIO device in it.
    Empty,
    /// The device is no disk, or did not come up.
    Start(InitError),
}

/// The disk, behind a lock of the kernel.
pub struct KernelDisk<T: Transport>(BlockingDisk<T, PollLimit, 16, 4>);

/// The disk in the window at `base`.
///
/// # Safety
///
/// The window is mapped for good, and nothing else uses it. Devices see memory where the program sees it.
pub unsafe fn start(base: NonNull<u8>, bytes: usize) -> Result<KernelDisk<MmioTransport<MmioWindow>>, NoDisk> {
    // SAFETY: as the caller promises.
    let (window, map) = unsafe { (MmioWindow::new(base, bytes), LinearMap::identity()) };
    let transport = virtio_mmio::probe(window.map_err(NoDisk::Window)?).device();
    let mut dma = StaticDma::<8>::new(MEMORY.take(), map);
    KernelDisk::on(transport.ok_or(NoDisk::Empty)?, &mut dma).map_err(NoDisk::Start)
}

impl<T: Transport> KernelDisk<T> {
    /// The disk on any transport.
    pub fn on(transport: T, dma: &mut dyn Dma) -> Result<Self, InitError> {
        let options = DiskOptions {
            max_segments: 1,
            ..DiskOptions::default()
        };
        let pool = BouncePool::allocate(dma, 4096)?;
        let disk = BounceDisk::start(transport, dma, &options, &mut PollLimit::default());
        let disk = disk.map_err(|failed| failed.error)?;
        // A device that answers nothing for so many looks is given up.
        Ok(Self(BlockingDisk::new(disk, pool, PollLimit(1_000_000_000))))
    }

    /// Sectors of 512 bytes.
    pub fn sectors(&self) -> u64 {
        self.0.limits().capacity.get()
    }

    /// Reads whole blocks.
    pub fn read(&mut self, first: u64, memory: &mut [u8]) -> Result<(), Error> {
        self.0.read(Sector(first), memory)
    }

    /// Writes whole blocks.
    pub fn write(&mut self, first: u64, memory: &[u8]) -> Result<(), Error> {
        self.0.write(Sector(first), memory)
    }

    /// Makes writes durable.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.0.flush()
    }
}
