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

    /// Any request. Most of one that does not close the disk are plain writes, which are what a missing flush loses. One that does
    /// reads a lot: a reset that finds no write in flight must not make the driver forget those before.
    pub(super) fn draw(&mut self) -> (Ask, SectorRange) {
        let ask = match (self.mix, self.random.below(48)) {
            (Mix::Open, 0..=5) => Ask::Flush,
            (Mix::Open, 6..=13) => Ask::Force,
            (Mix::Open, 14..=17) => Ask::Read,
            (Mix::Closing, 0..=5) => Ask::Close,
            (Mix::Closing, 6..=7) => Ask::Flush,
            (Mix::Closing, 8..=11) => Ask::Force,
            (Mix::Closing, 12..=29) => Ask::Read,
            (_, 44..=45) => Ask::Zero,
            (_, 46..) => Ask::Discard,
            _ => Ask::Write,
        };
        let range = match ask {
            Ask::Open | Ask::Close | Ask::Flush => SectorRange::default(),
            Ask::Read | Ask::Write | Ask::Force | Ask::Zero | Ask::Discard => self.place(),
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
