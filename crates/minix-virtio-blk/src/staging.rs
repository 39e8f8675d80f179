//! Staging memory: what is copied together because the device cannot be given it where it is.

use heapless::Vec;
use minix_abi::kernel_call::PhysRange;
use minix_blockdriver::{STAGING_BYTES, StagingBlock};
use virtio_core::{Dma, DmaBuffer, DmaError, Segment};

/// Blocks of staging memory.
pub(crate) const STAGING_BLOCKS: usize = 8;

/// A block, and how many segments of requests in flight lie in it.
struct Block {
    buffer: DmaBuffer,
    users: u32,
}

/// The blocks. As long as a request in flight has a segment in one, its bytes are the device's.
pub(crate) struct Staging(Vec<Block, STAGING_BLOCKS>);

impl Staging {
    /// Allocates all blocks.
    ///
    /// # Errors
    ///
    /// Those of [`Dma::allocate`].
    pub(crate) fn allocate(dma: &mut impl Dma) -> Result<Self, DmaError> {
        let mut blocks = Vec::new();
        while !blocks.is_full() {
            let buffer = DmaBuffer::allocate(dma, STAGING_BYTES, 4096)?;
            // It is not full.
            let _ = blocks.push(Block { buffer, users: 0 });
        }
        Ok(Self(blocks))
    }

    /// The bytes of a block that no request in flight uses.
    pub(crate) fn bytes(&mut self, block: StagingBlock) -> Option<&mut [u8; STAGING_BYTES]> {
        let block = self.0.get_mut(usize::from(block.0)).filter(|block| block.users == 0)?;
        block.buffer.first_chunk_mut()
    }

    /// Where devices find a block.
    pub(crate) fn range(&self, block: StagingBlock) -> Option<PhysRange> {
        let segment = segment_of(self.0.get(usize::from(block.0))?)?;
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
        self.count(segments, |users| *users -= 1);
    }

    fn count(&mut self, segments: &[Segment], mut change: impl FnMut(&mut u32)) {
        for segment in segments {
            for block in &mut self.0 {
                if segment_of(block).is_some_and(|own| overlap(own, *segment)) {
                    change(&mut block.users);
                }
            }
        }
    }
}

fn segment_of(block: &Block) -> Option<Segment> {
    use virtio_core::DmaSegments as _;
    block.buffer.segments().first().copied()
}

/// Whether two segments share a byte.
fn overlap(one: Segment, other: Segment) -> bool {
    // An end can lie just behind the last address.
    let end = |segment: Segment| u128::from(segment.addr.get()) + u128::from(segment.len);
    u128::from(one.addr.get()) < end(other) && u128::from(other.addr.get()) < end(one)
}
