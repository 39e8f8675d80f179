//! The data of a request: a bounce buffer, or memory of the caller that the device can be given.

use virtio_core::{DmaSegments, Segment};

use crate::BounceBlock;

/// The buffer type of a disk that takes both: data by way of a bounce buffer, and data in DMA memory of the caller.
#[derive(Debug)]
pub enum BounceOr<B> {
    /// The data is copied to or from a block of a pool.
    Bounce(BounceBlock),
    /// The device works on the memory of the caller.
    Direct(B),
}

// SAFETY: the segments are those of the buffer that the value owns, and which one that is does not change while a driver has it.
unsafe impl<B: DmaSegments> DmaSegments for BounceOr<B> {
    #[inline]
    fn segments(&self) -> &[Segment] {
        match self {
            Self::Bounce(block) => block.segments(),
            Self::Direct(buffer) => buffer.segments(),
        }
    }
}
