//! How quick the device is: when it last completed a request, and how many requests it should have at a time.
//!
//! A slow device is no broken device. As long as it completes requests it is not reset; it gets fewer of them at a time, so
//! that each is done sooner.

use core::time::Duration;

use minix_abi::Instant;

/// Time-outs after which a request is lost if later ones have overtaken it.
const OVERTAKEN_TIMEOUTS: u32 = 3;

/// What a look at a device that has requests comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It completes requests.
    Works,
    /// The device was silent for long: its status should be read.
    IsQuiet,
    /// It has completed nothing for the time-out.
    TimedOut,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Time the device may take for a request.
    timeout: Duration,
    /// A quiet device is looked at so often.
    slow: Duration,
    /// A request that took more microseconds was slow.
    slow_micros: u64,
    /// A request that took fewer microseconds was quick.
    quick_micros: u64,
    /// When the device last completed a request, or a part of one.
    completed: Instant,
    /// When it was last looked at because nothing came.
    looked: Instant,
    /// Requests it gets at a time.
    depth: u16,
    /// The most it ever gets.
    most: u16,
    /// When the depth was lowered. Requests from before say nothing about it.
    lowered: Instant,
}

impl Pace {
    pub(crate) fn new(most: u16, timeout: Duration) -> Self {
        let mut pace = Self {
            timeout,
            slow: timeout,
            slow_micros: 0,
            quick_micros: 0,
            completed: Instant::START,
            looked: Instant::START,
            depth: most,
            most,
            lowered: Instant::START,
        };
        pace.set_timeout(timeout);
        pace
    }

    /// Time the device may take for a request.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
        self.slow = timeout / 4;
        self.slow_micros = self.slow.as_micros() as u64;
        self.quick_micros = (timeout / 16).as_micros() as u64;
    }

    /// A request is lost if later ones have overtaken it for so long.
    pub(crate) const fn overtaken(&self) -> Duration {
        self.timeout.saturating_mul(OVERTAKEN_TIMEOUTS)
    }

    /// Requests the device gets at a time. At least one.
    pub(crate) const fn depth(&self) -> u16 {
        self.depth
    }

    /// Requests the device gets at a time if it is quick.
    pub(crate) const fn full_depth(&self) -> u16 {
        self.most
    }

    /// The device has completed something, be it a part of a request.
    pub(crate) const fn progressed(&mut self, now: Instant) {
        self.completed = now;
    }

    /// When the device last completed something.
    pub(crate) const fn last_completion(&self) -> Instant {
        self.completed
    }

    /// Whether a request that was submitted at `since` and is completed says nothing new: it was not slow, and as many as there
    /// could be had room beside it.
    #[inline]
    pub(crate) const fn is_usual(&self, since: Instant, now: Instant) -> bool {
        // Were the clock put back, this would be far too long, which is not usual either.
        now.as_micros().wrapping_sub(since.as_micros()) <= self.slow_micros && self.depth >= self.most
    }

    /// A request that was submitted at `since` is completed. Changes the depth.
    pub(crate) const fn completed(&mut self, since: Instant, now: Instant) {
        self.completed = now;
        let took = now.micros_since(since);
        if since.as_micros() < self.lowered.as_micros() {
            return;
        }
        if self.depth > 1 && took > self.slow_micros {
            self.depth /= 2;
            self.lowered = now;
        } else if self.depth < self.most && took < self.quick_micros {
            self.depth += 1;
        }
    }

    /// Since when the device has completed nothing. `oldest` is when the oldest of its requests was submitted.
    fn quiet_since(&self, oldest: Instant) -> Instant {
        oldest.max(self.completed)
    }

    /// Looks at a device whose oldest request was submitted at `oldest`.
    pub(crate) fn look(&mut self, oldest: Instant, now: Instant) -> Look {
        self.looked = now;
        let quiet = self.quiet_since(oldest);
        if quiet.after(self.timeout) <= now {
            Look::TimedOut
        } else if quiet.after(self.slow) <= now {
            Look::IsQuiet
        } else {
            Look::Works
        }
    }

    /// When the device is to be looked at.
    pub(crate) fn look_due(&self, oldest: Instant) -> Instant {
        let quiet = self.quiet_since(oldest);
        let next = self.looked.after(self.slow);
        let look = quiet.after(self.slow).max(next).min(quiet.after(self.timeout));
        look.min(oldest.after(self.overtaken()).max(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(most: u16) -> Pace {
        Pace::new(most, Duration::from_micros(1600))
    }

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    /// Completes requests that each take `took`, one after the other.
    fn complete(pace: &mut Pace, now: &mut Instant, took: u64, count: usize) {
        for _ in 0..count {
            let since = *now;
            *now = now.after(Duration::from_micros(took));
            pace.completed(since, *now);
        }
    }

    #[test]
    fn slow_completions_lower_the_depth_and_quick_ones_raise_it() {
        let (mut pace, mut now) = (pace(64), at(0));
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
        let mut pace = pace(64);
        for nth in 1..=60 {
            pace.completed(at(0), at(nth * 401));
        }
        assert_eq!(pace.depth(), 32);
    }

    #[test]
    fn a_quiet_device_is_looked_at_four_times_in_a_timeout() {
        let mut pace = pace(1);
        pace.completed(at(0), at(1000));
        for look in [1400, 1800, 2200, 2600] {
            assert_eq!(pace.look_due(at(500)), at(look));
            let expected = if look < 2600 { Look::IsQuiet } else { Look::TimedOut };
            assert_eq!(pace.look(at(500), at(look)), expected);
        }
        assert_eq!(pace.look(at(500), at(1399)), Look::Works);
    }

    #[test]
    fn an_old_request_is_looked_for_though_others_are_completed() {
        let mut pace = pace(1);
        pace.completed(at(9000), at(9001));
        assert_eq!(pace.look_due(at(0)), at(4800));
        pace.look(at(0), at(9001));
        assert_eq!(pace.look_due(at(0)), at(9401));
    }
}
