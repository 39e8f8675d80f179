//! Memory of the program in a request, with an IOMMU before the device: the hook enters the memory, the device uses it where it is, and the
//! entry goes.

mod common;

use std::cell::RefCell;
use std::ptr::NonNull;

use common::mapped::{behind_a_platform, finish, start};
use common::pattern;
use virtio_blk_blocking::{Error, Sector};
use virtio_blk_model::{Model, ModelDma};
use virtio_core::{Direction, Dma, DmaBuffer, DmaError, DmaMap, DmaSegments, Mapped, PollLimit, Segment};

const PAGE: usize = 4096;

/// The hook of a platform with an IOMMU. An entry is for whole pages: what else lies in the first and last page of a piece of memory is in
/// reach of the device, too. A kernel that does not want that refuses memory that is not whole pages.
struct Iommu {
    table: RefCell<Table>,
}

// SAFETY: as long as there is an entry, the device sees the memory at the address that was answered, and it is removed by `unmap` alone.
unsafe impl DmaMap for Iommu {
    type Segments = [Segment; 1];

    unsafe fn map(&self, memory: NonNull<[u8]>, direction: Direction) -> Result<[Segment; 1], DmaError> {
        let before = memory.addr().get() % PAGE;
        let pages = (before + memory.len()).div_ceil(PAGE);
        let first = self.table.borrow_mut().enter(memory, before, pages, direction)?;
        let Segment { addr, .. } = first;
        Ok([Segment::new(addr.wrapping_add(before as u64), memory.len() as u32)])
    }

    unsafe fn unmap(&self, memory: NonNull<[u8]>, _: [Segment; 1], _: Direction) {
        self.table.borrow_mut().remove(memory);
    }
}

/// The IOMMU itself. The model makes no accesses but to its own memory, so a piece of that plays the addresses of an entry.
struct Table {
    addresses: ModelDma,
    entries: Vec<Entry>,
}

struct Entry {
    memory: NonNull<[u8]>,
    /// Bytes of the first page before the memory.
    before: usize,
    direction: Direction,
    window: DmaBuffer,
}

impl Table {
    fn enter(
        &mut self,
        memory: NonNull<[u8]>,
        before: usize,
        pages: usize,
        direction: Direction,
    ) -> Result<Segment, DmaError> {
        let window = DmaBuffer::allocate(&mut self.addresses, pages * PAGE, PAGE)?;
        let first = window.segments()[0];
        self.entries.push(Entry {
            memory,
            before,
            direction,
            window,
        });
        Ok(first)
    }

    /// The addresses of the entry lead nowhere any more; the model reports an access to them.
    fn remove(&mut self, memory: NonNull<[u8]>) {
        let place = self
            .entries
            .iter()
            .position(|entry| entry.memory.cast::<u8>() == memory.cast());
        let entry = self.entries.remove(place.expect("it was entered"));
        self.addresses.release(entry.window.into_region());
    }

    /// What the device does now reaches the memory of the entries.
    fn while_translating<R>(&mut self, works: impl FnOnce() -> R) -> R {
        for entry in &mut self.entries {
            if entry.direction == Direction::ToDevice {
                // SAFETY: the mapping keeps the memory for the device.
                let memory = unsafe { entry.memory.as_ref() };
                entry.window[entry.before..][..memory.len()].copy_from_slice(memory);
            }
        }
        let result = works();
        for entry in &mut self.entries {
            if entry.direction == Direction::FromDevice {
                // SAFETY: as above.
                let memory = unsafe { entry.memory.as_mut() };
                memory.copy_from_slice(&entry.window[entry.before..][..memory.len()]);
            }
        }
        result
    }
}

fn iommu(model: &Model) -> Iommu {
    Iommu {
        table: RefCell::new(Table {
            addresses: model.dma(),
            entries: Vec::new(),
        }),
    }
}

#[test]
fn memory_is_transferred_where_it_is_by_other_addresses() {
    let model = behind_a_platform();
    let iommu = iommu(&model);
    let mut disk = start(&model, |vain| {
        iommu.table.borrow_mut().while_translating(|| model.process(1));
        vain < 100
    });
    let content = pattern(1, 3 * 512);
    let mapped = Mapped::new(content.clone(), Direction::ToDevice, &iommu).unwrap();
    assert_ne!(mapped.segments()[0].addr.get(), content.as_ptr().addr() as u64);
    assert_eq!(disk.write_buffer(Sector(7), mapped).unwrap().unmap(), content);
    assert_eq!(model.read_disk(7, 3), content);

    let mapped = Mapped::new(vec![0; content.len()], Direction::FromDevice, &iommu).unwrap();
    assert_eq!(disk.read_buffer(Sector(7), mapped).unwrap().unmap(), content);
    assert!(iommu.table.borrow().entries.is_empty());
    finish(&model, disk);
}

#[test]
fn an_entry_stays_until_a_late_answer() {
    let model = behind_a_platform();
    let iommu = iommu(&model);
    let mut disk = start(&model, PollLimit(2));
    model.write_disk(7, &pattern(2, 512));
    let mapped = Mapped::new(vec![0; 512], Direction::FromDevice, &iommu).unwrap();
    assert_eq!(disk.read_buffer(Sector(7), mapped).unwrap_err().error, Error::TimedOut);
    assert_eq!(iommu.table.borrow().entries.len(), 1);
    iommu.table.borrow_mut().while_translating(|| model.process(1));
    let late = disk.take_late_buffer().expect("the device is done");
    assert_eq!(late.unmap(), pattern(2, 512));
    assert!(iommu.table.borrow().entries.is_empty());
    finish(&model, disk);
}
