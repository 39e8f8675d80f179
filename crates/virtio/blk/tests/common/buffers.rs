//! Data buffers in any number of pieces, with a watch on the bytes around them.

pub(crate) use virtio_blk_model::pattern;
use virtio_core::{DeviceAddr, Dma, DmaBuffer, DmaSegments, DmaSlice, Segment};

/// Bytes before and after every piece that must not be written. Odd, so that pieces are aligned to nothing.
const MARGIN: usize = 13;
const MARGIN_BYTE: u8 = 0xA5;

/// One buffer in pieces that lie apart from each other. A piece may be empty.
#[derive(Debug)]
pub(crate) struct Scatter {
    pieces: Vec<DmaSlice>,
    segments: Vec<Segment>,
}

impl Scatter {
    /// Pieces of these lengths in bytes.
    pub(crate) fn new(dma: &mut impl Dma, lengths: &[usize]) -> Self {
        let (mut pieces, mut segments) = (Vec::new(), Vec::new());
        for &len in lengths {
            if len == 0 {
                segments.push(Segment::new(DeviceAddr(0x7777), 0));
                continue;
            }
            let mut buffer = DmaBuffer::allocate(dma, len + 2 * MARGIN, 1).expect("there is memory");
            buffer.fill(MARGIN_BYTE);
            let piece = buffer.slice(MARGIN, len).expect("inside the buffer");
            segments.extend_from_slice(piece.segments());
            pieces.push(piece);
        }
        Self { pieces, segments }
    }

    /// Puts `content` into the pieces, in order.
    pub(crate) fn fill(&mut self, content: &[u8]) {
        let mut rest = content;
        for piece in &mut self.pieces {
            let (now, later) = rest.split_at(piece.len());
            piece.copy_from_slice(now);
            rest = later;
        }
        assert!(rest.is_empty(), "the content is as long as the buffer");
    }

    /// What is in the pieces, in order.
    pub(crate) fn content(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|piece| piece.to_vec()).collect()
    }

    /// Gives the memory back, and makes sure that nothing around the pieces was written.
    pub(crate) fn release(self, dma: &mut impl Dma) {
        for piece in self.pieces {
            let len = piece.len();
            let buffer = piece.into_buffer();
            let (before, rest) = buffer.split_at(MARGIN);
            let around = before.iter().chain(&rest[len..]);
            assert!(
                around.copied().all(|byte| byte == MARGIN_BYTE),
                "written outside of the piece"
            );
            dma.release(buffer.into_region());
        }
    }
}

// SAFETY: the pieces are owned, do not move with the value, and the list is never changed.
unsafe impl DmaSegments for Scatter {
    fn segments(&self) -> &[Segment] {
        &self.segments
    }
}
