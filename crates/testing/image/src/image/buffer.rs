//! The one type of data buffer that all requests of the image have.

use alloc::vec::Vec;

use guest_protocol::pattern;
use virtio_core::{Dma as _, DmaBuffer, DmaError, DmaSegments, DmaSlice, Segment};

use bare_image::memory::DmaMemory;

/// Pieces of DMA memory that one request fills or sends in order. Dropping it releases them.
#[derive(Debug)]
pub(crate) struct Buffer {
    pieces: Vec<DmaSlice>,
    /// Those of the pieces. A slice has the same one for as long as it lives.
    segments: Vec<Segment>,
}

impl Buffer {
    /// One piece at the start of a page.
    pub(crate) fn allocate(bytes: usize) -> Result<Self, DmaError> {
        Self::scattered([(0, bytes)])
    }

    /// Pieces of the given lengths, each so many bytes after the start of a page.
    pub(crate) fn scattered(pieces: impl IntoIterator<Item = (usize, usize)>) -> Result<Self, DmaError> {
        let mut buffer = Self {
            pieces: Vec::new(),
            segments: Vec::new(),
        };
        for (offset, bytes) in pieces {
            let memory = DmaBuffer::allocate(&mut DmaMemory, offset + bytes, 1)?;
            let slice = memory.slice(offset, bytes).map_err(|_| DmaError::UnsupportedLayout)?;
            buffer.segments.extend_from_slice(slice.segments());
            buffer.pieces.push(slice);
        }
        Ok(buffer)
    }

    /// Bytes in all pieces.
    pub(crate) fn len(&self) -> usize {
        self.total_bytes() as usize
    }

    /// The pieces.
    pub(crate) fn pieces(&self) -> &[DmaSlice] {
        &self.pieces
    }

    /// All bytes in a row.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let pieces: Vec<&[u8]> = self.pieces.iter().map(|piece| &piece[..]).collect();
        pieces.concat()
    }

    /// Fills the pieces in order, as far as `bytes` reach.
    pub(crate) fn copy_from(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        for piece in &mut self.pieces {
            let (part, after) = rest.split_at(piece.len().min(rest.len()));
            piece[..part.len()].copy_from_slice(part);
            rest = after;
        }
    }

    /// Fills the pieces with the pattern as if they started at `sector`.
    pub(crate) fn fill_with_pattern(&mut self, seed: u64, sector: u64) {
        let mut bytes = self.to_vec();
        pattern::fill(seed, sector, &mut bytes);
        self.copy_from(&bytes);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        for piece in self.pieces.drain(..) {
            DmaMemory.release(piece.into_buffer().into_region());
        }
    }
}

// SAFETY: a buffer owns the pieces that its segments describe, and hands them out to nothing but through a reference to itself,
// which there is none of while a driver owns it. The segments do not change, and a move leaves them on the heap.
unsafe impl DmaSegments for Buffer {
    fn segments(&self) -> &[Segment] {
        &self.segments
    }
}
