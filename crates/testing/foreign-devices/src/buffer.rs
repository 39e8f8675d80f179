//! Data buffers cut into pieces that lie in any order, with guard bytes around each.

use anyhow::{Result, anyhow, ensure};
use fastrand::Rng;
use virtio_core::{Dma, DmaBuffer, DmaSegments, Segment};

/// Bytes before and after each piece.
const MARGIN: usize = 16;
const MARGIN_BYTE: u8 = 0xA5;

/// Pieces of a buffer at most, and bytes of data.
const MOST_PIECES: usize = 6;
pub(crate) const MOST_BYTES: usize = 64 * 512;

/// A buffer and the pieces of it that a request uses, in the order of the data.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: DmaBuffer,
    /// Offset and length of each piece.
    pieces: Vec<(usize, usize)>,
    segments: Vec<Segment>,
}

impl Buffer {
    pub(crate) fn new(dma: &mut impl Dma) -> Result<Self> {
        let bytes = MOST_BYTES + (MOST_PIECES + 1) * MARGIN;
        let memory = DmaBuffer::allocate(dma, bytes, 8).map_err(|error| anyhow!("no memory for buffers: {error}"))?;
        Ok(Self {
            memory,
            pieces: Vec::new(),
            segments: Vec::new(),
        })
    }

    /// Cuts out pieces of `bytes` in all, at most `most` of them.
    pub(crate) fn cut(&mut self, random: &mut Rng, bytes: usize, most: usize) {
        let count = random.usize(1..=most.min(MOST_PIECES));
        let mut ends: Vec<usize> = (1..count).map(|_| random.usize(1..bytes)).collect();
        ends.push(bytes);
        ends.sort_unstable();
        ends.dedup();
        let lengths: Vec<usize> = ends
            .iter()
            .scan(0, |start, &end| Some(end - std::mem::replace(start, end)))
            .collect();
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        random.shuffle(&mut order);
        self.pieces = vec![(0, 0); lengths.len()];
        let mut at = MARGIN;
        for nth in order {
            self.pieces[nth] = (at, lengths[nth]);
            at += lengths[nth] + MARGIN;
        }
        self.memory[..at].fill(MARGIN_BYTE);
        let start = self.memory.segments()[0].addr;
        let segment = |&(at, len): &(usize, usize)| Segment::new(start.wrapping_add(at as u64), len as u32);
        self.segments = self.pieces.iter().map(segment).collect();
    }

    /// Puts `content` into the pieces.
    pub(crate) fn fill(&mut self, content: &[u8]) {
        let mut done = 0;
        for &(at, len) in &self.pieces {
            self.memory[at..at + len].copy_from_slice(&content[done..done + len]);
            done += len;
        }
    }

    /// Appends what is in the pieces.
    pub(crate) fn content(&self, into: &mut Vec<u8>) {
        into.clear();
        for &(at, len) in &self.pieces {
            into.extend_from_slice(&self.memory[at..at + len]);
        }
    }

    /// Looks at the bytes around the pieces.
    pub(crate) fn check_margins(&self) -> Result<()> {
        for &(at, len) in &self.pieces {
            let around = self.memory[at - MARGIN..at]
                .iter()
                .chain(&self.memory[at + len..at + len + MARGIN]);
            ensure!(
                around.copied().all(|byte| byte == MARGIN_BYTE),
                "the device has written outside of a piece"
            );
        }
        Ok(())
    }

    pub(crate) fn release(self, dma: &mut impl Dma) {
        dma.release(self.memory.into_region());
    }
}

// SAFETY: the memory is owned and stays where it is when the value moves, the segments lie inside it, and they change through an
// exclusive reference only, and a driver that owns the value leaves none.
unsafe impl DmaSegments for Buffer {
    fn segments(&self) -> &[Segment] {
        &self.segments
    }
}
