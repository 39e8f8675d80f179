//! Staging memory: what is copied together because the device cannot be given it where it is.

use heapless::Vec;
use minix_blockdriver::{STAGING_BYTES, StagingBlock};
use virtio_core::{Dma, DmaBuffer, DmaError, DmaSegments as _, Segment};

/// Blocks of staging memory, if there is memory for them. One does, it only takes turns.
const STAGING_BLOCKS: usize = 8;

/// A block, and whether a request in flight has it.
struct Block {
    buffer: DmaBuffer,
    is_lent: bool,
}

/// The blocks, by number. As long as a request in flight has one, its bytes are the device's.
pub(crate) struct Staging(Vec<Block, STAGING_BLOCKS>);

impl Staging {
    /// Allocates the first block.
    ///
    /// # Errors
    ///
    /// Those of [`Dma::allocate`].
    pub(crate) fn allocate(dma: &mut impl Dma) -> Result<Self, DmaError> {
        let mut staging = Self(Vec::new());
        staging.add(dma)?;
        Ok(staging)
    }

    /// Allocates the others, as many as there is memory for. Each is on its own, so none needs much in one piece.
    pub(crate) fn extend(&mut self, dma: &mut impl Dma) {
        while !self.0.is_full() && self.add(dma).is_ok() {}
    }

    fn add(&mut self, dma: &mut impl Dma) -> Result<(), DmaError> {
        let buffer = DmaBuffer::allocate(dma, STAGING_BYTES, 4096)?;
        // It is not full.
        let _ = self.0.push(Block { buffer, is_lent: false });
        Ok(())
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> u8 {
        // At most eight.
        self.0.len() as u8
    }

    /// The bytes of a block that no request in flight has.
    pub(crate) fn bytes(&mut self, block: StagingBlock) -> Option<&mut [u8; STAGING_BYTES]> {
        self.free(block)?.buffer.first_chunk_mut()
    }

    /// Lends the first `bytes` bytes of a block to a request, until [`take_back`](Self::take_back). `None` if there is no such
    /// block, a request in flight has it, or it is not so large.
    pub(crate) fn lend(&mut self, block: StagingBlock, bytes: usize) -> Option<Segment> {
        let block = self.free(block)?;
        let all = block.buffer.segments().first()?;
        let bytes = u32::try_from(bytes).ok().filter(|&bytes| bytes <= all.len)?;
        let segment = Segment::new(all.addr, bytes);
        block.is_lent = true;
        Some(segment)
    }

    /// The request that had the block is back, and the device does not use it any more.
    pub(crate) fn take_back(&mut self, block: StagingBlock) {
        if let Some(block) = self.0.get_mut(usize::from(block.0)) {
            block.is_lent = false;
        }
    }

    fn free(&mut self, block: StagingBlock) -> Option<&mut Block> {
        self.0.get_mut(usize::from(block.0)).filter(|block| !block.is_lent)
    }
}
