//! The disk of a kernel on `virtio-drivers`.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use virtio_drivers::device::blk::VirtIOBlk;
use virtio_drivers::transport::mmio::{MmioError, MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};
use virtio_drivers::{BufferDirection, Error, Hal, PAGE_SIZE, PhysAddr};

/// Memory for rings. Nothing is given back, as the disk stays for good.
#[repr(align(4096))]
struct Pages(UnsafeCell<[u8; 4 * PAGE_SIZE]>);

// SAFETY: each page is given away once, below.
unsafe impl Sync for Pages {}

static PAGES: Pages = Pages(UnsafeCell::new([0; 4 * PAGE_SIZE]));
static USED: AtomicUsize = AtomicUsize::new(0);

/// A kernel that sees memory where devices see it.
pub struct Kernel;

// SAFETY: pages are given away once, aligned and zeroed. Nothing is translated.
unsafe impl Hal for Kernel {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let first = USED.fetch_add(pages, Ordering::Relaxed);
        if first + pages > size_of::<Pages>() / PAGE_SIZE {
            return (0, NonNull::dangling());
        }
        // SAFETY: inside the static.
        let start = unsafe { NonNull::from(&PAGES.0).cast::<u8>().add(first * PAGE_SIZE) };
        (start.as_ptr().expose_provenance() as PhysAddr, start)
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(core::ptr::with_exposed_provenance_mut(address as usize)).expect("no register is at 0")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr().expose_provenance() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// Why there is no disk.
#[derive(Debug)]
pub enum NoDisk {
    /// There is no VirtIO device in the window.
    Window(MmioError),
    /// There is one that is no disk.
    OtherDevice(DeviceType),
    /// It did not come up.
    Start(Error),
}

/// The disk, behind a lock of the kernel.
pub struct KernelDisk<H: Hal, T: Transport>(VirtIOBlk<H, T>);

/// The disk in the window at `base`.
///
/// # Safety
///
/// The window is mapped for good, and nothing else uses it.
pub unsafe fn start(base: NonNull<u8>, bytes: usize) -> Result<KernelDisk<Kernel, MmioTransport<'static>>, NoDisk> {
    // SAFETY: as the caller promises.
    let transport = unsafe { MmioTransport::new(base.cast::<VirtIOHeader>(), bytes) }.map_err(NoDisk::Window)?;
    match transport.device_type() {
        DeviceType::Block => KernelDisk::on(transport).map_err(NoDisk::Start),
        other => Err(NoDisk::OtherDevice(other)),
    }
}

impl<H: Hal, T: Transport> KernelDisk<H, T> {
    /// The disk on any transport.
    pub fn on(transport: T) -> Result<Self, Error> {
        VirtIOBlk::new(transport).map(Self)
    }

    /// Sectors of 512 bytes.
    pub fn sectors(&self) -> u64 {
        self.0.capacity()
    }

    /// Reads whole sectors.
    pub fn read(&mut self, first: usize, memory: &mut [u8]) -> Result<(), Error> {
        self.0.read_blocks(first, memory)
    }

    /// Writes whole sectors.
    pub fn write(&mut self, first: usize, memory: &[u8]) -> Result<(), Error> {
        self.0.write_blocks(first, memory)
    }

    /// Makes writes durable.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.0.flush()
    }
}
