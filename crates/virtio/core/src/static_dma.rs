//! DMA memory out of one piece of memory that is there as long as the program.

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use crate::{Dma, DmaError, DmaRegion, LinearMap};

/// A part of the memory that was given out at least once.
#[derive(Clone, Copy)]
struct Piece {
    /// Bytes from the start of the memory.
    start: usize,
    bytes: usize,
    is_lent: bool,
}

/// A [`Dma`] of memory with the lifetime of the program, for up to `PIECES` regions.
///
/// The type of the memory makes sure that it outlives every disk. What comes back is kept whole for the next region that fits, so a
/// disk that is stopped and started again needs nothing new.
///
/// ```
/// use core::alloc::Layout;
/// use virtio_core::{Dma, LinearMap, StaticDma};
///
/// // On a machine: a static, handed out once, for instance by `static_cell::StaticCell`.
/// let memory: &'static mut [u8] = Vec::leak(vec![0; 0x4000]);
/// // SAFETY: without an MMU and an IOMMU, devices see all memory where the program sees it. (Here is no device.)
/// let map = unsafe { LinearMap::identity() };
/// let mut dma = StaticDma::<8>::new(memory, map);
/// let region = dma.allocate(Layout::new::<[u64; 64]>())?;
/// assert_eq!(region.device_addr().get(), region.as_ptr().addr().get() as u64);
/// dma.release(region);
/// # Ok::<(), virtio_core::DmaError>(())
/// ```
///
/// Memory that may end before a disk does is refused:
///
/// ```compile_fail,E0597
/// # use virtio_core::{LinearMap, StaticDma};
/// # fn on(map: LinearMap) -> StaticDma<8> {
/// let mut memory = [0; 0x4000];
/// StaticDma::<8>::new(&mut memory, map)
/// # }
/// ```
pub struct StaticDma<const PIECES: usize> {
    memory: NonNull<[u8]>,
    map: LinearMap,
    /// Bytes from the start of the memory that belong to pieces, or are left over between them.
    used: usize,
    pieces: [Option<Piece>; PIECES],
}

// SAFETY: the memory is tied to no thread, and the value or the regions made of it are its only owners.
unsafe impl<const PIECES: usize> Send for StaticDma<PIECES> {}
// SAFETY: nothing of the memory is reached through a shared reference.
unsafe impl<const PIECES: usize> Sync for StaticDma<PIECES> {}

impl<const PIECES: usize> StaticDma<PIECES> {
    /// Gives out parts of `memory`, which devices see where `map` says.
    pub fn new(memory: &'static mut [u8], map: LinearMap) -> Self {
        Self {
            memory: NonNull::from(memory),
            map,
            used: 0,
            pieces: [None; PIECES],
        }
    }

    /// Bytes that were never given out. Those of pieces that came back are not among them.
    pub fn unused_bytes(&self) -> usize {
        self.memory.len() - self.used
    }

    /// The byte `offset` bytes into the memory.
    fn at(&self, offset: usize) -> NonNull<u8> {
        // The offset is that of a piece, or the end of one.
        self.memory.cast::<u8>().map_addr(|start| start.saturating_add(offset))
    }

    /// Whether the CPU sees the byte at that offset aligned to `align`.
    fn is_aligned(&self, offset: usize, align: usize) -> bool {
        self.at(offset).addr().get().is_multiple_of(align)
    }

    /// The smallest piece that came back and is large enough.
    fn reuse(&mut self, layout: Layout) -> Option<Piece> {
        let fits = |piece: &Piece| {
            !piece.is_lent && piece.bytes >= layout.size() && self.is_aligned(piece.start, layout.align())
        };
        let best = self
            .pieces
            .iter()
            .flatten()
            .filter(|piece| fits(piece))
            .min_by_key(|piece| piece.bytes)?;
        let start = best.start;
        let piece = self.pieces.iter_mut().flatten().find(|piece| piece.start == start)?;
        piece.is_lent = true;
        Some(*piece)
    }

    /// A piece of memory that was never given out.
    fn cut(&mut self, layout: Layout) -> Option<Piece> {
        let misaligned = self.at(self.used).addr().get() % layout.align();
        let skip = if misaligned == 0 {
            0
        } else {
            layout.align() - misaligned
        };
        let start = self.used.checked_add(skip)?;
        let end = start
            .checked_add(layout.size())
            .filter(|&end| end <= self.memory.len())?;
        let place = self.pieces.iter_mut().find(|place| place.is_none())?;
        self.used = end;
        Some(*place.insert(Piece {
            start,
            bytes: layout.size(),
            is_lent: true,
        }))
    }
}

impl<const PIECES: usize> Dma for StaticDma<PIECES> {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        // Both sides see the same alignment, if their distance has it.
        let distance = self
            .map
            .device_addr(self.at(0))
            .get()
            .wrapping_sub(self.at(0).addr().get() as u64);
        if layout.size() == 0 || !distance.is_multiple_of(layout.align() as u64) {
            return Err(DmaError::UnsupportedLayout);
        }
        let piece = match self.reuse(layout) {
            Some(piece) => piece,
            None => self.cut(layout).ok_or(DmaError::OutOfMemory)?,
        };
        let start = self.at(piece.start);
        // SAFETY: the piece lies in the memory, which is there for good and belongs to this value. Pieces do not overlap, and this one
        // was not lent, so no other region has its bytes. Devices see them there, as the maker of the map has promised.
        let mut region = unsafe { DmaRegion::from_raw_parts(start, layout.size(), self.map.device_addr(start)) };
        region.zero();
        Ok(region)
    }

    fn release(&mut self, region: DmaRegion) {
        let Some(offset) = region.as_ptr().addr().get().checked_sub(self.at(0).addr().get()) else {
            return;
        };
        // One that came from elsewhere is not ours to lend.
        let mut pieces = self.pieces.iter_mut().flatten();
        if let Some(piece) = pieces.find(|piece| piece.start == offset && piece.is_lent) {
            piece.is_lent = false;
        }
    }
}

impl<const PIECES: usize> fmt::Debug for StaticDma<PIECES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lent = self.pieces.iter().flatten().filter(|piece| piece.is_lent).count();
        f.debug_struct("StaticDma")
            .field("unused_bytes", &self.unused_bytes())
            .field("lent", &lent)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::boxed::Box;
    use std::vec;

    use super::*;
    use crate::DmaBuffer;

    /// Runs a test on so many bytes, and frees them afterwards.
    fn on<const PIECES: usize>(bytes: usize, offset: u64, test: impl FnOnce(StaticDma<PIECES>)) {
        // SAFETY: there is no device.
        let map = unsafe { LinearMap::with_offset(offset) };
        let memory = Box::into_raw(vec![0xAA; bytes].into_boxed_slice());
        // SAFETY: only the test uses the memory, and keeps nothing of it.
        test(StaticDma::new(unsafe { &mut *memory }, map));
        // SAFETY: it came from a box, and the test is over.
        drop(unsafe { Box::from_raw(memory) });
    }

    fn layout(bytes: usize, align: usize) -> Layout {
        Layout::from_size_align(bytes, align).unwrap()
    }

    #[test]
    fn regions_are_aligned_zeroed_and_apart() {
        on::<4>(0x3000, 0x1000_0000, |mut dma| {
            let first = dma.allocate(layout(100, 1)).unwrap();
            let second = dma.allocate(layout(0x1000, 0x1000)).unwrap();
            let (start, addr) = (second.as_ptr().addr().get(), second.device_addr().get());
            assert_eq!(start % 0x1000, 0);
            assert_eq!(addr, start as u64 + 0x1000_0000);
            assert!(start >= first.as_ptr().addr().get() + 100);
            let buffer = DmaBuffer::new(second).unwrap();
            assert_eq!(*buffer, [0; 0x1000]);
        });
    }

    #[test]
    fn what_comes_back_is_given_out_again_and_zeroed() {
        on::<2>(4096, 0, |mut dma| {
            let mut buffer = DmaBuffer::allocate(&mut dma, 3000, 1).unwrap();
            buffer.fill(7);
            let small = dma.allocate(layout(100, 1)).unwrap();
            assert_eq!(dma.allocate(layout(1000, 1)).unwrap_err(), DmaError::OutOfMemory);
            let start = buffer.as_ptr();
            dma.release(buffer.into_region());
            let buffer = DmaBuffer::allocate(&mut dma, 1000, 1).unwrap();
            assert_eq!((buffer.as_ptr(), buffer.len()), (start, 1000));
            assert_eq!(*buffer, [0; 1000]);
            dma.release(small);
            dma.release(buffer.into_region());
            assert_eq!(dma.allocate(layout(100, 1)).unwrap().len(), 100);
        });
    }

    #[test]
    fn the_smallest_piece_that_fits_is_taken() {
        on::<3>(4096, 0, |mut dma| {
            let regions = [2000, 500, 1000].map(|bytes| dma.allocate(layout(bytes, 1)).unwrap());
            let third = regions[2].as_ptr();
            for region in regions {
                dma.release(region);
            }
            assert_eq!(dma.allocate(layout(600, 1)).unwrap().as_ptr(), third);
        });
    }

    #[test]
    fn what_cannot_be_is_refused() {
        on::<1>(4096, 512, |mut dma| {
            assert_eq!(dma.allocate(layout(0, 1)).unwrap_err(), DmaError::UnsupportedLayout);
            // The device sees everything 512 bytes further on.
            assert_eq!(dma.allocate(layout(8, 1024)).unwrap_err(), DmaError::UnsupportedLayout);
            assert_eq!(dma.allocate(layout(5000, 1)).unwrap_err(), DmaError::OutOfMemory);
            let _region = dma.allocate(layout(8, 512)).unwrap();
            assert_eq!(
                dma.allocate(layout(8, 1)).unwrap_err(),
                DmaError::OutOfMemory,
                "no place for a piece"
            );
        });
    }

    #[test]
    fn a_region_of_another_platform_is_not_taken() {
        let is_full = |dma: &mut StaticDma<2>| dma.allocate(layout(64, 1)).is_err();
        on::<2>(4096, 0, |mut first| {
            on::<2>(4096, 0, |mut second| {
                let own = first.allocate(layout(4096, 1)).unwrap();
                let other = second.allocate(layout(4096, 1)).unwrap();
                // One of them lies behind the other.
                first.release(other);
                second.release(own);
                assert!(is_full(&mut first) && is_full(&mut second));
            });
        });
    }
}
