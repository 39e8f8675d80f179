//! All free RAM is a heap, and DMA memory is a part of it.
//!
//! That holds on this machine because no address is translated and QEMU's devices are coherent with its harts.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use embedded_alloc::LlffHeap;
use virtio_core::{DeviceAddr, Dma, DmaError, DmaRegion};
use virtio_fdt::PhysRange;

/// Size and alignment of DMA memory are multiples of it.
const PAGE_BYTES: usize = 4096;

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

static DMA_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Starts the heap.
///
/// # Safety
///
/// `range` is RAM that nothing else uses, now or later.
pub unsafe fn start_heap(range: PhysRange) {
    // SAFETY: the caller hands the memory over. It is memory of this machine, so the numbers fit.
    unsafe { HEAP.init(range.base_address as usize, range.size_bytes as usize) }
}

/// Where the driver and the buffers get DMA memory.
#[derive(Clone, Copy, Debug)]
pub struct DmaMemory;

impl DmaMemory {
    /// Bytes that were allocated and not released yet.
    pub fn bytes_in_use() -> usize {
        DMA_BYTES.load(Ordering::Relaxed)
    }

    /// The layout for `size` bytes: whole pages.
    fn pages(size: usize) -> Option<Layout> {
        Layout::from_size_align(size.checked_next_multiple_of(PAGE_BYTES)?, PAGE_BYTES).ok()
    }
}

impl Dma for DmaMemory {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        let size = layout.size();
        let fits = size > 0 && layout.align() <= PAGE_BYTES;
        let pages = Self::pages(size).filter(|_| fits).ok_or(DmaError::UnsupportedLayout)?;
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(pages) }).ok_or(DmaError::OutOfMemory)?;
        DMA_BYTES.fetch_add(pages.size(), Ordering::Relaxed);
        let address = DeviceAddr(start.as_ptr().expose_provenance() as u64);
        // SAFETY: zeroed memory of this allocation, which devices see at the same address, and which does not wrap.
        Ok(unsafe { DmaRegion::from_raw_parts(start, size, address) })
    }

    fn release(&mut self, region: DmaRegion) {
        if let Some(pages) = Self::pages(region.len()) {
            DMA_BYTES.fetch_sub(pages.size(), Ordering::Relaxed);
            // SAFETY: every region of an image was made by `allocate`, with this layout, and exists once.
            unsafe { dealloc(region.as_ptr().as_ptr(), pages) };
        }
    }
}
