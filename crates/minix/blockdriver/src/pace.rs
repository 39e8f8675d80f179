//! How quick the device is: when it was last heard of, and how many requests it should have at a time.
//!
//! A slow device is no broken device. As long as it completes requests it is not reset; it gets fewer of them at a time, so
//! that each is done sooner.

use crate::Micros;

/// Liveness looks in one time-out.
const LOOKS: u64 = 4;

/// A request that took longer than one part in so many of the time-out was slow.
const SLOW: u64 = 4;

/// A request that took less than one part in so many of the time-out was quick.
const QUICK: u64 = 16;

/// Time-outs after which a request is lost if later ones have overtaken it.
pub(crate) const OVERTAKEN_TIMEOUTS: u64 = 3;

/// What is known of the pace of the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// When it last completed a request, or a part of one.
    completed: Micros,
    /// Parts of requests that were finished then.
    parts: u64,
    /// When it was last looked at because nothing came.
    looked: Micros,
    /// Requests it gets at a time.
    depth: u16,
    /// The most it ever gets.
    most: u16,
    /// When that was lowered. Requests from before say nothing about it.
    lowered: Micros,
}

impl Pace {
    pub(crate) const fn new(most: u16) -> Self {
        Self {
            completed: Micros(0),
            parts: 0,
            looked: Micros(0),
            depth: most,
            most,
            lowered: Micros(0),
        }
    }

    /// Requests the device gets at a time. At least one.
    pub(crate) const fn depth(&self) -> u16 {
        self.depth
    }

    /// A request that was submitted at `since` is completed.
    pub(crate) fn completed(&mut self, since: Micros, now: Micros, timeout: u64) {
        self.completed = now;
        if since < self.lowered {
            return;
        }
        let took = now.since(since);
        if took > timeout / SLOW && self.depth > 1 {
            self.depth /= 2;
            self.lowered = now;
        } else if took < timeout / QUICK && self.depth < self.most {
            self.depth += 1;
        }
    }

    /// So many parts of requests are finished by now. Another number than before means that the device is at work.
    pub(crate) const fn look_at_parts(&mut self, parts: u64, now: Micros) {
        if parts != self.parts {
            self.parts = parts;
            self.completed = now;
        }
    }

    /// Since when the device has completed nothing. `oldest` is when the oldest of its requests was submitted.
    pub(crate) fn quiet_since(&self, oldest: Micros) -> Micros {
        oldest.max(self.completed)
    }

    /// The device is looked at.
    pub(crate) const fn look(&mut self, now: Micros) {
        self.looked = now;
    }

    /// Whether nothing came for so long that the device is worth a look at its status.
    pub(crate) fn is_quiet(&self, oldest: Micros, now: Micros, timeout: u64) -> bool {
        now.since(self.quiet_since(oldest)) >= timeout / LOOKS
    }

    /// When the device is to be looked at.
    pub(crate) fn look_due(&self, oldest: Micros, timeout: u64) -> Micros {
        let quiet = self.quiet_since(oldest);
        let step = timeout / LOOKS;
        let look = quiet.max(self.looked).after(step).min(quiet.after(timeout));
        let overtaken = oldest.after(timeout.saturating_mul(OVERTAKEN_TIMEOUTS));
        look.min(overtaken.max(self.looked.after(step)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: u64 = 1600;

    /// Completes requests that each take `took`, one after the other.
    fn complete(pace: &mut Pace, now: &mut Micros, took: u64, count: usize) {
        for _ in 0..count {
            let since = *now;
            *now = now.after(took);
            pace.completed(since, *now, TIMEOUT);
        }
    }

    #[test]
    fn slow_completions_lower_the_depth_and_quick_ones_raise_it() {
        let (mut pace, mut now) = (Pace::new(64), Micros(0));
        complete(&mut pace, &mut now, 401, 3);
        assert_eq!(pace.depth(), 8);
        complete(&mut pace, &mut now, 300, 10);
        assert_eq!(pace.depth(), 8, "neither slow nor quick");
        complete(&mut pace, &mut now, 401, 10);
        assert_eq!(pace.depth(), 1);
        complete(&mut pace, &mut now, 99, 5);
        assert_eq!(pace.depth(), 6);
        complete(&mut pace, &mut now, 0, 100);
        assert_eq!(pace.depth(), 64);
    }

    #[test]
    fn requests_from_before_a_change_do_not_lower_the_depth_again() {
        let mut pace = Pace::new(64);
        for nth in 1..=60 {
            pace.completed(Micros(0), Micros(nth * 401), TIMEOUT);
        }
        assert_eq!(pace.depth(), 32);
    }

    #[test]
    fn a_quiet_device_is_looked_at_four_times_in_a_timeout() {
        let mut pace = Pace::new(1);
        pace.completed(Micros(0), Micros(1000), TIMEOUT);
        for look in [1400, 1800, 2200, 2600] {
            assert_eq!(pace.look_due(Micros(500), TIMEOUT), Micros(look));
            assert!(pace.is_quiet(Micros(500), Micros(look), TIMEOUT));
            pace.look(Micros(look));
        }
        assert!(!pace.is_quiet(Micros(500), Micros(1399), TIMEOUT));
    }

    #[test]
    fn an_old_request_is_looked_for_though_others_are_completed() {
        let mut pace = Pace::new(1);
        pace.completed(Micros(9000), Micros(9001), TIMEOUT);
        assert_eq!(pace.look_due(Micros(0), TIMEOUT), Micros(4800));
        pace.look(Micros(9001));
        assert_eq!(pace.look_due(Micros(0), TIMEOUT), Micros(9401));
    }
}
