//! One bounce buffer.

use core::ops::{Deref, DerefMut};

use virtio_core::{DmaBuffer, DmaSegments, DmaSlice, Segment};

/// A bounce buffer that was [taken](crate::BouncePool::take) out of a pool: DMA memory with one owner, which is the driver while a request
/// is in flight.
///
/// It is readable as a slice of those bytes that the next transfer has; [`set_len`](Self::set_len) chooses how many. It still holds what
/// the transfer before has left there.
///
/// A block that is dropped is lost to its pool, and its memory is not freed. So give it [back](crate::BouncePool::put_back).
#[derive(Debug)]
pub struct BounceBlock {
    memory: DmaSlice,
    /// Its place in the pool.
    pub(crate) place: usize,
}

impl BounceBlock {
    /// All of `memory` as the block of that place; `None` if it is empty.
    pub(crate) fn new(memory: DmaBuffer, place: usize) -> Result<Self, DmaBuffer> {
        let bytes = memory.len();
        let memory = memory.slice(0, bytes)?;
        Ok(Self { memory, place })
    }

    /// The memory.
    pub(crate) fn into_buffer(self) -> DmaBuffer {
        self.memory.into_buffer()
    }

    /// The CPU's address of the first byte, which no other memory has as long as this is there.
    pub(crate) fn start(&self) -> usize {
        self.memory.as_ptr().addr()
    }

    /// Bytes that a transfer can have at most.
    pub fn capacity(&self) -> usize {
        self.memory.buffer_len()
    }

    /// Lets the next transfer have the first `bytes` bytes of the block. Returns whether it can; if not, nothing has changed.
    ///
    /// It cannot if that is none, or more than its [`capacity`](Self::capacity).
    #[must_use]
    pub fn set_len(&mut self, bytes: usize) -> bool {
        self.memory.reslice(0, bytes)
    }
}

impl Deref for BounceBlock {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory
    }
}

impl DerefMut for BounceBlock {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

// SAFETY: the segments are those of a slice of DMA memory that the block owns.
unsafe impl DmaSegments for BounceBlock {
    #[inline]
    fn segments(&self) -> &[Segment] {
        self.memory.segments()
    }
}
