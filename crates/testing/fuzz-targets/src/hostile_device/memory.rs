//! DMA memory that a device can scribble in as long as the driver holds it.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::RefCell;
use std::ptr::NonNull;
use std::rc::Rc;

use virtio_core::{DeviceAddr, Dma, DmaError, DmaRegion};

/// Where the memory starts for the device.
const BASE: u64 = 0x4000_0000;

struct Held {
    start: NonNull<u8>,
    layout: Layout,
    addr: u64,
    /// Rings and tables, which the driver looks at while the device works.
    is_shared: bool,
}

#[derive(Default)]
struct Regions {
    held: Vec<Held>,
    given: u64,
    /// The driver starts: what it takes now is for rings and tables.
    starting: bool,
}

/// A handle to the memory; the last one frees what was not released. No region is looked at after that.
#[derive(Clone, Default)]
pub(super) struct Memory(Rc<RefCell<Regions>>);

impl Memory {
    /// Whether regions that are given out from now on are for rings and tables.
    pub(super) fn set_starting(&self, starting: bool) {
        self.0.borrow_mut().starting = starting;
    }

    /// Regions that were not released.
    pub(super) fn held(&self) -> usize {
        self.0.borrow().held.len()
    }

    /// Reads what the device sees at `addr`; zeroes if no region has all of it.
    pub(super) fn read<const N: usize>(&self, addr: u64) -> [u8; N] {
        // SAFETY: `place` answers for so many initialised bytes of a region that is held, and there is one thread.
        self.place(addr, N)
            .map_or([0; N], |place| unsafe { place.cast::<[u8; N]>().read_unaligned() })
    }

    /// Writes what the device writes; nothing if no region has all of it.
    pub(super) fn write(&self, addr: u64, bytes: &[u8]) {
        if let Some(place) = self.place(addr, bytes.len()) {
            // SAFETY: as in `read`. The content of memory that a device works on may change under the driver.
            unsafe { place.copy_from_nonoverlapping(NonNull::from_ref(bytes).cast(), bytes.len()) };
        }
    }

    /// The address of a byte in rings and tables, chosen by a number.
    pub(super) fn somewhere_shared(&self, number: u64) -> Option<u64> {
        let regions = self.0.borrow();
        let shared = || regions.held.iter().filter(|held| held.is_shared);
        let bytes: u64 = shared().map(|held| held.layout.size() as u64).sum();
        let mut offset = number.checked_rem(bytes)?;
        for held in shared() {
            let size = held.layout.size() as u64;
            if offset < size {
                return Some(held.addr + offset);
            }
            offset -= size;
        }
        None
    }

    fn place(&self, addr: u64, len: usize) -> Option<NonNull<u8>> {
        let regions = self.0.borrow();
        let end = addr.checked_add(len as u64)?;
        let is_in = |held: &&Held| held.addr <= addr && end <= held.addr + held.layout.size() as u64;
        let held = regions.held.iter().find(is_in)?;
        // SAFETY: the offset is inside the allocation, as was just found.
        Some(unsafe { held.start.add((addr - held.addr) as usize) })
    }
}

impl Dma for Memory {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        if layout.size() == 0 || layout.align() > 1 << 16 {
            return Err(DmaError::UnsupportedLayout);
        }
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(DmaError::OutOfMemory)?;
        let mut regions = self.0.borrow_mut();
        let addr = (BASE + regions.given).next_multiple_of(layout.align() as u64);
        // A hole after each.
        regions.given = addr - BASE + layout.size() as u64 + 64;
        let is_shared = regions.starting;
        regions.held.push(Held {
            start,
            layout,
            addr,
            is_shared,
        });
        // SAFETY: the bytes are fresh and zeroed, stay until they are released, and are reached at `addr` by the device alone,
        // which is in this crate and writes through `write` only.
        Ok(unsafe { DmaRegion::from_raw_parts(start, layout.size(), DeviceAddr(addr)) })
    }

    fn release(&mut self, region: DmaRegion) {
        let mut regions = self.0.borrow_mut();
        let place = regions.held.iter().position(|held| held.start == region.as_ptr());
        let held = regions.held.swap_remove(place.expect("a region of this memory"));
        assert_eq!(held.layout.size(), region.len());
        // SAFETY: it was allocated with this layout, and its owner has given it back.
        unsafe { dealloc(held.start.as_ptr(), held.layout) };
    }
}

impl Drop for Regions {
    fn drop(&mut self) {
        for held in &self.held {
            // SAFETY: it was allocated with this layout. What is left was given up by a driver that could not tell whether the
            // device still uses it, and both are gone.
            unsafe { dealloc(held.start.as_ptr(), held.layout) };
        }
    }
}
