//! Memory of the program through a platform's hook, and back.

#![cfg(feature = "alloc")]

use std::cell::RefCell;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use virtio_core::{DeviceAddr, Direction, DmaError, DmaMap, DmaSegments, LinearMap, Mapped, Segment};

/// Shared memory of a confidential guest: what is mapped is copied there and back. The device sees its first byte at 0x1000.
#[derive(Default)]
struct Shared {
    memory: RefCell<Vec<u8>>,
    log: RefCell<Vec<String>>,
}

impl Shared {
    fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }
}

// SAFETY: no device makes an access; the test reads and writes the shared memory in its place.
unsafe impl DmaMap for Shared {
    type Segments = [Segment; 1];

    unsafe fn map(&self, memory: NonNull<[u8]>, direction: Direction) -> Result<[Segment; 1], DmaError> {
        if memory.len() > 100 {
            return Err(DmaError::OutOfMemory);
        }
        self.log.borrow_mut().push(format!("map {direction:?}"));
        let mut shared = vec![0; memory.len()];
        if direction == Direction::ToDevice {
            // SAFETY: the caller promises that the memory can be read.
            shared.copy_from_slice(unsafe { memory.as_ref() });
        }
        *self.memory.borrow_mut() = shared;
        Ok([Segment::new(DeviceAddr(0x1000), memory.len() as u32)])
    }

    unsafe fn unmap(&self, mut memory: NonNull<[u8]>, segments: [Segment; 1], direction: Direction) {
        assert_eq!(segments, [Segment::new(DeviceAddr(0x1000), memory.len() as u32)]);
        self.log.borrow_mut().push(format!("unmap {direction:?}"));
        if direction == Direction::FromDevice {
            // SAFETY: the caller promises that the memory can be written.
            unsafe { memory.as_mut() }.copy_from_slice(&self.memory.borrow());
        }
    }
}

#[test]
fn data_goes_through_the_hook_in_its_direction() {
    let shared = Shared::default();
    let mapped = Mapped::new(vec![1u8, 2, 3], Direction::ToDevice, &shared).unwrap();
    assert_eq!(mapped.segments(), [Segment::new(DeviceAddr(0x1000), 3)]);
    assert_eq!(mapped.total_bytes(), 3);
    assert_eq!(*shared.memory.borrow(), [1, 2, 3]);
    shared.memory.borrow_mut().fill(9);
    assert_eq!(mapped.unmap(), [1, 2, 3], "a device that only reads changes nothing");

    let mapped = Mapped::new(vec![1u8, 2, 3].into_boxed_slice(), Direction::FromDevice, &shared).unwrap();
    // It moves about while the device writes.
    let boxed = Box::new(mapped);
    shared.memory.borrow_mut().copy_from_slice(&[7, 8, 9]);
    assert_eq!(*boxed.unmap(), [7, 8, 9]);
    assert_eq!(
        shared.log(),
        ["map ToDevice", "unmap ToDevice", "map FromDevice", "unmap FromDevice"]
    );
}

#[test]
fn a_mapping_that_is_dropped_ends() {
    let shared = Shared::default();
    drop(Mapped::new(vec![0u8; 8], Direction::FromDevice, &shared).unwrap());
    assert_eq!(shared.log(), ["map FromDevice", "unmap FromDevice"]);
}

#[test]
fn memory_that_is_not_mapped_comes_back() {
    let shared = Shared::default();
    let (error, memory) = Mapped::new(vec![5u8; 101], Direction::ToDevice, &shared).unwrap_err();
    assert_eq!((error, memory), (DmaError::OutOfMemory, vec![5; 101]));
    let (error, memory) = Mapped::new(vec![0u8; 0], Direction::ToDevice, &shared).unwrap_err();
    assert_eq!((error, memory.len()), (DmaError::UnsupportedLayout, 0));
    assert_eq!(shared.log(), [""; 0]);
}

/// A hook that is owned by what it has mapped.
struct Counted(#[expect(dead_code, reason = "it is counted")] Rc<()>);

// SAFETY: no device makes an access.
unsafe impl DmaMap for Counted {
    type Segments = [Segment; 2];

    unsafe fn map(&self, memory: NonNull<[u8]>, _: Direction) -> Result<[Segment; 2], DmaError> {
        let (first, second) = (memory.len() as u32 / 2, memory.len() as u32 - memory.len() as u32 / 2);
        Ok([
            Segment::new(DeviceAddr(0x9000), first),
            Segment::new(DeviceAddr(0x1000), second),
        ])
    }

    unsafe fn unmap(&self, _: NonNull<[u8]>, _: [Segment; 2], _: Direction) {}
}

#[test]
fn a_hook_is_dropped_once_and_may_answer_several_pieces() {
    let count = Rc::new(());
    let map = || Mapped::new(vec![0u8; 9], Direction::ToDevice, Counted(Rc::clone(&count))).unwrap();
    let mapped = map();
    let pieces: Vec<_> = mapped.segments().iter().map(|segment| segment.len).collect();
    assert_eq!(pieces, [4, 5]);
    assert_eq!(Rc::strong_count(&count), 2);
    drop(mapped.unmap());
    assert_eq!(Rc::strong_count(&count), 1);
    drop(map());
    assert_eq!(Rc::strong_count(&count), 1);
}

/// What a device does that sees memory where the program sees it.
fn device_writes(segment: Segment, content: &[u8]) {
    assert_eq!(segment.len as usize, content.len());
    let start = ptr::with_exposed_provenance_mut::<u8>(segment.addr.get() as usize);
    // SAFETY: the memory was mapped for the device, and nothing else uses it now.
    unsafe { start.copy_from_nonoverlapping(content.as_ptr(), content.len()) }
}

#[test]
fn a_device_writes_owned_memory_where_it_is() {
    // SAFETY: the device below sees memory at the addresses of the program.
    let identity = unsafe { LinearMap::identity() };
    let mapped = Mapped::new(vec![0u8; 4].into_boxed_slice(), Direction::FromDevice, identity).unwrap();
    let segment = mapped.segments()[0];
    let moved = Box::new(mapped);
    device_writes(segment, b"abcd");
    assert_eq!(moved.segments(), [segment], "it does not move with its owner");
    assert_eq!(&*moved.unmap(), b"abcd");

    let memory: &'static mut [u8] = Box::leak(vec![0; 2].into_boxed_slice());
    let mapped = Mapped::new(memory, Direction::FromDevice, identity).unwrap();
    device_writes(mapped.segments()[0], b"xy");
    let memory = mapped.unmap();
    assert_eq!(memory, b"xy");
    // SAFETY: it was leaked above, and this is the only reference to it.
    drop(unsafe { Box::from_raw(memory) });
}

#[test]
fn a_device_may_see_memory_at_a_distance() {
    // SAFETY: there is no device.
    let map = unsafe { LinearMap::with_offset(0x8000_0000) };
    let memory = vec![0u8; 16];
    let start = memory.as_ptr().addr() as u64;
    let mapped = Mapped::new(memory, Direction::ToDevice, map).unwrap();
    assert_eq!(mapped.segments(), [Segment::new(DeviceAddr(start + 0x8000_0000), 16)]);
}
