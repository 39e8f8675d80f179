//! The content that each sector has to have.

use guest_protocol::SectorRange;
use zerocopy::FromZeros;

/// The number of a write. 0 is none: the content is unknown.
type Tag = u32;
const UNKNOWN: Tag = 0;
/// Sectors were zeroed: whichever request did it, they hold the same.
const ZEROED: Tag = Tag::MAX;

/// What a sector has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The pattern of a seed.
    Pattern(u64),
    Zeroes,
}

/// When something happened, counted in events of the ledger.
pub(super) type Moment = u32;
/// When the write has not been acknowledged.
const PENDING: Moment = Moment::MAX;

/// The writes to one sector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
pub(super) struct SectorState {
    /// The last write that was sent.
    latest: Tag,
    /// The one before.
    former: Tag,
    /// When the last one was acknowledged.
    acknowledged: Moment,
}

impl SectorState {
    /// Never written here.
    const UNTOUCHED: Self = Self {
        latest: UNKNOWN,
        former: UNKNOWN,
        acknowledged: 0,
    };

    /// Written, and it went wrong.
    const SPOILT: Self = Self {
        acknowledged: PENDING,
        ..Self::UNTOUCHED
    };
}

/// The account of a range of sectors.
#[derive(Debug)]
pub(super) struct SectorLedger<'t> {
    first: u64,
    sectors: &'t mut [SectorState],
    seed: u64,
    last_tag: Tag,
    now: Moment,
}

impl<'t> SectorLedger<'t> {
    /// An account of the sectors from `first` on, as many as there are entries, which are untouched.
    pub(super) fn new(first: u64, sectors: &'t mut [SectorState], seed: u64) -> Self {
        Self {
            first,
            sectors,
            seed,
            last_tag: UNKNOWN,
            now: 0,
        }
    }

    /// The sectors it is about.
    pub(super) fn range(&self) -> SectorRange {
        SectorRange {
            first: self.first,
            count: self.sectors.len() as u64,
        }
    }

    /// The time, which every call advances.
    pub(super) fn tick(&mut self) -> Moment {
        // A run would have to go on for four billion requests.
        self.now = self.now.wrapping_add(1) % PENDING;
        self.now
    }

    /// A write is about to be sent. Returns its number, which [`seed`](Self::seed) makes a seed of. No other write may be
    /// outstanding in the range.
    pub(super) fn begin_write(&mut self, range: SectorRange) -> u32 {
        self.last_tag = (self.last_tag + 1) % ZEROED;
        self.last_tag = self.last_tag.max(1);
        self.begin(range, self.last_tag);
        self.last_tag
    }

    /// A request that zeroes sectors is about to be sent. No write may be outstanding in the range.
    pub(super) fn begin_zero(&mut self, range: SectorRange) {
        self.begin(range, ZEROED);
    }

    fn begin(&mut self, range: SectorRange, tag: Tag) {
        for sector in self.states_mut(range) {
            *sector = SectorState {
                latest: tag,
                former: sector.latest,
                acknowledged: PENDING,
            };
        }
    }

    /// The write that was sent last to this range has been acknowledged.
    pub(super) fn acknowledge_write(&mut self, range: SectorRange) {
        let now = self.tick();
        for sector in self.states_mut(range) {
            sector.acknowledged = now;
        }
    }

    /// The write that was sent last to this range went wrong: its content is unknown.
    pub(super) fn spoil(&mut self, range: SectorRange) {
        self.states_mut(range).fill(SectorState::SPOILT);
    }

    /// The seed of the pattern of a write.
    pub(super) fn seed(&self, write: u32) -> u64 {
        // Odd, hence different for each number; and different in the upper half, as the patterns like it.
        self.seed ^ u64::from(write).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn content(&self, tag: Tag) -> Content {
        match tag {
            ZEROED => Content::Zeroes,
            write => Content::Pattern(self.seed(write)),
        }
    }

    /// Checks the data of a read that was sent at a certain moment. `holds` tells whether the sector (its place in
    /// the range, and its number) holds that. The error is the first wrong sector.
    pub(super) fn check_read(
        &self,
        range: SectorRange,
        since: Moment,
        mut holds: impl FnMut(usize, u64, Content) -> bool,
    ) -> Result<(), u64> {
        let states = self.states(range).iter();
        for ((place, sector), state) in (0..).zip(range.first..).zip(states) {
            if state.latest == UNKNOWN {
                continue;
            }
            // Outstanding while the read was.
            let old_allowed = state.acknowledged == PENDING || state.acknowledged > since;
            if holds(place, sector, self.content(state.latest)) {
                continue;
            }
            let is_old = old_allowed && (state.former == UNKNOWN || holds(place, sector, self.content(state.former)));
            if !is_old {
                return Err(sector);
            }
        }
        Ok(())
    }

    /// The first sectors from a certain one on that were ever written, at most so many, side by side.
    pub(super) fn written_from(&self, first: u64, most: u64) -> Option<SectorRange> {
        let range = self.range();
        let count = range.end().checked_sub(first)?;
        let states = self.states(SectorRange { first, count });
        let skipped = states.iter().position(|state| *state != SectorState::UNTOUCHED)?;
        let written = states[skipped..]
            .iter()
            .take_while(|state| **state != SectorState::UNTOUCHED);
        Some(SectorRange {
            first: first + skipped as u64,
            count: (written.count() as u64).min(most),
        })
    }

    /// Neighbouring sectors with the same content, and what that is; nothing where a write went wrong or is outstanding. Sectors
    /// that were never written are left out.
    pub(super) fn runs(&self) -> impl Iterator<Item = (SectorRange, Option<Content>)> + '_ {
        let mut rest = self.range();
        core::iter::from_fn(move || {
            loop {
                let states = self.states(rest);
                let state = states.first()?;
                let same = |other: &&SectorState| {
                    other.latest == state.latest && (other.acknowledged == PENDING) == (state.acknowledged == PENDING)
                };
                let count = states.iter().take_while(same).count() as u64;
                let range = SectorRange { count, ..rest };
                rest = SectorRange {
                    first: rest.first + count,
                    count: rest.count - count,
                };
                if *state != SectorState::UNTOUCHED {
                    let content = (state.acknowledged != PENDING).then(|| self.content(state.latest));
                    return Some((range, content));
                }
            }
        })
    }

    fn states(&self, range: SectorRange) -> &[SectorState] {
        let place = self.place(range);
        self.sectors.get(place).unwrap_or(&[])
    }

    fn states_mut(&mut self, range: SectorRange) -> &mut [SectorState] {
        let place = self.place(range);
        self.sectors.get_mut(place).unwrap_or(&mut [])
    }

    /// A range that is not inside is empty here.
    fn place(&self, range: SectorRange) -> core::ops::Range<usize> {
        if !self.range().contains(range) {
            return 0..0;
        }
        let from = (range.first - self.first) as usize;
        from..from + range.count as usize
    }
}
