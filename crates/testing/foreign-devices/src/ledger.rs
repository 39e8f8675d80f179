//! The requests in flight. Each has to be answered once.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Result, ensure};

/// The number of a request: no two of a run have the same.
pub(crate) type Token = u64;

/// A request that changes the disk, or looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write {
        version: u32,
    },
    Zeroes,
    Discard,
    /// It touches no sector.
    None,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) effect: Effect,
    pub(crate) sectors: Range<usize>,
}

/// What was submitted and not answered.
#[derive(Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<Token, Entry>,
    next: Token,
}

impl Ledger {
    /// The number of the next request.
    pub(crate) fn token(&mut self) -> Token {
        self.next += 1;
        self.next
    }

    /// The driver has taken a request.
    pub(crate) fn taken(&mut self, token: Token, entry: Entry) {
        self.entries.insert(token, entry);
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self, token: Token) -> Result<Entry> {
        let is_known = token > 0 && token <= self.next;
        let entry = self.entries.remove(&token);
        ensure!(entry.is_some() || !is_known, "request {token} was answered twice");
        entry.ok_or_else(|| anyhow::anyhow!("an answer to request {token}, which there never was"))
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.entries.len()
    }

    /// Whether a request on these sectors has a defined result beside those in flight.
    pub(crate) fn allows(&self, effect: &Effect, sectors: &Range<usize>) -> bool {
        !self.entries.values().any(|other| {
            let overlap = other.sectors.start < sectors.end && sectors.start < other.sectors.end;
            overlap && !(other.effect == Effect::Read && *effect == Effect::Read)
        })
    }

    /// Fails if a request was not answered.
    pub(crate) fn all_answered(&self) -> Result<()> {
        let lost: Vec<&Token> = self.entries.keys().collect();
        ensure!(
            lost.is_empty(),
            "{} requests are lost, the first is {}",
            lost.len(),
            lost[0]
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubled_and_a_lost_answer_are_seen() {
        let mut ledger = Ledger::default();
        let entry = Entry {
            effect: Effect::Read,
            sectors: 4..8,
        };
        let (first, second) = (ledger.token(), ledger.token());
        ledger.taken(first, entry.clone());
        ledger.taken(second, entry.clone());
        assert!(ledger.answered(first).is_ok());
        assert!(
            ledger
                .answered(first)
                .unwrap_err()
                .to_string()
                .contains("answered twice")
        );
        assert!(ledger.answered(99).unwrap_err().to_string().contains("never was"));
        assert!(
            ledger
                .all_answered()
                .unwrap_err()
                .to_string()
                .contains("1 requests are lost")
        );
        assert!(ledger.allows(&Effect::Read, &(4..5)));
        assert!(!ledger.allows(&Effect::Zeroes, &(7..9)));
        assert!(ledger.allows(&Effect::Zeroes, &(8..9)));
        assert!(ledger.answered(second).is_ok());
        assert!(ledger.all_answered().is_ok());
    }
}
