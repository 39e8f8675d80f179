//! Memory of the program in a request, in a confidential guest: the device reaches shared memory alone, which `Dma` gives out, and the hook
//! copies there and back.

mod common;

use std::cell::RefCell;
use std::ptr::NonNull;

use common::mapped::{behind_a_platform, finish, start};
use common::pattern;
use virtio_blk_blocking::{Error, Sector};
use virtio_blk_model::{Model, ModelDma};
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

fn platform(model: &Model) -> Shared {
    Shared {
        dma: RefCell::new(model.dma()),
        lent: RefCell::default(),
    }
}

#[test]
fn a_vector_is_written_and_read_by_the_hook_of_the_platform() {
    let model = behind_a_platform();
    let shared = platform(&model);
    let mut disk = start(&model, common::one_at_a_time(&model));
    let content = pattern(1, 3000 / 512 * 512);
    let mapped = Mapped::new(content.clone(), Direction::ToDevice, &shared).unwrap();
    let written = disk.write_buffer(Sector(7), mapped).unwrap().unmap();
    assert_eq!(written, content);
    let mapped = Mapped::new(vec![0; content.len()], Direction::FromDevice, &shared).unwrap();
    let read = disk.read_buffer(Sector(7), mapped).unwrap().unmap();
    assert_eq!(read, content);
    finish(&model, disk);
}

#[test]
fn a_mapping_lasts_as_long_as_the_device_may_use_it() {
    let model = behind_a_platform();
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
    finish(&model, disk);
}
