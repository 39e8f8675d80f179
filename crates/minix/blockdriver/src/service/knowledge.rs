//! How long the device takes for requests of one kind and size, as far as watching it has told.

/// So few hits are too few, where 255 are all and a miss takes a quarter: the device is slow.
const SLOW: u8 = 64;
/// How many hits a slow device that was caught is credited with.
const QUICK_AGAIN: u8 = 128;
/// After two vain watches in a row, and for a device that is slow, a watch is a trial, so many times as long as allowed. The host
/// of a virtual machine may have the device wait for the very processor that watches it, until it moves one of them, and that
/// takes milliseconds.
const TRIAL: u64 = 10;
/// Microseconds that a trial lasts at most, unless every watch may be longer.
const LONGEST_TRIAL: u64 = 10_000;
const VAIN: u8 = 2;
/// A slow device is watched again after so many microseconds, the second time after twice as many, and so on.
const FIRST_PAUSE: u64 = 10_000;
const LONGEST_PAUSE: u64 = 640_000;
/// What a duration is kept in: sixteenths of a microsecond.
const FRACTION: u32 = 4;

/// What is known of one kind and size.
///
/// The duration is a running quantile: a longer one raises it by a quarter, any other lowers it by 1 in 256. So it settles where
/// one request in some sixty takes longer. A vain watch doubles it, so that watches are as long as allowed well before the device
/// counts as slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knowledge {
    /// What few requests exceed, in sixteenths of a microsecond.
    long: u64,
    /// A watch has hit.
    is_known: bool,
    /// Vain watches in a row.
    vain: u8,
    /// The trial of a slow device has found a completion, but late: the next request tells.
    is_on_trial: bool,
    /// How many watches hit lately, as a share of 255.
    hits: u8,
    /// The pause after the next vain watch of a slow device.
    pause: u64,
    /// When a slow device is watched again, in microseconds.
    again: u64,
}

impl Knowledge {
    /// Nothing is known: a request may take as long as a watch does at most, in microseconds.
    pub(super) const fn nothing(limit: u64) -> Self {
        Self {
            long: limit << FRACTION,
            is_known: false,
            vain: 0,
            is_on_trial: false,
            hits: u8::MAX,
            pause: FIRST_PAUSE,
            again: 0,
        }
    }

    /// How long to watch after a submission, in microseconds; `None` if the device is slow and its pause is not over. Half as
    /// long again as what few requests exceed, and no longer than `limit`. A trial is longer.
    pub(super) const fn span(&self, now: u64, limit: u64) -> Option<u64> {
        if self.is_slow() {
            return if self.is_on_trial {
                Some(limit)
            } else if now < self.again {
                None
            } else {
                Some(trial(limit))
            };
        }
        if self.vain == VAIN {
            return Some(trial(limit));
        }
        let span = ((self.long + self.long / 2) >> FRACTION) + 1;
        Some(if span < limit { span } else { limit })
    }

    /// A watch has found a completion `took` microseconds after the submission.
    pub(super) const fn hit(&mut self, took: u64, limit: u64) {
        if took > limit {
            self.is_on_trial = self.is_slow();
            self.vain = self.vain.saturating_add(1);
            return;
        }
        self.vain = 0;
        let took = took << FRACTION;
        if !self.is_known {
            self.is_known = true;
            self.long = 2 * took;
        } else if took > self.long {
            self.lengthen(self.long / 4, limit);
        } else {
            self.long -= self.long >> 8;
        }
        self.hits = if self.is_slow() {
            QUICK_AGAIN
        } else {
            self.hits + (u8::MAX - self.hits).div_ceil(8)
        };
        self.is_on_trial = false;
        self.pause = FIRST_PAUSE;
    }

    /// A watch was over at `now` and has found none.
    pub(super) const fn missed(&mut self, now: u64, limit: u64) {
        self.lengthen(self.long, limit);
        self.hits -= self.hits / 4;
        self.vain = self.vain.saturating_add(1);
        self.is_on_trial = false;
        if self.is_slow() {
            self.again = now.saturating_add(self.pause);
            let next = 2 * self.pause;
            self.pause = if next < LONGEST_PAUSE { next } else { LONGEST_PAUSE };
        }
    }

    /// Watches mostly find nothing.
    const fn is_slow(&self) -> bool {
        self.hits < SLOW
    }

    const fn lengthen(&mut self, by: u64, limit: u64) {
        let longer = self.long + by + (1 << FRACTION);
        let most = limit << FRACTION;
        self.long = if longer < most { longer } else { most };
    }
}

/// How long a trial is.
const fn trial(limit: u64) -> u64 {
    let span = TRIAL * limit;
    if span < LONGEST_TRIAL {
        span
    } else if limit > LONGEST_TRIAL {
        limit
    } else {
        LONGEST_TRIAL
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    const LIMIT: u64 = 500;

    /// After so many watches of a device that takes that long.
    fn after(watches: usize, took: u64) -> Knowledge {
        let mut known = Knowledge::nothing(LIMIT);
        (0..watches).for_each(|_| known.hit(took, LIMIT));
        known
    }

    #[test]
    fn nothing_known_is_watched_as_long_as_allowed() {
        assert_eq!(Knowledge::nothing(LIMIT).span(0, LIMIT), Some(LIMIT));
    }

    #[test]
    fn a_watch_becomes_as_long_as_completions_take() {
        let span = after(2000, 40).span(0, LIMIT).expect("the device is quick");
        assert!((50..80).contains(&span), "{span}");
    }

    #[test]
    fn one_long_completion_in_a_hundred_is_still_within_a_watch() {
        let mut known = after(2000, 40);
        let mut within = 0;
        for nth in 0..10_000 {
            let took = if nth % 100 == 0 { 55 } else { 40 };
            within += u32::from(known.span(0, LIMIT).is_some_and(|span| took <= span));
            known.hit(took, LIMIT);
        }
        assert!(within > 9_990, "{within}");
    }

    #[test]
    fn completions_that_are_long_now_and_then_keep_watches_long() {
        let mut known = after(2000, 40);
        let mut beyond = 0;
        for nth in 0..20_000 {
            let took = if nth % 40 == 0 { 100 } else { 40 };
            if known.span(0, LIMIT).is_some_and(|span| took <= span) {
                known.hit(took, LIMIT);
            } else {
                beyond += 1;
                known.missed(0, LIMIT);
            }
        }
        assert!(beyond < 50, "{beyond}");
    }

    #[test]
    fn vain_watches_lengthen_the_next_and_do_not_forbid_it() {
        let mut known = after(2000, 40);
        for _ in 0..2 {
            let before = known.span(0, LIMIT).expect("it is not slow yet");
            known.missed(0, LIMIT);
            assert!(known.span(0, LIMIT).is_some_and(|span| span > before));
        }
    }

    #[test]
    fn vain_watches_lengthen_the_next_of_a_device_that_took_no_time() {
        let mut known = after(1, 0);
        let spans = [(); 4].map(|()| {
            let span = known.span(0, LIMIT);
            known.missed(0, LIMIT);
            span
        });
        assert_eq!(spans, [1, 2, TRIAL * LIMIT, 11].map(Some));
    }

    #[test]
    fn a_device_is_not_slow_before_watches_are_as_long_as_allowed() {
        let mut known = after(5000, 20);
        for _ in 0..4 {
            known.missed(0, LIMIT);
        }
        assert!(!known.is_slow() && known.span(0, LIMIT) == Some(LIMIT));
        known.missed(0, LIMIT);
        assert!(known.is_slow());
    }

    #[test]
    fn a_device_that_waits_for_the_processor_which_watches_it_costs_three_watches() {
        let mut known = after(2000, 25);
        let spans = [(); 2].map(|()| {
            let span = known.span(0, LIMIT).expect("it is not slow");
            known.missed(0, LIMIT);
            span
        });
        assert!(spans[0] < spans[1] && spans[1] <= LIMIT);
        // By then the host has moved one of them.
        assert_eq!(known.span(0, LIMIT), Some(TRIAL * LIMIT));
        known.hit(4 * LIMIT, LIMIT);
        assert!(known.span(0, LIMIT).is_some_and(|span| span <= LIMIT));
        known.hit(25, LIMIT);
        assert_eq!((known.vain, known.is_slow()), (0, false));
    }

    #[test]
    fn a_trial_is_ten_times_as_long_as_allowed_and_no_longer_than_10_ms() {
        assert_eq!([500, 5_000, 10_000, 20_000].map(trial), [5_000, 10_000, 10_000, 20_000]);
    }

    #[test]
    fn the_first_hit_tells_most() {
        let span = after(1, 20).span(0, LIMIT).expect("it is not slow");
        assert_eq!(span, 61);
    }

    #[test]
    fn a_late_hit_of_a_trial_is_followed_by_a_watch_that_tells() {
        let mut known = Knowledge::nothing(LIMIT);
        (0..20).for_each(|_| known.missed(0, LIMIT));
        assert_eq!(known.span(u64::MAX, LIMIT), Some(TRIAL * LIMIT));
        known.hit(3 * LIMIT, LIMIT);
        assert_eq!(known.span(0, LIMIT), Some(LIMIT));
        let mut slow = known;
        slow.missed(0, LIMIT);
        assert_eq!(slow.span(0, LIMIT), None);
        assert_eq!(slow.pause, LONGEST_PAUSE, "that it is late says nothing for it");
        known.hit(25, LIMIT);
        assert!(!known.is_slow());
    }

    #[test]
    fn a_slow_device_is_tried_again_ever_more_rarely() {
        let mut known = Knowledge::nothing(LIMIT);
        let mut now = 0;
        let mut watches = Vec::new();
        while now < 10_000_000 {
            if known.span(now, LIMIT).is_some() {
                watches.push(now);
                known.missed(now, LIMIT);
            }
            now += 1000;
        }
        let pauses: Vec<_> = watches.windows(2).map(|pair| (pair[1] - pair[0]) / 1000).collect();
        let tried = pauses.iter().position(|pause| *pause > 1).expect("it is found slow");
        assert!((4..8).contains(&tried), "{tried}");
        assert_eq!(pauses[tried..][..8], [10, 20, 40, 80, 160, 320, 640, 640]);
    }

    #[test]
    fn a_device_that_is_slow_once_more_has_short_pauses_again() {
        let mut known = Knowledge::nothing(LIMIT);
        (0..100).for_each(|_| known.missed(0, LIMIT));
        known.hit(30, LIMIT);
        while !known.is_slow() {
            known.missed(0, LIMIT);
        }
        assert_eq!(known.span(FIRST_PAUSE - 1, LIMIT), None);
        assert_eq!(known.span(FIRST_PAUSE, LIMIT), Some(TRIAL * LIMIT));
    }

    #[test]
    fn one_hit_makes_a_slow_device_quick() {
        let mut known = Knowledge::nothing(LIMIT);
        (0..100).for_each(|_| known.missed(0, LIMIT));
        assert_eq!(known.span(0, LIMIT), None);
        known.hit(30, LIMIT);
        assert!((0..2).all(|_| {
            known.missed(0, LIMIT);
            known.span(0, LIMIT).is_some()
        }));
    }
}
