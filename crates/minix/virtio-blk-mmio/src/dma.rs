//! DMA memory: contiguous memory from VM, kept for good.

use core::alloc::Layout;

use heapless::Vec;
use minix_abi::PAGE_BYTES;
use minix_abi::vm::Mmap;
use minix_rt::Ipc;
use minix_rt::memory::{self, Contiguous};
use virtio_core::{DeviceAddr, Dma, DmaError, DmaRegion};

/// Pieces of memory the service ever asks for: eight bounce buffers, and for each layout of the queue rings and headers.
const PIECES: usize = 24;

/// Memory that VM mapped, and whether it is lent.
struct Piece {
    memory: Contiguous,
    lent: bool,
}

// SAFETY: the memory belongs to the owner of the piece or of the region made of it, and is tied to no thread.
unsafe impl Send for Piece {}

/// DMA memory in pieces of at most 1 MiB.
///
/// What comes back is kept for the next one that fits into it: so a reset of the device needs nothing of VM, and succeeds
/// when memory is short.
pub struct VmDma<I> {
    ipc: I,
    pieces: Vec<Piece, PIECES>,
}

impl<I: Ipc> VmDma<I> {
    /// No memory yet.
    pub const fn new(ipc: I) -> Self {
        Self {
            ipc,
            pieces: Vec::new(),
        }
    }
}

impl<I: Ipc> Dma for VmDma<I> {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        let (size, align) = (layout.size(), layout.align() as u64);
        if size == 0 || align > PAGE_BYTES || size as u64 > Mmap::MAX_CONTIGUOUS_BYTES {
            return Err(DmaError::UnsupportedLayout);
        }
        let pages = size.next_multiple_of(PAGE_BYTES as usize);
        let fitting = self
            .pieces
            .iter()
            .enumerate()
            .filter(|(_, piece)| !piece.lent && piece.memory.bytes >= pages);
        let kept = fitting
            .min_by_key(|(_, piece)| piece.memory.bytes)
            .map(|(index, _)| index);
        let index = match kept {
            Some(index) => index,
            None => {
                if self.pieces.is_full() {
                    return Err(DmaError::OutOfMemory);
                }
                let memory = memory::map_contiguous(&mut self.ipc, pages).map_err(|_| DmaError::OutOfMemory)?;
                // Room was checked.
                let _ = self.pieces.push(Piece { memory, lent: false });
                self.pieces.len() - 1
            }
        };
        let piece = self.pieces.get_mut(index).ok_or(DmaError::OutOfMemory)?;
        piece.lent = true;
        let memory = piece.memory;
        // SAFETY: VM mapped so many writable bytes there for no other use, which the implementer of `Ipc` answers for, and the piece
        // is not lent.
        unsafe { memory.start.write_bytes(0, size) };
        // SAFETY: the same; devices see them in one piece at that address, as the kernel said, for which the implementer of `Ipc`
        // answers, too. They stay mapped for as long as the service runs, and are not lent again before this region has come back.
        Ok(unsafe { DmaRegion::from_raw_parts(memory.start, size, DeviceAddr(memory.physical)) })
    }

    fn release(&mut self, region: DmaRegion) {
        let piece = self
            .pieces
            .iter_mut()
            .find(|piece| piece.memory.start == region.as_ptr() && piece.lent);
        // One that came from elsewhere is not ours to lend.
        if let Some(piece) = piece {
            piece.lent = false;
        }
    }
}
