//! Writes that linger in the volatile cache of the disk, and the flush that nobody asked for.
//!
//! File systems of MINIX take a write that was answered for done, and flush only with the last close; the root file system
//! is never closed. So a flush is sent in the background when the oldest completed write has waited long enough, and at once
//! when the service is to end. It is a device request like others: it holds nobody up and answers nobody.

use minix_abi::minor::Minor;

use crate::flights::Cargo;
use crate::jobs::Kind;
use crate::recovery::Health;
use crate::{BlockDevice, BlockDriver, DeviceError, Kernel, Micros, Refusal};

/// Who asked for a flush. The device has one of each at most: requests that run alone have no others beside them, and a
/// write that has to be durable holds up those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flusher {
    /// Nobody.
    Background,
    /// A client.
    Client,
}

/// What is known of the writes that were completed and are not known to be durable.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WriteBack {
    /// When the oldest of them was completed, or, if a flush of it has failed since, when that flush was sent.
    since: Option<Micros>,
    /// When the oldest of those was completed that the latest flush does not cover.
    behind: Option<Micros>,
    /// The latest flush, whoever asked for it, while the device has it.
    latest: Option<Flusher>,
    /// When the background flush was sent, while the device has it.
    sent: Option<Micros>,
    /// The latest background flush has failed, and nothing was written since.
    failed: bool,
    /// Writes that the device has, or had last, go to a volatile cache.
    to_cache: bool,
    /// They are those of an earlier driver, if there are any: no client of this one has written yet.
    inherited: bool,
}

impl WriteBack {
    /// A live device is given a write, which goes to a volatile cache or not. It is the `only` request the device has, if so.
    pub(crate) fn writes_to(&mut self, cache: bool, only: bool) {
        self.to_cache = cache || self.to_cache && !only;
    }

    /// A write was completed into the cache.
    pub(crate) fn wrote(&mut self, now: Micros) {
        self.since.get_or_insert(now);
        self.behind.get_or_insert(now);
        self.failed = false;
        self.inherited = false;
    }

    /// An earlier driver may have completed writes into the cache.
    fn inherit(&mut self, now: Micros) {
        self.wrote(now);
        self.inherited = true;
    }

    /// The device took a flush. It covers what was completed so far.
    pub(crate) fn flush_departed(&mut self, flusher: Flusher) {
        self.latest = Some(flusher);
        self.behind = None;
    }

    /// A flush is over. If another one was sent after it, that one will tell more.
    pub(crate) fn flush_landed(&mut self, flusher: Flusher, worked: bool) {
        if self.latest == Some(flusher) {
            self.latest = None;
            if worked {
                self.since = self.behind;
                self.failed = false;
                self.inherited &= self.since.is_some();
            }
        }
    }

    /// The device has forgotten every flush.
    pub(crate) fn forget_flushes(&mut self) {
        self.latest = None;
        self.sent = None;
    }

    /// A background flush came to nothing. It is tried again as if what it was for had been written when it was sent.
    fn fail(&mut self, sent: Micros) {
        self.sent = None;
        self.failed = true;
        if let Some(since) = &mut self.since {
            *since = sent;
        }
    }

    /// Whether the device has a background flush.
    pub(crate) const fn in_background(&self) -> bool {
        self.sent.is_some()
    }

    /// Whether anything is there that is not known to be durable.
    pub(crate) const fn is_needed(&self) -> bool {
        self.since.is_some()
    }

    /// Whether clients have written something that is not known to be durable.
    pub(crate) const fn is_owed(&self) -> bool {
        self.since.is_some() && !self.inherited
    }

    /// Whether there is something to flush, and reason to believe that it can be.
    pub(crate) const fn holds_up_exit(&self) -> bool {
        self.since.is_some() && !self.failed
    }

    /// Somebody wants to exit: what has failed is worth another attempt.
    pub(crate) fn hurry(&mut self) {
        self.failed = false;
    }

    /// When the background flush is to be sent; `None` if there is no need, or one is under way.
    pub(crate) fn due(&self, after: u64, at_once: bool) -> Option<Micros> {
        let since = self.since?;
        if self.latest.is_some() || self.sent.is_some() {
            None
        } else if at_once && !self.failed {
            Some(Micros(0))
        } else {
            (after > 0).then_some(since.after(after))
        }
    }
}

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Whether a write that is just completed lingers in a volatile cache. It was one when the write was submitted, or is one
    /// now; what a device says of itself that is not live does not count.
    pub(crate) fn write_lingers(&self) -> bool {
        self.write_back.to_cache || self.device.info().is_some_and(|disk| disk.needs_flushes())
    }

    /// Takes it that an earlier driver of the device may have completed writes that are not flushed yet, as one does that
    /// crashes. They are flushed in the background. It is not known whether there are any, so no close waits for that, and
    /// no client is told if it fails.
    pub fn inherit_writes(&mut self, now: Micros) {
        let info = self.device.info();
        if info.is_some_and(|disk| !disk.read_only && disk.needs_flushes()) {
            self.write_back.inherit(now);
        }
    }

    /// The device has completed a write.
    pub(crate) fn note_write(&mut self, now: Micros) {
        if self.write_lingers() {
            self.write_back.wrote(now);
        }
    }

    /// A flush has failed: what was written before it may never be durable. Each minor that is open is told once, but for the
    /// one that asked for the flush.
    #[cold]
    pub(crate) fn flush_failed(&mut self, now: Micros, asker: Option<Minor>) {
        let waited = self.write_back.since.map_or(0, |since| now.since(since) / 1000);
        warn!(
            "a flush has failed: writes of the last {} ms may not be durable",
            waited
        );
        self.note_failure(asker);
    }

    /// The device is given up. If completed writes are not flushed, each minor that is open is told, as of a flush that fails.
    #[cold]
    pub(crate) fn give_up_flushes(&mut self) {
        if self.write_back.is_owed() {
            error!("completed writes that were not flushed may not be durable");
            self.note_failure(None);
        }
    }

    /// Each minor that is open is to be told once, but for `asker`. One whose close waits for a flush counts as open.
    fn note_failure(&mut self, asker: Option<Minor>) {
        if self.write_back.inherited {
            return;
        }
        let running = self.barrier.running().map(|running| &self.jobs[running.job]);
        let closing = running.filter(|job| job.kind == Kind::Close);
        self.opens.flush_failed(asker, closing.map(|job| job.request.minor));
    }

    /// When the background flush is to be sent, if that is possible.
    pub(crate) fn flush_due(&self) -> Option<Micros> {
        let due = self.write_back.due(self.options.flush_after, self.terminating)?;
        // A request that runs alone and is about to flush does it for all.
        let held = self
            .barrier
            .running()
            .is_some_and(|running| running.task.holds_flushes());
        (!held).then_some(due)
    }

    /// Sends the background flush if it is time, and the device takes it.
    #[inline(never)]
    pub(crate) fn flush_in_time(&mut self, kernel: &mut K, now: Micros) {
        let is_due = self.flush_due().is_some_and(|due| due <= now);
        if !is_due || self.device_full || !matches!(self.health, Health::Good) {
            return;
        }
        if self.flights.len() >= self.full_depth() {
            self.device_full = true;
            return;
        }
        match self.offer_flush(Cargo::Background, now) {
            Ok(()) => {
                self.write_back.sent = Some(now);
                self.counters.background_flushes += 1;
            }
            Err(Refusal::Full) if self.flights.len() > 0 => {
                self.counters.device_full += 1;
                self.device_full = true;
            }
            Err(refusal) => {
                let breaks = matches!(refusal, Refusal::Full | Refusal::Broken);
                if !breaks {
                    self.tell_of_background(now);
                }
                self.background_failed(now);
                if breaks {
                    self.recover(kernel, now, "takes no flush");
                    // One reset is enough for one call.
                    self.unfinished = true;
                }
            }
        }
    }

    /// The device is done with the background flush.
    #[cold]
    pub(crate) fn background_landed(&mut self, now: Micros, result: Result<(), DeviceError>) {
        self.write_back.flush_landed(Flusher::Background, result.is_ok());
        self.flush_blamed = false;
        match result {
            Ok(()) => self.write_back.sent = None,
            Err(_) => {
                self.tell_of_background(now);
                self.background_failed(now);
            }
        }
    }

    /// The device has failed the background flush. One that was lost in a reset is only tried again.
    fn tell_of_background(&mut self, now: Micros) {
        if self.write_back.failed {
            // It was said before, and nothing was written since.
            self.note_failure(None);
        } else {
            self.flush_failed(now, None);
        }
    }

    /// The background flush came to nothing, or could not be sent.
    pub(crate) fn background_failed(&mut self, now: Micros) {
        let sent = self.write_back.sent.unwrap_or(now);
        self.write_back.fail(sent);
        self.counters.failed_flushes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: u64 = 100;

    fn due(state: &WriteBack) -> Option<u64> {
        state.due(AFTER, false).map(|at| at.0)
    }

    #[test]
    fn a_flush_covers_what_was_completed_before_it_was_sent() {
        let mut state = WriteBack::default();
        assert_eq!(due(&state), None);
        state.wrote(Micros(10));
        state.wrote(Micros(20));
        assert_eq!(due(&state), Some(110));
        state.flush_departed(Flusher::Background);
        assert_eq!(due(&state), None, "one is under way");
        state.wrote(Micros(30));
        state.wrote(Micros(40));
        state.flush_landed(Flusher::Client, true);
        assert_eq!(due(&state), None, "that was another one");
        state.flush_landed(Flusher::Background, true);
        assert_eq!(due(&state), Some(130));
        state.flush_departed(Flusher::Background);
        state.flush_landed(Flusher::Background, false);
        assert_eq!(due(&state), Some(130), "it was of no use");
        state.flush_departed(Flusher::Client);
        state.flush_landed(Flusher::Client, true);
        assert_eq!(due(&state), None);
    }

    #[test]
    fn of_two_flushes_the_later_one_counts() {
        for later_first in [false, true] {
            let mut state = WriteBack::default();
            state.wrote(Micros(10));
            state.flush_departed(Flusher::Background);
            state.wrote(Micros(20));
            state.flush_departed(Flusher::Client);
            state.wrote(Micros(30));
            if later_first {
                state.flush_landed(Flusher::Client, true);
                state.flush_landed(Flusher::Background, false);
            } else {
                state.flush_landed(Flusher::Background, true);
                assert_eq!(due(&state), None);
                state.flush_landed(Flusher::Client, true);
            }
            assert_eq!(due(&state), Some(130));
        }
    }

    #[test]
    fn a_failure_counts_from_the_attempt_and_lets_exit_until_the_next_write() {
        let mut state = WriteBack::default();
        assert!(!state.holds_up_exit());
        state.wrote(Micros(10));
        assert_eq!(state.due(AFTER, true), Some(Micros(0)));
        assert_eq!(state.due(0, false), None, "never");
        state.fail(Micros(50));
        assert!(!state.holds_up_exit());
        assert_eq!(state.due(AFTER, true), Some(Micros(150)));
        state.wrote(Micros(60));
        assert!(state.holds_up_exit());
        assert_eq!((due(&state), state.due(0, true)), (Some(150), Some(Micros(0))));
    }

    #[test]
    fn a_reset_arms_it_again() {
        let mut state = WriteBack::default();
        state.wrote(Micros(10));
        state.flush_departed(Flusher::Background);
        state.sent = Some(Micros(20));
        assert!(state.in_background());
        state.forget_flushes();
        assert!(!state.in_background());
        assert_eq!(due(&state), Some(110));
    }
}
