//! The host's own judgement of the disk after power-off.
//!
//! The guest says which sectors it changed, and to what. Every such sector must hold what was said, every other sector must
//! hold what it held before.

use anyhow::Result;
use guest_protocol::{SECTOR_BYTES, SectorRange, pattern};
use serde::Serialize;

use crate::disk::Source;
use crate::ledger::{Ledger, State};

/// Sectors read at a time.
const CHUNK: u64 = 2048;
/// How many differences are described in words.
const DESCRIBED: usize = 8;

/// What the comparison came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Comparison {
    /// Sectors looked at.
    pub(crate) compared: u64,
    /// Sectors the guest reported as changed, and that are as it said.
    pub(crate) changed_as_reported: u64,
    /// Sectors the guest reported as changed, and that are not as it said.
    pub(crate) not_as_reported: u64,
    /// Sectors that changed and were not reported.
    pub(crate) unexpected: u64,
    /// The first few differences.
    pub(crate) differences: Vec<String>,
}

impl Comparison {
    /// Compares one range and adds to the counts.
    pub(crate) fn add(
        &mut self,
        range: SectorRange,
        before: &mut Source,
        after: &mut Source,
        ledger: &Ledger,
    ) -> Result<()> {
        let mut sector = range.first;
        let mut was = vec![0; CHUNK.min(range.count) as usize * SECTOR_BYTES];
        let mut is = was.clone();
        while sector < range.end() {
            let count = CHUNK.min(range.end() - sector);
            let bytes = count as usize * SECTOR_BYTES;
            before.read(sector, &mut was[..bytes])?;
            after.read(sector, &mut is[..bytes])?;
            let pairs = was[..bytes].chunks(SECTOR_BYTES).zip(is[..bytes].chunks(SECTOR_BYTES));
            for (number, (was, is)) in (sector..).zip(pairs) {
                self.sector(number, was, is, ledger.state(number));
            }
            sector += count;
        }
        Ok(())
    }

    fn sector(&mut self, number: u64, was: &[u8], is: &[u8], state: Option<State>) {
        self.compared += 1;
        let difference = match state {
            // Comparing whole first is what makes this fast: nearly all sectors are equal.
            None if was == is => None,
            None => was.iter().zip(is).position(|(was, is)| was != is),
            Some(State::Pattern { seed }) => pattern::check(seed, number, is).err(),
            Some(State::Zeros) => is.iter().position(|byte| *byte != 0),
            Some(State::Undefined) => None,
        };
        match (state, difference) {
            (None, None) => {}
            (Some(_), None) => self.changed_as_reported += 1,
            (None, Some(byte)) => {
                self.unexpected += 1;
                self.describe(format!(
                    "sector {number} changed at byte {byte}, which the guest did not report"
                ));
            }
            (Some(state), Some(byte)) => {
                self.not_as_reported += 1;
                let should = match state {
                    State::Pattern { seed } => format!("pattern {seed:#x}"),
                    State::Zeros => "zeros".to_owned(),
                    State::Undefined => "anything".to_owned(),
                };
                self.describe(format!(
                    "sector {number} should hold {should}, but differs at byte {byte}"
                ));
            }
        }
    }

    fn describe(&mut self, text: String) {
        if self.differences.len() < DESCRIBED {
            self.differences.push(text);
        }
    }

    /// Whether every sector is as it should be.
    pub(crate) fn agrees(&self) -> bool {
        self.unexpected == 0 && self.not_as_reported == 0
    }
}

/// The same sectors as those of all the ranges, as ranges that do not meet, in order.
pub(crate) fn merged(mut ranges: Vec<SectorRange>) -> Vec<SectorRange> {
    ranges.sort_by_key(|range| range.first);
    let mut merged: Vec<SectorRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.first <= last.end() => last.count = last.end().max(range.end()) - last.first,
            _ => merged.push(range),
        }
    }
    merged
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} sectors compared, {} changed as reported, {} unexpected",
            self.compared, self.changed_as_reported, self.unexpected
        )?;
        if self.not_as_reported > 0 {
            write!(f, ", {} not as reported", self.not_as_reported)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Content;
    use std::fs::File;
    use std::io::Write;
    use std::sync::Arc;

    const SEED: u64 = 0x1234_0000_0000;
    const SECTORS: u64 = 5000;

    /// A disk of the pattern after `change` was done to its bytes, compared under what `changes` say.
    fn compare(changes: &[(SectorRange, State)], change: impl FnOnce(&mut [u8])) -> Comparison {
        let mut bytes = vec![0; SECTORS as usize * SECTOR_BYTES];
        pattern::fill(SEED, 0, &mut bytes);
        bytes[..SECTOR_BYTES].fill(0xaa);
        change(&mut bytes);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        File::create(&path).unwrap().write_all(&bytes).unwrap();
        let content = Content::new(Some(SEED)).with(0, vec![0xaa; SECTOR_BYTES]);
        let mut before = Source::Computed(Arc::new(content));
        let mut after = Source::raw_file(&path).unwrap();
        let mut ledger = Ledger::default();
        for (range, state) in changes {
            ledger.set(*range, *state);
        }
        let mut comparison = Comparison::default();
        comparison
            .add(
                SectorRange {
                    first: 0,
                    count: SECTORS,
                },
                &mut before,
                &mut after,
                &ledger,
            )
            .unwrap();
        assert_eq!(comparison.compared, SECTORS);
        comparison
    }

    fn at(sector: u64) -> usize {
        sector as usize * SECTOR_BYTES
    }

    const fn range(first: u64, count: u64) -> SectorRange {
        SectorRange { first, count }
    }

    const WROTE: (SectorRange, State) = (range(100, 4), State::Pattern { seed: 77 });
    const ZEROED: (SectorRange, State) = (range(102, 4), State::Zeros);
    const DISCARDED: (SectorRange, State) = (range(4999, 1), State::Undefined);

    /// What the three changes above say, in the order given.
    fn as_reported(bytes: &mut [u8]) {
        pattern::fill(77, 100, &mut bytes[at(100)..at(104)]);
        bytes[at(102)..at(106)].fill(0);
        bytes[at(4999)..].fill(0x55);
    }

    #[test]
    fn an_untouched_disk_agrees() {
        let comparison = compare(&[], |_| ());
        assert!(comparison.agrees());
        assert_eq!(
            comparison.to_string(),
            "5000 sectors compared, 0 changed as reported, 0 unexpected"
        );
    }

    #[test]
    fn reported_changes_agree() {
        let comparison = compare(&[WROTE, ZEROED, DISCARDED], as_reported);
        assert!(comparison.agrees(), "{comparison:?}");
        assert_eq!(comparison.changed_as_reported, 7);
    }

    #[test]
    fn one_bit_anywhere_is_seen() {
        for byte in [0, at(1), at(2048) - 1, at(2048), at(4998) + 511] {
            let comparison = compare(&[], |bytes| bytes[byte] ^= 1);
            assert!(!comparison.agrees());
            assert_eq!(comparison.unexpected, 1);
            let sector = byte / SECTOR_BYTES;
            assert!(
                comparison.differences[0]
                    .starts_with(&format!("sector {sector} changed at byte {},", byte % SECTOR_BYTES))
            );
        }
    }

    #[test]
    fn a_report_without_the_change_is_seen() {
        let comparison = compare(&[WROTE, ZEROED, DISCARDED], |_| ());
        assert_eq!((comparison.not_as_reported, comparison.changed_as_reported), (6, 1));
        assert!(!comparison.agrees());
        assert!(comparison.to_string().ends_with("6 not as reported"));
    }

    #[test]
    fn a_write_at_the_wrong_place_is_seen() {
        // The guest meant sector 100; the device got 110.
        let comparison = compare(&[WROTE], |bytes| pattern::fill(77, 100, &mut bytes[at(110)..at(114)]));
        assert_eq!((comparison.not_as_reported, comparison.unexpected), (4, 4));
    }

    #[test]
    fn reports_in_another_order_are_another_disk() {
        let comparison = compare(&[ZEROED, WROTE, DISCARDED], as_reported);
        assert_eq!(comparison.not_as_reported, 2);
    }

    #[test]
    fn only_some_differences_are_described() {
        let comparison = compare(&[], |bytes| bytes[at(10)..at(60)].fill(0));
        assert_eq!((comparison.unexpected, comparison.differences.len()), (50, DESCRIBED));
    }

    #[test]
    fn a_disk_that_shrank_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        File::create(&path).unwrap().set_len(512).unwrap();
        let mut before = Source::Computed(Arc::new(Content::new(Some(SEED))));
        let mut after = Source::raw_file(&path).unwrap();
        let range = SectorRange { first: 0, count: 2 };
        assert!(
            Comparison::default()
                .add(range, &mut before, &mut after, &Ledger::default())
                .is_err()
        );
    }

    #[test]
    fn merged_ranges_cover_the_same_once() {
        let all = vec![range(10, 5), range(0, 3), range(3, 1), range(12, 1), range(14, 6)];
        assert_eq!(merged(all), [range(0, 4), range(10, 10)]);
        assert_eq!(merged(Vec::new()), []);
    }
}
