//! Whether to watch the device for a moment before waiting for its interrupt.
//!
//! An interrupt becomes a message, and that takes longer than a fast disk takes for a request. A slow disk on the other
//! hand is never caught by a short look, and looking costs a hart. So after a few vain looks in a row the service looks
//! only now and then, until the disk is fast again.

use core::time::Duration;

use minix_abi::Instant;

/// Vain looks in a row before they become rare.
const VAIN_LOOKS: u32 = 4;
/// How rare: one opportunity out of so many.
const NOW_AND_THEN: u32 = 16;
/// How often in a row a completion may renew the time before messages get their turn.
const RENEWALS: u32 = 4;

/// Decides when to look and for how long. Time comes in from outside.
#[derive(Clone, Debug)]
pub(super) struct Poller {
    /// How long a look lasts.
    limit: Duration,
    /// Vain looks in a row.
    misses: u32,
    /// Opportunities let go since the last look.
    skipped: u32,
}

/// A look under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    until: Instant,
    hits: u32,
}

impl Poller {
    /// Looks of that length; zero never looks.
    pub(super) const fn new(limit: Duration) -> Self {
        Self {
            limit,
            misses: 0,
            skipped: 0,
        }
    }

    /// Whether to look now, with requests in flight.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Look> {
        if self.limit.is_zero() {
            return None;
        }
        if self.misses >= VAIN_LOOKS {
            self.skipped += 1;
            if self.skipped < NOW_AND_THEN {
                return None;
            }
            self.skipped = 0;
        }
        Some(Look {
            until: now.after(self.limit),
            hits: 0,
        })
    }

    /// Whether to go on: requests are still in flight, and `completed` of them came back since the last time.
    pub(super) fn goes_on(&mut self, look: &mut Look, now: Instant, completed: u32) -> bool {
        if completed > 0 {
            self.misses = 0;
            self.skipped = 0;
            look.hits += 1;
            look.until = now.after(self.limit);
            return look.hits <= RENEWALS;
        }
        if now < look.until {
            return true;
        }
        // After a hit the next request may well be slower; that says nothing against looking.
        if look.hits == 0 {
            self.misses = self.misses.saturating_add(1);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 50;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    fn poller() -> Poller {
        Poller::new(Duration::from_micros(LIMIT))
    }

    /// A look without a completion; whether there was one, and how long it took.
    fn vain(poller: &mut Poller, now: u64) -> Option<u64> {
        let mut look = poller.begin(at(now))?;
        let mut passed = 0;
        while poller.goes_on(&mut look, at(now + passed), 0) {
            passed += 1;
        }
        Some(passed)
    }

    #[test]
    fn a_look_ends_in_time() {
        let mut poller = poller();
        assert_eq!(vain(&mut poller, 1000), Some(LIMIT));
    }

    #[test]
    fn without_time_there_is_no_look() {
        assert_eq!(Poller::new(Duration::ZERO).begin(at(0)), None);
    }

    #[test]
    fn vain_looks_become_rare() {
        let mut poller = poller();
        let looks = (0..1000).filter(|nth| vain(&mut poller, nth * 1000).is_some()).count();
        // The first four, then every sixteenth.
        assert_eq!(looks, 4 + (1000 - 4) / 16);
    }

    #[test]
    fn one_completion_brings_the_looks_back() {
        let mut poller = poller();
        for nth in 0..100 {
            vain(&mut poller, nth);
        }
        let mut look = (0..16).find_map(|nth| poller.begin(at(nth))).expect("now and then");
        assert!(poller.goes_on(&mut look, at(20), 1));
        assert!((0..4).all(|nth| vain(&mut poller, nth * 1000).is_some()));
    }

    #[test]
    fn a_completion_renews_the_time_but_not_for_ever() {
        let mut poller = poller();
        let mut look = poller.begin(at(0)).expect("nothing speaks against it");
        assert!(poller.goes_on(&mut look, at(49), 1));
        assert!(poller.goes_on(&mut look, at(98), 0));
        let mut now = 98;
        let mut hits = 1;
        while poller.goes_on(&mut look, at(now), 1) {
            now += 1;
            hits += 1;
        }
        assert_eq!(hits, 4);
    }

    #[test]
    fn a_miss_after_a_hit_is_none() {
        let mut poller = poller();
        for nth in 0..20 {
            let now = nth * 1000;
            let mut look = poller.begin(at(now)).expect("hits keep the looks coming");
            assert!(poller.goes_on(&mut look, at(now + 10), 2));
            assert!(!poller.goes_on(&mut look, at(now + 10 + LIMIT), 0));
        }
    }
}
