//! What is measured: the shape of a batch of requests.

use guest_protocol::Case;

/// Bytes of a sector.
pub(crate) const SECTOR_BYTES: usize = 512;

/// Depths of batches.
pub(crate) const DEPTHS: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Segments of a request.
pub(crate) const SEGMENTS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// What the requests of a batch do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Read,
    Write,
    /// Reads and writes in turn.
    Mixed,
}

impl Operation {
    /// Whether request number `index` of a batch writes.
    #[inline]
    pub(crate) fn writes(self, index: usize) -> bool {
        match self {
            Operation::Read => false,
            Operation::Write => true,
            Operation::Mixed => index % 2 == 1,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Mixed => "mixed",
        }
    }
}

/// A batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) operation: Operation,
    /// Requests of the batch.
    pub(crate) depth: usize,
    /// Segments of a request.
    pub(crate) segments: usize,
    /// Bytes of a request, in all of its segments.
    pub(crate) bytes: usize,
}

impl Workload {
    /// Reads of 4 KiB in one segment.
    pub(crate) const fn reads(depth: usize) -> Self {
        Self {
            operation: Operation::Read,
            depth,
            segments: 1,
            bytes: 4096,
        }
    }

    /// The same with another operation.
    pub(crate) const fn of(self, operation: Operation) -> Self {
        Self { operation, ..self }
    }

    /// Requests of so many segments of 4 KiB.
    pub(crate) const fn of_segments(self, segments: usize) -> Self {
        Self {
            segments,
            bytes: 4096 * segments,
            ..self
        }
    }

    /// Requests of so many bytes in one segment.
    pub(crate) const fn of_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// The case that this is for a contender.
    pub(crate) fn case(
        &self,
        contender: &'static str,
        mode: &'static str,
        chains: &'static str,
        buffer: &'static str,
    ) -> Case<'static> {
        Case {
            contender,
            operation: self.operation.name(),
            mode,
            chains,
            buffer,
            depth: self.depth as u32,
            segments: self.segments as u32,
            bytes: self.bytes as u32,
        }
    }
}
