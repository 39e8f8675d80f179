//! What the thread that makes the faults has to know of the guest, as the loop that reads the console sees it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use guest_protocol::Record;

use crate::report::Guest;

/// How the service says that it resets its device.
const RESET: &str = ": it is reset, with";

#[derive(Debug, Default)]
pub(super) struct State {
    /// What the guest has asked for, in order.
    pub(super) asked: Vec<&'static str>,
    /// Resets of the device that the service has told of.
    pub(super) resets: usize,
    /// QEMUs that were replaced.
    pub(super) replaced: usize,
    /// The run is over.
    pub(super) is_over: bool,
    /// Records and bytes of text that are looked at.
    records: usize,
    text: usize,
}

/// The state, shared by two threads.
#[derive(Debug, Default)]
pub(super) struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

impl Seen {
    /// Takes note of what is new.
    pub(super) fn look(&self, guest: &Guest) {
        let mut state = self.lock();
        let new = &guest.records[state.records..];
        let asked: Vec<&str> = new
            .iter()
            .filter_map(|reported| match reported.record {
                Record::WaitsForHost { what } => Some(what),
                _ => None,
            })
            .collect();
        state.asked.extend(asked);
        state.records = guest.records.len();
        // Whole lines.
        let end = guest.text.rfind('\n').map_or(0, |end| end + 1);
        if end > state.text {
            state.resets += guest.text[state.text..end].matches(RESET).count();
            state.text = end;
        }
        self.changed.notify_all();
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    pub(super) fn resets(&self) -> usize {
        self.lock().resets
    }

    /// Waits until the state is `right`.
    pub(super) fn wait(&self, what: &str, limit: Duration, right: impl Fn(&State) -> bool) -> Result<()> {
        let started = Instant::now();
        let mut state = self.lock();
        while !right(&state) {
            let left = limit.saturating_sub(started.elapsed());
            if state.is_over || left.is_zero() {
                bail!("{what} did not come");
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked has changed a number or none.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_seen_once() {
        let (seen, mut guest) = (Seen::default(), Guest::default());
        let mut hear = |text: &str| {
            guest.hear(Duration::ZERO, text.as_bytes());
            seen.look(&guest);
        };
        hear("a: it is reset, with 3 requests in it\n\u{1e}{\"waits-for-host\":{\"what\":\"x\"}}\nb: it is re");
        assert_eq!((seen.resets(), seen.lock().asked.clone()), (1, vec!["x"]));
        hear("set, with 4 requests in it\n\u{1e}{\"waits-for-host\":{\"what\":\"x\"}}\n");
        assert_eq!((seen.resets(), seen.lock().asked.clone()), (2, vec!["x", "x"]));
        let wait = |right: fn(&State) -> bool| seen.wait("it", Duration::from_millis(1), right);
        assert!(wait(|state| state.resets == 2).is_ok());
        assert_eq!(
            wait(|state| state.resets == 3).unwrap_err().to_string(),
            "it did not come"
        );
    }
}
