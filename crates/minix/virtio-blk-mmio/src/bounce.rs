//! Bounce buffers: memory of the service for what the device cannot be given where it is.

use heapless::Vec;
use minix_blockdriver::{BOUNCE_BYTES, BounceBuffer};
use virtio_core::{Dma, DmaBuffer, DmaError, DmaSegments as _, Segment};

/// Bounce buffers, if there is memory for them. With one everything works, only slower.
const BUFFERS: usize = 8;

/// A buffer, and whether a request in flight has it.
struct Buffer {
    memory: DmaBuffer,
    is_lent: bool,
}

/// The buffers, by number. As long as a request in flight has one, its bytes are the device's.
pub(crate) struct BounceBuffers(Vec<Buffer, BUFFERS>);

impl BounceBuffers {
    /// Allocates the first buffer.
    ///
    /// # Errors
    ///
    /// Those of [`Dma::allocate`].
    pub(crate) fn allocate(dma: &mut impl Dma) -> Result<Self, DmaError> {
        let mut buffers = Self(Vec::new());
        buffers.add(dma)?;
        Ok(buffers)
    }

    /// Allocates the others, as many as there is memory for. Each is on its own, so none needs much in one piece.
    pub(crate) fn extend(&mut self, dma: &mut impl Dma) {
        while !self.0.is_full() && self.add(dma).is_ok() {}
    }

    fn add(&mut self, dma: &mut impl Dma) -> Result<(), DmaError> {
        let memory = DmaBuffer::allocate(dma, BOUNCE_BYTES, 4096)?;
        // It is not full.
        let _ = self.0.push(Buffer { memory, is_lent: false });
        Ok(())
    }

    pub(crate) fn count(&self) -> u8 {
        // At most eight.
        self.0.len() as u8
    }

    /// The bytes of a buffer that no request in flight has.
    pub(crate) fn bytes(&mut self, buffer: BounceBuffer) -> Option<&mut [u8; BOUNCE_BYTES]> {
        self.free(buffer)?.memory.first_chunk_mut()
    }

    /// Lends the first `bytes` bytes of a buffer to a request, until [`put_back`](Self::put_back). `None` if there is no such
    /// buffer, a request in flight has it, or it is not so large.
    pub(crate) fn lend(&mut self, buffer: BounceBuffer, bytes: usize) -> Option<Segment> {
        let buffer = self.free(buffer)?;
        let all = buffer.memory.segments().first()?;
        let bytes = u32::try_from(bytes).ok().filter(|&bytes| bytes <= all.len)?;
        let segment = Segment::new(all.addr, bytes);
        buffer.is_lent = true;
        Some(segment)
    }

    /// The request that had the buffer is over, and the device does not use it any more.
    pub(crate) fn put_back(&mut self, buffer: BounceBuffer) {
        if let Some(buffer) = self.0.get_mut(usize::from(buffer.0)) {
            buffer.is_lent = false;
        }
    }

    fn free(&mut self, buffer: BounceBuffer) -> Option<&mut Buffer> {
        self.0.get_mut(usize::from(buffer.0)).filter(|buffer| !buffer.is_lent)
    }
}
