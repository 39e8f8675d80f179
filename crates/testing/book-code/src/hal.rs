//! The platform of a kernel that has a [`Hal`] of `virtio-drivers`, for the crates of this project.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use virtio_core::{DeviceAddr, Direction, Dma, DmaError, DmaMap, DmaRegion, Segment};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// What `dma_alloc` has answered, and is not given back.
struct Lent {
    address: PhysAddr,
    start: NonNull<u8>,
    pages: usize,
}

/// Rings and buffers of `dma_alloc`, which gives whole pages, for up to `REGIONS` regions.
pub struct HalDma<H: Hal, const REGIONS: usize> {
    lent: [Option<Lent>; REGIONS],
    hal: PhantomData<fn() -> H>,
}

impl<H: Hal, const REGIONS: usize> HalDma<H, REGIONS> {
    /// Nothing is allocated yet.
    pub const fn new() -> Self {
        Self {
            lent: [const { None }; REGIONS],
            hal: PhantomData,
        }
    }
}

impl<H: Hal, const REGIONS: usize> Default for HalDma<H, REGIONS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Hal, const REGIONS: usize> Dma for HalDma<H, REGIONS> {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        if layout.size() == 0 || layout.align() > PAGE_SIZE {
            return Err(DmaError::UnsupportedLayout);
        }
        let place = self.lent.iter_mut().find(|place| place.is_none());
        let place = place.ok_or(DmaError::OutOfMemory)?;
        let pages = layout.size().div_ceil(PAGE_SIZE);
        let (address, start) = H::dma_alloc(pages, BufferDirection::Both);
        if address == 0 {
            return Err(DmaError::OutOfMemory);
        }
        *place = Some(Lent { address, start, pages });
        // SAFETY: a `Hal` answers zeroed pages that nothing else uses until they are given back, and where the device sees them.
        Ok(unsafe { DmaRegion::from_raw_parts(start, layout.size(), DeviceAddr(address)) })
    }

    fn release(&mut self, region: DmaRegion) {
        let is_of = |lent: &Lent| lent.start == region.as_ptr();
        // One that came from elsewhere is not ours to free.
        let Some(place) = self.lent.iter_mut().find(|place| place.as_ref().is_some_and(is_of)) else {
            return;
        };
        if let Some(Lent { address, start, pages }) = place.take() {
            // SAFETY: these are the values of `dma_alloc`, and the only region of these pages was just given up.
            let error = unsafe { H::dma_dealloc(address, start, pages) };
            debug_assert_eq!(error, 0, "the pages were those of dma_alloc");
        }
    }
}

impl<H: Hal, const REGIONS: usize> fmt::Debug for HalDma<H, REGIONS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lent = self.lent.iter().flatten().count();
        f.debug_struct("HalDma").field("lent", &lent).finish_non_exhaustive()
    }
}

/// Other memory by `share` and `unshare`: the hook of [`Mapped`](virtio_core::Mapped) buffers.
pub struct HalMap<H: Hal>(PhantomData<fn() -> H>);

impl<H: Hal> HalMap<H> {
    /// The hook.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<H: Hal> Clone for HalMap<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H: Hal> Copy for HalMap<H> {}

impl<H: Hal> Default for HalMap<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Hal> fmt::Debug for HalMap<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HalMap")
    }
}

fn direction_of(direction: Direction) -> BufferDirection {
    match direction {
        Direction::ToDevice => BufferDirection::DriverToDevice,
        Direction::FromDevice => BufferDirection::DeviceToDriver,
    }
}

// SAFETY: `share` answers where the device reaches the buffer, until `unshare` is called with it.
unsafe impl<H: Hal> DmaMap for HalMap<H> {
    type Segments = [Segment; 1];

    unsafe fn map(&self, memory: NonNull<[u8]>, direction: Direction) -> Result<[Segment; 1], DmaError> {
        let bytes = u32::try_from(memory.len()).map_err(|_| DmaError::UnsupportedLayout)?;
        // SAFETY: the caller promises that nothing else uses the memory; it is not empty.
        let address = unsafe { H::share(memory, direction_of(direction)) };
        Ok([Segment::new(DeviceAddr(address), bytes)])
    }

    unsafe fn unmap(&self, memory: NonNull<[u8]>, [segment]: [Segment; 1], direction: Direction) {
        // SAFETY: the caller promises that these are the memory, the answer and the direction of one call of `map`.
        unsafe { H::unshare(segment.addr.get(), memory, direction_of(direction)) };
    }
}
