//! The board's `Dma`: RAM that the CPU and the devices see at the same address.

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use virtio_core::{DeviceAddr, Dma, DmaError, DmaRegion};
use virtio_fdt::PhysRange;

use super::free_list::FreeList;

/// Free pieces a pool can keep track of.
pub const DMA_PIECES: usize = 64;

/// A pool of DMA memory.
///
/// Address translation is off (`satp` is zero), so the address of a byte is the same for the CPU and for a device, and
/// QEMU's devices are coherent with its harts.
#[derive(Debug)]
pub struct DmaPool {
    free: FreeList<DMA_PIECES>,
    /// All there ever was, given out or not.
    range: PhysRange,
    lost_bytes: u64,
}

impl DmaPool {
    /// A pool over `range`, physical memory that is mapped one to one.
    ///
    /// # Safety
    ///
    /// The range is plain RAM, writable, visible to devices at the same addresses, used by nothing else from now on,
    /// and does not contain address zero.
    pub unsafe fn new(range: PhysRange) -> Self {
        Self {
            free: FreeList::new(range),
            range,
            lost_bytes: 0,
        }
    }

    /// Bytes that are free, not necessarily in one piece.
    pub fn free_bytes(&self) -> u64 {
        self.free.free_bytes()
    }

    /// Bytes that were given back and could not be kept track of; zero unless the pool was badly fragmented.
    pub fn lost_bytes(&self) -> u64 {
        self.lost_bytes
    }
}

impl Dma for DmaPool {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        let (size, align) = (layout.size(), layout.align());
        if size == 0 {
            return Err(DmaError::UnsupportedLayout);
        }
        let taken = self.free.take(size as u64, align as u64).ok_or(DmaError::OutOfMemory)?;
        // The range comes from `new`, whose caller said it is memory of this machine, so the address fits.
        let start = ptr::with_exposed_provenance_mut::<u8>(taken.base_address as usize);
        let start = NonNull::new(start).ok_or(DmaError::OutOfMemory)?;
        // SAFETY: the caller of `new` gave this memory to the pool, the free list gave it to nobody else, and the list
        // rounds up, so there are at least `size` bytes.
        unsafe { start.write_bytes(0, size) };
        // SAFETY: the same, now initialised; physical and device addresses agree on this board; the free list only has
        // ranges that do not wrap.
        Ok(unsafe { DmaRegion::from_raw_parts(start, size, DeviceAddr(taken.base_address)) })
    }

    fn release(&mut self, region: DmaRegion) {
        // What `allocate` took: the length rounded up to whole units.
        let size_bytes = (region.len() as u64).next_multiple_of(FreeList::<DMA_PIECES>::UNIT_BYTES);
        let range = PhysRange {
            base_address: region.device_addr().get(),
            size_bytes,
        };
        // Memory of somebody else would be given out as if it were ours.
        let ours = range.base_address >= self.range.base_address
            && range
                .base_address
                .checked_add(size_bytes)
                .is_some_and(|end| end <= self.range.end_address());
        if !ours || !self.free.release(range) {
            self.lost_bytes = self.lost_bytes.saturating_add(size_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_zeroed_and_goes_back() {
        let mut memory = vec![0xa5u8; 0x4000];
        let range = PhysRange::new(memory.as_mut_ptr().expose_provenance() as u64, 0x4000).unwrap();
        // SAFETY: the vector outlives the pool and is not touched meanwhile.
        let mut pool = unsafe { DmaPool::new(range) };
        let before = pool.free_bytes();
        let region = pool.allocate(Layout::from_size_align(1000, 512).unwrap()).unwrap();
        assert_eq!(region.len(), 1000);
        assert_eq!(region.as_ptr().addr().get() as u64, region.device_addr().get());
        assert!(region.device_addr().is_aligned_to(512));
        // SAFETY: the region is plain memory owned by this test.
        let bytes = unsafe { core::slice::from_raw_parts(region.as_ptr().as_ptr(), region.len()) };
        assert!(bytes.iter().all(|&byte| byte == 0));
        assert_eq!(pool.free_bytes(), before - 1024);
        pool.release(region);
        assert_eq!((pool.free_bytes(), pool.lost_bytes()), (before, 0));
    }

    #[test]
    fn memory_of_another_pool_is_not_taken_in() {
        let (mut here, mut there) = (vec![0u8; 0x1000], vec![0u8; 0x1000]);
        let pool = |memory: &mut Vec<u8>| {
            let range = PhysRange::new(memory.as_mut_ptr().expose_provenance() as u64, 0x1000).unwrap();
            // SAFETY: the vectors outlive the pools and are not touched meanwhile.
            unsafe { DmaPool::new(range) }
        };
        let (mut ours, mut theirs) = (pool(&mut here), pool(&mut there));
        let before = ours.free_bytes();
        let region = theirs.allocate(Layout::from_size_align(64, 64).unwrap()).unwrap();
        ours.release(region);
        assert_eq!((ours.free_bytes(), ours.lost_bytes()), (before, 64));
    }

    #[test]
    fn what_cannot_be_given_is_refused_by_name() {
        let mut memory = vec![0u8; 0x1000];
        let range = PhysRange::new(memory.as_mut_ptr().expose_provenance() as u64, 0x1000).unwrap();
        // SAFETY: as above.
        let mut pool = unsafe { DmaPool::new(range) };
        let layout = |size, align| Layout::from_size_align(size, align).unwrap();
        assert!(matches!(pool.allocate(layout(0, 1)), Err(DmaError::UnsupportedLayout)));
        assert!(matches!(pool.allocate(layout(0x2000, 1)), Err(DmaError::OutOfMemory)));
    }
}
