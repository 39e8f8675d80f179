//! How long requests take, by kind.

use super::histogram::Histogram;
use crate::device::{Direction, RangeOperation};

/// What a request does, as far as its latency is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A transfer from the disk.
    Read,
    /// A transfer to the disk.
    Write,
    /// A flush of the write cache.
    Flush,
    /// Sectors are discarded.
    Discard,
    /// Zeroes are written by a command.
    Zero,
    /// Sectors are erased for good.
    Erase,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Write,
        Self::Flush,
        Self::Discard,
        Self::Zero,
        Self::Erase,
    ];
}

impl From<Direction> for Kind {
    #[inline(always)]
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Read => Self::Read,
            Direction::Write => Self::Write,
        }
    }
}

impl From<RangeOperation> for Kind {
    fn from(operation: RangeOperation) -> Self {
        match operation {
            RangeOperation::Discard => Self::Discard,
            RangeOperation::WriteZeroes { .. } => Self::Zero,
            RangeOperation::Erase => Self::Erase,
        }
    }
}

/// How long requests took since the driver was made.
///
/// A read or write of a client counts once, from the arrival of its message to the answer, whatever that is; only what fails
/// its checks does not count. So it has the time in which it waited for others in it. The rest are commands: each
/// counts once, from its submission to its completion, whether a client asked for it or the driver.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    kinds: [Histogram; Kind::ALL.len()],
}

impl Latencies {
    /// Without requests.
    pub const fn new() -> Self {
        Self {
            kinds: [Histogram::new(); Kind::ALL.len()],
        }
    }

    /// Records a request that is over, and how many microseconds it took.
    pub fn record(&mut self, kind: Kind, micros: u64) {
        self.kinds[kind as usize].record(micros);
    }

    /// Records a request if it took about as long as the one of its kind before. Whether it did.
    #[inline(always)]
    pub(crate) fn record_like_last(&mut self, kind: Kind, micros: u64) -> bool {
        self.kinds[kind as usize].record_like_last(micros)
    }

    /// Records a request that did not take about as long as the one of its kind before.
    #[inline(always)]
    pub(crate) fn record_elsewhere(&mut self, kind: Kind, micros: u64) {
        self.kinds[kind as usize].record_elsewhere(micros);
    }

    /// How long those of a kind took.
    pub const fn of(&self, kind: Kind) -> &Histogram {
        &self.kinds[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_apart() {
        let mut latencies = Latencies::new();
        for (nth, kind) in (1..).zip(Kind::ALL) {
            (0..nth).for_each(|_| latencies.record(kind, nth * 100));
        }
        let totals = Kind::ALL.map(|kind| latencies.of(kind).total());
        assert_eq!(totals, [1, 2, 3, 4, 5, 6]);
    }
}
