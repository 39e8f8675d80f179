//! What the guest says it did to the disk: for every sector, the last thing that happened to it.

use std::collections::BTreeMap;

use guest_protocol::SectorRange;

/// What a sector should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// `pattern(seed, sector)`.
    Pattern { seed: u64 },
    /// Zeros.
    Zeros,
    /// Anything.
    Undefined,
}

/// The sectors that were changed, as runs that do not overlap: first sector to (end, state).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    runs: BTreeMap<u64, (u64, State)>,
}

impl Ledger {
    /// Takes in that something happened to a range.
    pub(crate) fn set(&mut self, range: SectorRange, state: State) {
        if range.count == 0 {
            return;
        }
        let (first, end) = (range.first, range.end());
        // What reaches into the range from before it is cut short; its rest after the range, if any, stays.
        if let Some((&start, &(old_end, old))) = self.runs.range(..first).next_back()
            && old_end > first
        {
            self.runs.insert(start, (first, old));
            if old_end > end {
                self.runs.insert(end, (old_end, old));
            }
        }
        // What starts inside the range goes, except for a rest after it.
        let inside: Vec<u64> = self.runs.range(first..end).map(|(&start, _)| start).collect();
        for start in inside {
            if let Some((old_end, old)) = self.runs.remove(&start)
                && old_end > end
            {
                self.runs.insert(end, (old_end, old));
            }
        }
        self.runs.insert(first, (end, state));
    }

    /// What the sector should hold; None if nothing happened to it.
    pub(crate) fn state(&self, sector: u64) -> Option<State> {
        let (_, &(end, state)) = self.runs.range(..=sector).next_back()?;
        (sector < end).then_some(state)
    }

    /// The ranges of which something definite is said.
    pub(crate) fn defined(&self) -> impl Iterator<Item = SectorRange> {
        let defined = self.runs.iter().filter(|(_, (_, state))| *state != State::Undefined);
        defined.map(|(&first, &(end, _))| SectorRange {
            first,
            count: end - first,
        })
    }

    /// How many sectors were changed.
    #[cfg(test)]
    pub(crate) fn sectors(&self) -> u64 {
        self.runs.iter().map(|(first, (end, _))| end - first).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ledger against the obvious implementation, over many small random histories.
    #[test]
    fn the_last_change_of_each_sector_counts() {
        let mut random = 1_u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for _ in 0..500 {
            let mut ledger = Ledger::default();
            let mut plain = [None; 40];
            for _ in 0..12 {
                let range = SectorRange {
                    first: next(36),
                    count: next(9),
                };
                let state = match next(3) {
                    0 => State::Zeros,
                    1 => State::Undefined,
                    _ => State::Pattern { seed: next(1000) },
                };
                ledger.set(range, state);
                for sector in range.first..range.end().min(40) {
                    plain[sector as usize] = Some(state);
                }
            }
            for (sector, state) in plain.iter().enumerate() {
                assert_eq!(ledger.state(sector as u64), *state);
            }
            let beyond = (40..60).filter(|sector| ledger.state(*sector).is_some()).count();
            assert_eq!(ledger.sectors(), (plain.iter().flatten().count() + beyond) as u64);
        }
    }

    #[test]
    fn what_is_defined_is_where_something_is_said() {
        let range = |first, count| SectorRange { first, count };
        let mut ledger = Ledger::default();
        ledger.set(range(10, 10), State::Zeros);
        ledger.set(range(12, 3), State::Undefined);
        ledger.set(range(30, 0), State::Zeros);
        assert_eq!(ledger.defined().collect::<Vec<_>>(), [range(10, 2), range(15, 5)]);
    }
}
