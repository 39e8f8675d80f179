//! Memory of the program in a request, on a machine whose caches do not snoop what devices do: the hook cleans and invalidates lines.
//! Rings and bounce buffers are in memory that is not cached, which `Dma` gives out.

mod common;

use std::cell::RefCell;
use std::ptr::NonNull;

use common::mapped::{finish, start};
use common::pattern;
use virtio_blk_blocking::{BlockIo, Sector};
use virtio_blk_model::{Model, ModelConfig, ModelDma};
use virtio_core::{Direction, Dma, DmaBuffer, DmaError, DmaMap, DmaSegments, Mapped, Segment};

const LINE: usize = 64;

/// The hook of a platform with such caches.
struct Caches {
    machine: RefCell<Machine>,
}

// SAFETY: the device sees the memory where the machine has it, and nothing that is cached covers or replaces what the device writes: no
// line is dirty or shared with other data while the device is at work.
unsafe impl DmaMap for Caches {
    type Segments = [Segment; 1];

    unsafe fn map(&self, memory: NonNull<[u8]>, _: Direction) -> Result<[Segment; 1], DmaError> {
        // What shares a line with other data cannot be invalidated. It goes through a bounce buffer instead.
        if !memory.addr().get().is_multiple_of(LINE) || !memory.len().is_multiple_of(LINE) {
            return Err(DmaError::UnsupportedLayout);
        }
        let mut machine = self.machine.borrow_mut();
        let segment = machine.place_of(memory)?;
        // In either direction: a dirty line may be written back at any time, over what the device has written.
        machine.clean(memory);
        Ok([segment])
    }

    unsafe fn unmap(&self, memory: NonNull<[u8]>, _: [Segment; 1], direction: Direction) {
        let mut machine = self.machine.borrow_mut();
        if direction == Direction::FromDevice {
            // A processor may have read lines while the device wrote.
            machine.invalidate(memory);
        }
        machine.forget(memory);
    }
}

/// The machine: the bytes of the program are what its cache has, and a piece of the model's memory is what lies behind.
struct Machine {
    memory: ModelDma,
    lines: Vec<Lines>,
}

struct Lines {
    cached: NonNull<[u8]>,
    behind: DmaBuffer,
    is_dirty: bool,
}

impl Lines {
    fn write_back(&mut self) {
        // SAFETY: the owner of the memory keeps it while it is mapped.
        self.behind.copy_from_slice(unsafe { self.cached.as_ref() });
        self.is_dirty = false;
    }
}

impl Machine {
    /// Where the device sees the memory. All of it is dirty at first.
    fn place_of(&mut self, memory: NonNull<[u8]>) -> Result<Segment, DmaError> {
        let behind = DmaBuffer::allocate(&mut self.memory, memory.len(), LINE)?;
        let segment = behind.segments()[0];
        self.lines.push(Lines {
            cached: memory,
            behind,
            is_dirty: true,
        });
        Ok(segment)
    }

    fn index(&self, memory: NonNull<[u8]>) -> usize {
        let place = self
            .lines
            .iter()
            .position(|lines| lines.cached.cast::<u8>() == memory.cast());
        place.expect("the machine has the memory")
    }

    fn clean(&mut self, memory: NonNull<[u8]>) {
        let index = self.index(memory);
        self.lines[index].write_back();
    }

    fn invalidate(&mut self, memory: NonNull<[u8]>) {
        let index = self.index(memory);
        let Lines { cached, behind, .. } = &mut self.lines[index];
        // SAFETY: as in `write_back`.
        unsafe { cached.as_mut() }.copy_from_slice(behind);
    }

    fn forget(&mut self, memory: NonNull<[u8]>) {
        let lines = self.lines.remove(self.index(memory));
        self.memory.release(lines.behind.into_region());
    }

    /// The cache needs room, and writes back what is dirty.
    fn evict(&mut self) {
        let dirty = self.lines.iter_mut().filter(|lines| lines.is_dirty);
        dirty.for_each(Lines::write_back);
    }
}

/// Runs a test on memory that begins with a line, and frees it afterwards.
fn on_whole_lines(bytes: usize, test: impl FnOnce(&'static mut [u8])) {
    let space = Box::into_raw(vec![0u8; bytes + LINE].into_boxed_slice());
    let skip = space.addr().wrapping_neg() % LINE;
    // SAFETY: only the test uses the memory, and keeps nothing of it.
    test(unsafe { &mut (&mut *space)[skip..][..bytes] });
    // SAFETY: it came from a box, and the test is over.
    drop(unsafe { Box::from_raw(space) });
}

#[test]
fn what_the_device_writes_is_not_covered_by_the_cache() {
    on_whole_lines(2 * 512, transfers);
}

fn transfers(memory: &'static mut [u8]) {
    let model = Model::new(ModelConfig::modern());
    let caches = Caches {
        machine: RefCell::new(Machine {
            memory: model.dma(),
            lines: Vec::new(),
        }),
    };
    let mut disk = start(&model, |vain| {
        model.process(1);
        caches.machine.borrow_mut().evict();
        vain < 100
    });
    let content = pattern(1, 2 * 512);
    memory.copy_from_slice(&content);
    let mapped = Mapped::new(memory, Direction::ToDevice, &caches).unwrap();
    let memory = disk.write_buffer(Sector(7), mapped).unwrap().unmap();
    assert_eq!(model.read_disk(7, 2), content);

    memory.fill(0xEE);
    let mapped = Mapped::new(memory, Direction::FromDevice, &caches).unwrap();
    let memory = disk.read_buffer(Sector(7), mapped).unwrap().unmap();
    assert_eq!(memory, content);

    // Memory that shares lines with other data is refused, and is for calls that copy.
    let refused = Mapped::new(&mut memory[8..], Direction::FromDevice, &caches).err();
    let (error, memory) = refused.expect("it begins inside a line");
    assert_eq!(error, DmaError::UnsupportedLayout);
    disk.read(Sector(7), &mut memory[..512]).unwrap();
    assert_eq!(memory[..512], content[..512]);
    finish(&model, disk);
}
