//! What to ask for next, at random.

use guest_protocol::{Ask, SectorRange};

use crate::random::Random;

/// Longest request, in sectors.
pub(super) const MAX_SECTORS: u64 = 24;

/// Which requests are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mix {
    /// The disk stays open.
    Open,
    /// It is closed and opened again.
    Closing,
}

/// The source of requests.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    random: Random,
    range: SectorRange,
    mix: Mix,
}

impl Choice {
    pub(super) const fn new(seed: u64, range: SectorRange, mix: Mix) -> Self {
        Self {
            random: Random::new(seed),
            range,
            mix,
        }
    }

    /// Any request. Most are plain writes: they are what a missing flush loses.
    pub(super) fn draw(&mut self) -> (Ask, SectorRange) {
        let ask = match (self.random.below(48), self.mix) {
            (0..=3, Mix::Closing) => Ask::Close,
            (0..=7, _) => Ask::Flush,
            (8..=15, _) => Ask::Force,
            (16..=17, _) => Ask::Zero,
            (18..=19, _) => Ask::Discard,
            _ => Ask::Write,
        };
        let range = match ask {
            Ask::Open | Ask::Close | Ask::Flush => SectorRange::default(),
            Ask::Write | Ask::Force | Ask::Zero | Ask::Discard => self.place(),
        };
        (ask, range)
    }

    /// One sector, the page of a file system, or anything else.
    fn place(&mut self) -> SectorRange {
        let most = MAX_SECTORS.min(self.range.count);
        let count = match self.random.below(4) {
            0 => 1,
            1 => 8.min(most),
            _ => 1 + self.random.below(most),
        };
        let first = self.range.first + self.random.below(self.range.count - count + 1);
        SectorRange { first, count }
    }

    /// How many sectors of so many the first of two pieces of memory has; none: they are one piece.
    pub(super) fn cut(&mut self, sectors: u64) -> Option<u64> {
        (sectors > 1 && self.random.one_in(3)).then(|| 1 + self.random.below(sectors - 1))
    }
}
