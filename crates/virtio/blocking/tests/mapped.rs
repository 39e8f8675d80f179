//! Memory of the program in a request, by the hook of a platform that shares only some of its memory with devices.

mod common;

use std::cell::RefCell;
use std::ptr::NonNull;

use common::{TestTransport, pattern};
use virtio_blk_blocking::{BlockingDisk, BounceDisk, Error, Sector, WaitHook};
use virtio_blk_model::{Model, ModelConfig, ModelDma};
use virtio_bounce::BouncePool;
use virtio_core::{Direction, Dma, DmaBuffer, DmaError, DmaMap, DmaSegments, Mapped, PollLimit, Segment};

/// Copies what is mapped to and from memory that the model sees.
struct Shared {
    dma: RefCell<ModelDma>,
    lent: RefCell<Vec<DmaBuffer>>,
}

// SAFETY: the model sees memory of its `Dma` at these addresses, and each buffer is kept until it is unmapped.
unsafe impl DmaMap for Shared {
    type Segments = [Segment; 1];

    unsafe fn map(&self, memory: NonNull<[u8]>, direction: Direction) -> Result<[Segment; 1], DmaError> {
        let mut buffer = DmaBuffer::allocate(&mut *self.dma.borrow_mut(), memory.len(), 512)?;
        if direction == Direction::ToDevice {
            // SAFETY: the caller promises that the memory can be read.
            buffer.copy_from_slice(unsafe { memory.as_ref() });
        }
        let segment = buffer.segments()[0];
        self.lent.borrow_mut().push(buffer);
        Ok([segment])
    }

    unsafe fn unmap(&self, mut memory: NonNull<[u8]>, segments: [Segment; 1], direction: Direction) {
        let mut lent = self.lent.borrow_mut();
        let place = lent.iter().position(|buffer| buffer.segments() == segments);
        let buffer = lent.remove(place.expect("mapped before"));
        if direction == Direction::FromDevice {
            // SAFETY: the caller promises that the memory can be written.
            unsafe { memory.as_mut() }.copy_from_slice(&buffer);
        }
        self.dma.borrow_mut().release(buffer.into_region());
    }
}

type Buffer<'p> = Mapped<Vec<u8>, &'p Shared>;
type Disk<'p, W> = BlockingDisk<TestTransport, W, 16, 2, Buffer<'p>>;

fn start<'p, W: WaitHook>(model: &Model, hook: W) -> Disk<'p, W> {
    let mut dma = model.dma();
    let transport = virtio_mmio::probe(model.registers())
        .device()
        .expect("the model is a device");
    let pool = BouncePool::allocate(&mut dma, 512).expect("the model has memory");
    let disk = BounceDisk::<_, 16, _>::start(transport, &mut dma, &Default::default(), &mut PollLimit::default());
    BlockingDisk::with_buffers(disk.expect("the model comes up"), pool, hook)
}

fn platform(model: &Model) -> Shared {
    Shared {
        dma: RefCell::new(model.dma()),
        lent: RefCell::default(),
    }
}

#[test]
fn a_vector_is_written_and_read_by_the_hook_of_the_platform() {
    let model = Model::new(ModelConfig::modern());
    let shared = platform(&model);
    let mut disk = start(&model, common::one_at_a_time(&model));
    let content = pattern(1, 3000 / 512 * 512);
    let mapped = Mapped::new(content.clone(), Direction::ToDevice, &shared).unwrap();
    let written = disk.write_buffer(Sector(7), mapped).unwrap().unmap();
    assert_eq!(written, content);
    let mapped = Mapped::new(vec![0; content.len()], Direction::FromDevice, &shared).unwrap();
    let read = disk.read_buffer(Sector(7), mapped).unwrap().unmap();
    assert_eq!(read, content);
    let mut dma = model.dma();
    let stopped = disk.stop(&mut dma, &mut PollLimit::default()).map_err(drop).unwrap();
    stopped.pool.release(&mut dma).unwrap();
    assert_eq!(model.allocations(), 0, "a mapping was left");
    model.assert_clean();
}

#[test]
fn a_mapping_lasts_as_long_as_the_device_may_use_it() {
    let model = Model::new(ModelConfig::modern());
    let shared = platform(&model);
    let mut disk = start(&model, PollLimit(2));
    model.write_disk(7, &pattern(2, 1024));
    let mapped = Mapped::new(vec![0; 1024], Direction::FromDevice, &shared).unwrap();
    let failed = disk.read_buffer(Sector(7), mapped).unwrap_err();
    assert_eq!((failed.error, failed.buffer.is_none()), (Error::TimedOut, true));
    assert_eq!(shared.lent.borrow().len(), 1, "it is still mapped");
    model.process(usize::MAX);
    let late = disk.take_late_buffer().expect("the device is done").unmap();
    assert_eq!(late, pattern(2, 1024));
    assert!(shared.lent.borrow().is_empty());
    let mut dma = model.dma();
    let stopped = disk.stop(&mut dma, &mut PollLimit::default()).map_err(drop).unwrap();
    stopped.pool.release(&mut dma).unwrap();
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}
