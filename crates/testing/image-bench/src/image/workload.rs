//! What is measured: the shape of a batch of requests.

use guest_protocol::Case;

/// Bytes of a sector.
pub(crate) const SECTOR_BYTES: usize = 512;

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

    /// The same, cut into so many segments.
    pub(crate) const fn in_segments(self, segments: usize) -> Self {
        Self { segments, ..self }
    }

    /// The case that this is for a contender.
    pub(crate) fn case<'a>(&self, contender: &'a str, mode: &'a str, chains: &'a str, buffer: &'a str) -> Case<'a> {
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
