//! The board's `Dma`: RAM that the CPU and the devices see at the same address.

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use linked_list_allocator::Heap;
use virtio_core::{DeviceAddr, Dma, DmaError, DmaRegion};
use virtio_fdt::PhysRange;

/// Size and alignment of allocations are multiples of it, so that no two of them share a cache line.
const UNIT_BYTES: usize = 64;

/// A pool of DMA memory.
///
/// Address translation is off (`satp` is zero), so the address of a byte is the same for the CPU and for a device, and
/// QEMU's devices are coherent with its harts.
pub struct DmaPool {
    heap: Heap,
}

impl DmaPool {
    /// A pool over `range`, physical memory that is mapped one to one.
    ///
    /// # Safety
    ///
    /// The range is plain RAM, writable, visible to devices at the same addresses, used by nothing else from now on,
    /// and does not contain address zero.
    pub unsafe fn new(range: PhysRange) -> Self {
        // The caller says that it is memory of this machine, so the numbers fit.
        let start = ptr::with_exposed_provenance_mut(range.base_address as usize);
        // SAFETY: the caller gives this memory to the pool for good.
        let heap = unsafe { Heap::new(start, range.size_bytes as usize) };
        Self { heap }
    }

    /// Bytes that are free, not necessarily in one piece.
    pub fn free_bytes(&self) -> u64 {
        self.heap.free() as u64
    }
}

/// The layout of the memory set aside for an allocation.
fn whole_units(size: usize, align: usize) -> Option<Layout> {
    let layout = Layout::from_size_align(size, align.max(UNIT_BYTES)).ok()?;
    Layout::from_size_align(layout.size().checked_next_multiple_of(UNIT_BYTES)?, layout.align()).ok()
}

impl Dma for DmaPool {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        let size = layout.size();
        if size == 0 {
            return Err(DmaError::UnsupportedLayout);
        }
        let layout = whole_units(size, layout.align()).ok_or(DmaError::UnsupportedLayout)?;
        let start = self.heap.allocate_first_fit(layout).map_err(|()| DmaError::OutOfMemory)?;
        // SAFETY: the heap has set at least `size` bytes aside.
        unsafe { start.write_bytes(0, size) };
        let address = DeviceAddr(start.as_ptr().expose_provenance() as u64);
        // SAFETY: the heap gives this memory, now initialised, to nothing else; physical and device addresses agree on
        // this board; the memory of the heap does not wrap.
        Ok(unsafe { DmaRegion::from_raw_parts(start, size, address) })
    }

    fn release(&mut self, region: DmaRegion) {
        let start: NonNull<u8> = region.as_ptr();
        // A region of another pool is leaked: it would be given out as if it were ours.
        let ours = (self.heap.bottom()..self.heap.top()).contains(&start.as_ptr());
        if let Some(layout) = whole_units(region.len(), 1).filter(|_| ours) {
            // SAFETY: a region inside the heap's memory is one that `allocate` made, since it takes a false promise to make
            // another. It exists once, and the heap goes by the size of a layout, which is the same here.
            unsafe { self.heap.deallocate(start, layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(memory: &mut Vec<u64>) -> DmaPool {
        let start = memory.as_mut_ptr().expose_provenance() as u64;
        let range = PhysRange::new(start, size_of_val(&memory[..]) as u64).unwrap();
        // SAFETY: the vectors outlive the pools and are not touched meanwhile.
        unsafe { DmaPool::new(range) }
    }

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn memory_comes_zeroed_and_aligned_and_goes_back() {
        let mut memory = vec![u64::MAX; 0x800];
        let mut pool = pool(&mut memory);
        let before = pool.free_bytes();
        let (a, b) = (pool.allocate(layout(1000, 512)), pool.allocate(layout(1, 1)));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((a.len(), b.len()), (1000, 1));
        assert_eq!(a.as_ptr().addr().get() as u64, a.device_addr().get());
        assert!(a.device_addr().is_aligned_to(512) && b.device_addr().is_aligned_to(64));
        // SAFETY: the region is plain memory owned by this test.
        let bytes = unsafe { core::slice::from_raw_parts(a.as_ptr().as_ptr(), a.len()) };
        assert!(bytes.iter().all(|&byte| byte == 0));
        assert_eq!(pool.free_bytes(), before - 1024 - 64);
        pool.release(a);
        pool.release(b);
        assert_eq!(pool.free_bytes(), before);
        assert!(pool.allocate(layout(0x3f00, 1)).is_ok(), "in one piece again");
    }

    #[test]
    fn a_region_of_another_pool_is_refused() {
        let (mut here, mut there) = (vec![0; 0x200], vec![0; 0x200]);
        let (mut ours, mut theirs) = (pool(&mut here), pool(&mut there));
        let before = ours.free_bytes();
        ours.release(theirs.allocate(layout(64, 64)).unwrap());
        assert_eq!(ours.free_bytes(), before);
    }

    #[test]
    fn impossible_requests_are_refused_by_name() {
        let mut memory = vec![0; 0x200];
        let mut pool = pool(&mut memory);
        assert!(matches!(pool.allocate(layout(0, 1)), Err(DmaError::UnsupportedLayout)));
        assert!(matches!(pool.allocate(layout(0x2000, 1)), Err(DmaError::OutOfMemory)));
    }
}
