//! The model as a platform and as a transport of `virtio-drivers`.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::alloc::Layout;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ptr::NonNull;

use virtio_blk_model::{Model, ModelDma, ModelRegisters};
use virtio_core::{Dma, DmaBuffer, DmaRegion, DmaSegments};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
use virtio_mmio::RegisterAccess;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A `Hal` has no value, so what it gives is kept here, for each thread.
struct Platform {
    dma: ModelDma,
    pages: BTreeMap<PhysAddr, DmaRegion>,
    shared: BTreeMap<PhysAddr, DmaBuffer>,
}

thread_local! {
    static PLATFORM: RefCell<Option<Platform>> = const { RefCell::new(None) };
}

/// Lets [`ModelHal`] give memory of this model from now on.
pub(crate) fn use_memory_of(model: &Model) {
    let platform = Platform {
        dma: model.dma(),
        pages: BTreeMap::new(),
        shared: BTreeMap::new(),
    };
    PLATFORM.with_borrow_mut(|place| *place = Some(platform));
}

fn with<R>(work: impl FnOnce(&mut Platform) -> R) -> R {
    PLATFORM.with_borrow_mut(|platform| work(platform.as_mut().expect("a model was named")))
}

/// The platform of a kernel whose devices reach some of its memory only, so that all other data is copied.
pub(crate) struct ModelHal;

// SAFETY: the model gives zeroed pages that nothing else uses, and sees them at the address that is answered.
unsafe impl Hal for ModelHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        with(|platform| {
            let layout = Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE).expect("a few pages");
            let Ok(region) = platform.dma.allocate(layout) else {
                return (0, NonNull::dangling());
            };
            let (address, start) = (region.device_addr().get(), region.as_ptr());
            platform.pages.insert(address, region);
            (address, start)
        })
    }

    unsafe fn dma_dealloc(address: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        with(|platform| match platform.pages.remove(&address) {
            Some(region) => {
                platform.dma.release(region);
                0
            }
            None => -1,
        })
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        panic!("the model has no registers in memory")
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        with(|platform| {
            let shared = DmaBuffer::allocate(&mut platform.dma, buffer.len(), 8);
            let mut shared = shared.expect("the model has memory");
            if direction != BufferDirection::DeviceToDriver {
                // SAFETY: the caller promises that the memory can be read.
                shared.copy_from_slice(unsafe { buffer.as_ref() });
            }
            let address = shared.segments()[0].addr.get();
            platform.shared.insert(address, shared);
            address
        })
    }

    unsafe fn unshare(address: PhysAddr, mut buffer: NonNull<[u8]>, direction: BufferDirection) {
        with(|platform| {
            let shared = platform.shared.remove(&address).expect("it was shared");
            if direction != BufferDirection::DriverToDevice {
                // SAFETY: the caller promises that the memory can be written.
                unsafe { buffer.as_mut() }.copy_from_slice(&shared);
            }
            platform.dma.release(shared.into_region());
        });
    }
}

/// The registers of a modern model as a transport of `virtio-drivers`, whose own one takes a pointer.
pub(crate) struct ModelTransport(pub(crate) ModelRegisters);

impl ModelTransport {
    fn select(&mut self, queue: u16) {
        self.0.write_u32(0x030, queue.into());
    }

    fn put_address(&mut self, offset: u32, address: PhysAddr) {
        self.0.write_u32(offset, address as u32);
        self.0.write_u32(offset + 4, (address >> 32) as u32);
    }
}

impl Transport for ModelTransport {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }

    fn read_device_features(&mut self) -> u64 {
        let word = |index| {
            self.0.write_u32(0x014, index);
            u64::from(self.0.read_u32(0x010))
        };
        word(0) | word(1) << 32
    }

    fn write_driver_features(&mut self, features: u64) {
        for (index, word) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.0.write_u32(0x024, index);
            self.0.write_u32(0x020, word);
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select(queue);
        self.0.read_u32(0x034)
    }

    fn notify(&mut self, queue: u16) {
        self.0.write_u32(0x050, queue.into());
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_truncate(self.0.read_u32(0x070))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.0.write_u32(0x070, status.bits());
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(&mut self, queue: u16, size: u32, table: PhysAddr, driver: PhysAddr, device: PhysAddr) {
        self.select(queue);
        self.0.write_u32(0x038, size);
        for (offset, address) in [(0x080, table), (0x090, driver), (0x0A0, device)] {
            self.put_address(offset, address);
        }
        self.0.write_u32(0x044, 1);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.select(queue);
        self.0.write_u32(0x044, 0);
        while self.0.read_u32(0x044) != 0 {}
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.0.read_u32(0x044) != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        let status = self.0.read_u32(0x060);
        if status != 0 {
            self.0.write_u32(0x064, status);
        }
        InterruptStatus::from_bits_truncate(status)
    }

    fn read_config_generation(&self) -> u32 {
        self.0.read_u32(0x0FC)
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> virtio_drivers::Result<V> {
        let mut value = V::new_zeroed();
        for (index, word) in value.as_mut_bytes().chunks_exact_mut(4).enumerate() {
            word.copy_from_slice(&self.0.read_u32(0x100 + offset as u32 + 4 * index as u32).to_le_bytes());
        }
        Ok(value)
    }

    fn write_config_space<V: IntoBytes + Immutable>(&mut self, _: usize, _: V) -> virtio_drivers::Result<()> {
        panic!("a driver of disks writes no configuration here")
    }
}

/// The registers of the model as a transport of this project.
pub(crate) fn transport(model: &Model) -> virtio_mmio::MmioTransport<ModelRegisters> {
    virtio_mmio::probe(model.registers())
        .device()
        .expect("the model is a device")
}
