//! What to do next, at random.

use guest_protocol::SectorRange;
use heapless::HistoryBuf;

use crate::random::Random;

/// Longest request, in sectors.
pub(super) const MAX_REQUEST_SECTORS: u64 = 64;
/// Elements of the largest vector.
pub(super) const MAX_ELEMENTS_PER_REQUEST: usize = 8;
/// Writes that are remembered, for reads to go to.
const REMEMBERED_WRITES: usize = 32;

/// What kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Read.
    Read,
    /// Write.
    Write {
        /// Past every cache.
        force: bool,
    },
    /// Have sectors zeroed by the device.
    Zero,
    /// Have caches written back.
    Flush,
}

/// A request to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    /// What to do.
    pub(super) kind: Kind,
    /// Where; empty for a flush.
    pub(super) range: SectorRange,
    /// Sectors of each element of the vector. With one, it is no vector.
    pub(super) elements: heapless::Vec<u64, MAX_ELEMENTS_PER_REQUEST>,
}

impl Operation {
    /// A request for one piece of memory.
    pub(super) fn simple(kind: Kind, range: SectorRange) -> Self {
        Self {
            kind,
            range,
            elements: heapless::Vec::from_slice(&[range.count]).unwrap_or_default(),
        }
    }

    /// Whether it changes sectors.
    pub(super) fn is_write(&self) -> bool {
        matches!(self.kind, Kind::Write { .. } | Kind::Zero)
    }

    /// Whether both are about a sector.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.range.first < other.range.end() && other.range.first < self.range.end()
    }
}

/// The source of random operations.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    random: Random,
    range: SectorRange,
    /// The device can zero sectors.
    zeroes: bool,
    /// Ranges of the last writes that were drawn.
    written: HistoryBuf<SectorRange, REMEMBERED_WRITES>,
}

impl Choice {
    pub(super) const fn new(seed: u64, range: SectorRange) -> Self {
        Self {
            random: Random::new(seed),
            range,
            zeroes: true,
            written: HistoryBuf::new(),
        }
    }

    /// From here on nothing is to be zeroed: the device has no command for it.
    pub(super) const fn zero_nothing(&mut self) {
        self.zeroes = false;
    }

    /// Any request within the range.
    pub(super) fn draw(&mut self) -> Operation {
        let kind = match self.random.below(40) {
            0 => Kind::Flush,
            1 if self.zeroes => Kind::Zero,
            1..=18 => Kind::Read,
            number => Kind::Write { force: number > 37 },
        };
        if kind == Kind::Flush {
            let first = self.range.first;
            return Operation::simple(kind, SectorRange { first, count: 0 });
        }
        let count = self.count();
        let range = match kind {
            Kind::Read => self.read(count),
            _ => self.write(count),
        };
        let mut operation = Operation::simple(kind, range);
        if kind != Kind::Zero && self.random.one_in(3) {
            operation.elements = self.split(count);
        }
        operation
    }

    /// Sizes that file systems use, short ones, and all others.
    fn count(&mut self) -> u64 {
        let most = MAX_REQUEST_SECTORS.min(self.range.count);
        match self.random.below(4) {
            0 => 8.min(most),
            1 | 2 => 1 + self.random.below(12.min(most)),
            _ => 1 + self.random.below(most),
        }
    }

    /// Where to read: near one of the last writes, mostly.
    fn read(&mut self, count: u64) -> SectorRange {
        let nth = self.random.below(REMEMBERED_WRITES as u64) as usize;
        let Some(written) = self.written.as_slice().get(nth).copied() else {
            return self.anywhere(count);
        };
        let sector = written.first + self.random.below(written.count);
        self.place(sector, count)
    }

    /// Where to write: after the write before, over one of the writes before, or anywhere.
    fn write(&mut self, count: u64) -> SectorRange {
        let last = self.written.recent().copied();
        let range = match (self.random.below(3), last) {
            (0, Some(last)) if last.end() + count <= self.range.end() => SectorRange {
                first: last.end(),
                count,
            },
            (1, _) => self.read(count),
            _ => self.anywhere(count),
        };
        self.written.write(range);
        range
    }

    fn anywhere(&mut self, count: u64) -> SectorRange {
        let first = self.range.first + self.random.below(self.range.count - count + 1);
        SectorRange { first, count }
    }

    /// So many sectors about a place.
    fn place(&mut self, sector: u64, count: u64) -> SectorRange {
        let first = sector.saturating_sub(self.random.below(count));
        let last = self.range.end() - count;
        SectorRange {
            first: first.clamp(self.range.first, last),
            count,
        }
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
