//! What to do next, by lot.

use guest_protocol::SectorRange;

use crate::random::Random;

/// Longest request, in sectors.
pub const MAX_REQUEST_SECTORS: u64 = 64;
/// Elements of the largest vector.
pub const MAX_ELEMENTS_PER_REQUEST: usize = 8;

/// What kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Read.
    Read,
    /// Write.
    Write {
        /// Past every cache.
        force: bool,
    },
    /// Have caches written back.
    Flush,
}

/// A request, before it is known which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What to do.
    pub kind: Kind,
    /// Where; empty for a flush.
    pub range: SectorRange,
    /// Sectors of each element of the vector. With one, it is no vector.
    pub elements: heapless::Vec<u64, MAX_ELEMENTS_PER_REQUEST>,
}

impl Operation {
    /// A request for one piece of memory.
    pub fn simple(kind: Kind, range: SectorRange) -> Self {
        Self {
            kind,
            range,
            elements: heapless::Vec::from_slice(&[range.count]).unwrap_or_default(),
        }
    }

    /// Whether it writes.
    pub fn is_write(&self) -> bool {
        matches!(self.kind, Kind::Write { .. })
    }

    /// Whether both are about a sector.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.range.first < other.range.end() && other.range.first < self.range.end()
    }
}

/// The lot.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    random: Random,
    range: SectorRange,
    /// The end of the write before: whoever writes likes to go on there.
    last_end: u64,
}

impl Choice {
    pub(super) const fn new(seed: u64, range: SectorRange) -> Self {
        Self {
            random: Random::new(seed),
            range,
            last_end: range.first,
        }
    }

    /// Any request within the range.
    pub(super) fn draw(&mut self) -> Operation {
        let kind = match self.random.below(40) {
            0 => Kind::Flush,
            1..=18 => Kind::Read,
            number => Kind::Write { force: number > 37 },
        };
        if kind == Kind::Flush {
            let first = self.range.first;
            return Operation::simple(kind, SectorRange { first, count: 0 });
        }
        let most = MAX_REQUEST_SECTORS.min(self.range.count);
        let count = match self.random.below(4) {
            // The sizes that file systems use, then everything.
            0 => 8.min(most),
            1 => 1 + self.random.below(8.min(most)),
            _ => 1 + self.random.below(most),
        };
        let goes_on = kind != Kind::Read && self.random.one_in(3) && self.last_end + count <= self.range.end();
        let first = if goes_on {
            self.last_end
        } else {
            self.range.first + self.random.below(self.range.count - count + 1)
        };
        if kind != Kind::Read {
            self.last_end = first + count;
        }
        let mut operation = Operation::simple(kind, SectorRange { first, count });
        if self.random.one_in(3) {
            operation.elements = self.split(count);
        }
        operation
    }

    /// Splits so many sectors into elements of any sizes.
    fn split(&mut self, mut sectors: u64) -> heapless::Vec<u64, MAX_ELEMENTS_PER_REQUEST> {
        let mut elements = heapless::Vec::new();
        while sectors > 0 {
            let is_last = elements.len() + 1 == MAX_ELEMENTS_PER_REQUEST;
            let part = if is_last {
                sectors
            } else {
                1 + self.random.below(sectors)
            };
            sectors -= part;
            // There is room: the last element takes all that is left.
            let _ = elements.push(part);
        }
        elements
    }
}
