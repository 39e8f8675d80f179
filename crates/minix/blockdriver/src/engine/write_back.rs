//! Completed writes that are in the volatile cache of the disk and not flushed yet.
//!
//! File systems of MINIX take a write that was answered for done, and flush only with the last close; the root file system
//! is never closed. So a flush is sent in the background when the oldest completed write has waited long enough, and at once
//! when the service is to end. It is a device request like others: no request waits for it, and it answers none.

use core::time::Duration;

use minix_abi::Instant;

/// The reason of a flush. The device has one of each at most: a barrier has no other request beside it, and a forced write
/// holds up the writes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flusher {
    Background,
    Client,
}

/// What is known of completed writes that may not be durable.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WriteBack {
    /// When the oldest of them was completed, or, if a flush of it has failed since, when that flush was sent.
    since: Option<Instant>,
    /// When the oldest of those was completed that the latest flush does not cover.
    uncovered: Option<Instant>,
    /// The latest flush, while the device has it.
    latest: Option<Flusher>,
    /// When the background flush was sent, while the device has it.
    sent: Option<Instant>,
    /// The device did not complete the background flush before a reset.
    suspect: bool,
    /// The latest background flush has failed, and nothing was written since.
    failed: bool,
    /// Writes that the device has, or had last, go to a volatile cache.
    to_cache: bool,
    /// They are those of an earlier driver, if there are any: no client of this one has written yet.
    inherited: bool,
}

impl WriteBack {
    /// A live device is given a write, which goes to a volatile cache or not. It is the `only` request the device has, if so.
    #[inline]
    pub(crate) fn writes_to(&mut self, cache: bool, only: bool) {
        self.to_cache = cache || self.to_cache && !only;
    }

    /// Whether writes that the device has, or had last, go to a volatile cache.
    #[inline]
    pub(crate) const fn goes_to_cache(&self) -> bool {
        self.to_cache
    }

    /// A write was completed into the cache.
    #[inline]
    pub(crate) fn wrote(&mut self, now: Instant) {
        self.since.get_or_insert(now);
        self.uncovered.get_or_insert(now);
        self.failed = false;
        self.inherited = false;
    }

    /// An earlier driver may have completed writes into the cache.
    pub(crate) fn inherit(&mut self, now: Instant) {
        self.wrote(now);
        self.inherited = true;
    }

    /// Whether the writes are those of an earlier driver, if there are any.
    pub(crate) const fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// The device took a flush. It covers what was completed so far.
    pub(crate) fn flush_submitted(&mut self, flusher: Flusher, now: Instant) {
        self.latest = Some(flusher);
        self.uncovered = None;
        if flusher == Flusher::Background {
            self.sent = Some(now);
        }
    }

    /// A flush is over. If another one was sent after it, that one will tell more.
    pub(crate) fn flush_completed(&mut self, flusher: Flusher, worked: bool) {
        if flusher == Flusher::Background {
            self.suspect = false;
            if worked {
                self.sent = None;
            }
        }
        if self.latest == Some(flusher) {
            self.latest = None;
            if worked {
                self.since = self.uncovered;
                self.failed = false;
                self.inherited &= self.since.is_some();
            }
        }
    }

    /// The device is to be reset, and has not completed the background flush.
    pub(crate) const fn suspected(&mut self) {
        self.suspect = true;
    }

    /// Whether the background flush was one that a reset was for. It no longer is.
    pub(crate) const fn take_suspect(&mut self) -> bool {
        core::mem::replace(&mut self.suspect, false)
    }

    /// The device has forgotten every flush.
    pub(crate) const fn forget_flushes(&mut self) {
        self.latest = None;
        self.sent = None;
    }

    /// The background flush has failed, or could not be sent. It is tried again as if its writes had completed when it
    /// was sent.
    pub(crate) fn background_failed(&mut self, now: Instant) {
        let sent = self.sent.take().unwrap_or(now);
        self.failed = true;
        if let Some(since) = &mut self.since {
            *since = sent;
        }
    }

    /// Whether the latest background flush has failed, and nothing was written since.
    pub(crate) const fn has_failed(&self) -> bool {
        self.failed
    }

    /// How long the oldest of the writes has waited.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Whether the device has a background flush.
    pub(crate) const fn in_background(&self) -> bool {
        self.sent.is_some()
    }

    /// Whether clients have written something that is not known to be durable.
    pub(crate) const fn is_owed(&self) -> bool {
        self.since.is_some() && !self.inherited
    }

    /// Whether there is something to flush, and a flush may succeed.
    pub(crate) const fn holds_up_exit(&self) -> bool {
        self.since.is_some() && !self.failed
    }

    /// The service is to end: what has failed is worth another attempt.
    pub(crate) const fn hurry(&mut self) {
        self.failed = false;
    }

    /// Whether a background flush may be due, `after_micros` after the oldest write. If not, none is.
    #[inline]
    pub(crate) const fn may_be_due(&self, now: Instant, after_micros: u64, at_once: bool) -> bool {
        match self.since {
            None => false,
            // Were the clock put back, this would be far too long, and no more than a needless look.
            Some(since) => at_once || now.as_micros().wrapping_sub(since.as_micros()) >= after_micros,
        }
    }

    /// When the background flush is to be sent; `None` if there is no need, or one is under way.
    pub(crate) fn due(&self, after: Duration, at_once: bool) -> Option<Instant> {
        let since = self.since?;
        if self.latest.is_some() || self.sent.is_some() {
            None
        } else if at_once && !self.failed {
            Some(Instant::START)
        } else {
            (!after.is_zero()).then_some(since.after(after))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_micros(100);

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    fn due(state: &WriteBack) -> Option<u64> {
        state.due(AFTER, false).map(Instant::as_micros)
    }

    #[test]
    fn a_flush_covers_what_was_completed_before_it_was_sent() {
        let mut state = WriteBack::default();
        assert_eq!(due(&state), None);
        state.wrote(at(10));
        state.wrote(at(20));
        assert_eq!(due(&state), Some(110));
        state.flush_submitted(Flusher::Background, at(30));
        assert_eq!(due(&state), None, "one is under way");
        state.wrote(at(30));
        state.wrote(at(40));
        state.flush_completed(Flusher::Client, true);
        assert_eq!(due(&state), None, "that was another one");
        state.flush_completed(Flusher::Background, true);
        assert_eq!(due(&state), Some(130));
        state.flush_submitted(Flusher::Background, at(30));
        state.flush_completed(Flusher::Background, false);
        state.background_failed(at(90));
        assert_eq!(due(&state), Some(130), "it was of no use");
        state.flush_submitted(Flusher::Client, at(50));
        state.flush_completed(Flusher::Client, true);
        assert_eq!(due(&state), None);
    }

    #[test]
    fn of_two_flushes_the_later_one_counts() {
        for later_first in [false, true] {
            let mut state = WriteBack::default();
            state.wrote(at(10));
            state.flush_submitted(Flusher::Background, at(30));
            state.wrote(at(20));
            state.flush_submitted(Flusher::Client, at(50));
            state.wrote(at(30));
            if later_first {
                state.flush_completed(Flusher::Client, true);
                state.flush_completed(Flusher::Background, false);
                state.background_failed(at(90));
            } else {
                state.flush_completed(Flusher::Background, true);
                assert_eq!(due(&state), None);
                state.flush_completed(Flusher::Client, true);
            }
            assert_eq!(due(&state), Some(130));
        }
    }

    #[test]
    fn a_failure_counts_from_the_attempt_and_allows_exit() {
        let mut state = WriteBack::default();
        assert!(!state.holds_up_exit());
        state.wrote(at(10));
        assert_eq!(state.due(AFTER, true), Some(at(0)));
        assert_eq!(state.due(Duration::ZERO, false), None, "never");
        state.background_failed(at(50));
        assert!(!state.holds_up_exit());
        assert_eq!(state.due(AFTER, true), Some(at(150)));
        state.wrote(at(60));
        assert!(state.holds_up_exit());
        assert_eq!((due(&state), state.due(Duration::ZERO, true)), (Some(150), Some(at(0))));
    }

    #[test]
    fn a_reset_arms_it_again() {
        let mut state = WriteBack::default();
        state.wrote(at(10));
        state.flush_submitted(Flusher::Background, at(20));
        assert!(state.in_background());
        state.forget_flushes();
        assert!(!state.in_background());
        assert_eq!(due(&state), Some(110));
    }
}
