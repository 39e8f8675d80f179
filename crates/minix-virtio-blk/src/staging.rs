//! Staging memory: what is copied together because the device cannot be given it where it is.

use heapless::Vec;
use minix_abi::kernel_call::PhysRange;
use minix_blockdriver::{STAGING_BYTES, StagingBlock};
use virtio_core::{Dma, DmaBuffer, DmaError, DmaSegments as _, Segment};

/// Blocks of staging memory, if there is memory for them. One does, it only takes turns.
const STAGING_BLOCKS: usize = 8;

/// A block, and how many segments of requests in flight lie in it.
struct Block {
    buffer: DmaBuffer,
    users: u32,
}

/// The blocks. As long as a request in flight has a segment in one, its bytes are the device's.
pub(crate) struct Staging {
    blocks: Vec<Block, STAGING_BLOCKS>,
    /// Device address of the first byte of the lowest block, and of the first one behind the highest. Memory of clients hardly ever
    /// lies in between, and is told apart by this.
    bounds: (u64, u64),
}

impl Staging {
    /// Allocates the first block.
    ///
    /// # Errors
    ///
    /// Those of [`Dma::allocate`].
    pub(crate) fn allocate(dma: &mut impl Dma) -> Result<Self, DmaError> {
        let mut staging = Self {
            blocks: Vec::new(),
            bounds: (u64::MAX, 0),
        };
        staging.add(dma)?;
        Ok(staging)
    }

    /// Allocates the others, as many as there is memory for. Each is on its own, so none needs much in one piece.
    pub(crate) fn extend(&mut self, dma: &mut impl Dma) {
        while !self.blocks.is_full() && self.add(dma).is_ok() {}
    }

    fn add(&mut self, dma: &mut impl Dma) -> Result<(), DmaError> {
        let buffer = DmaBuffer::allocate(dma, STAGING_BYTES, 4096)?;
        for segment in buffer.segments() {
            let (low, high) = self.bounds;
            self.bounds = (low.min(segment.addr.get()), high.max(end(*segment)));
        }
        // It is not full.
        let _ = self.blocks.push(Block { buffer, users: 0 });
        Ok(())
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> u8 {
        // At most eight.
        self.blocks.len() as u8
    }

    /// The bytes of a block that no request in flight uses.
    pub(crate) fn bytes(&mut self, block: StagingBlock) -> Option<&mut [u8; STAGING_BYTES]> {
        let block = self
            .blocks
            .get_mut(usize::from(block.0))
            .filter(|block| block.users == 0)?;
        block.buffer.first_chunk_mut()
    }

    /// Where devices find a block.
    pub(crate) fn range(&self, block: StagingBlock) -> Option<PhysRange> {
        let segment = segment_of(self.blocks.get(usize::from(block.0))?)?;
        Some(PhysRange {
            address: segment.addr.get(),
            bytes: u64::from(segment.len),
        })
    }

    /// Notes that a request with these segments is in flight.
    pub(crate) fn lend(&mut self, segments: &[Segment]) {
        self.count(segments, |users| *users += 1);
    }

    /// Notes that it is not any more.
    pub(crate) fn take_back(&mut self, segments: &[Segment]) {
        self.count(segments, |users| *users = users.saturating_sub(1));
    }

    fn count(&mut self, segments: &[Segment], mut change: impl FnMut(&mut u32)) {
        for segment in segments {
            let (low, high) = self.bounds;
            if segment.addr.get() >= high || end(*segment) <= low {
                continue;
            }
            for block in &mut self.blocks {
                if segment_of(block).is_some_and(|own| overlap(own, *segment)) {
                    change(&mut block.users);
                }
            }
        }
    }
}

fn segment_of(block: &Block) -> Option<Segment> {
    block.buffer.segments().first().copied()
}

/// Whether two segments share a byte.
fn overlap(one: Segment, other: Segment) -> bool {
    one.addr.get() < end(other) && other.addr.get() < end(one)
}

/// The address behind a segment. The very last address of all counts as behind it, and no memory is there.
fn end(segment: Segment) -> u64 {
    segment.addr.get().saturating_add(u64::from(segment.len))
}
