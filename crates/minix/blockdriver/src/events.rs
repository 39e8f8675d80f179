//! The last events of the service, for a client that asks. They are kept whatever the log's level is.

use minix_abi::Instant;
use minix_abi::disk_control::{EVENTS, Event, EventKind};

/// A ring of the last [`EVENTS`] events.
pub(crate) struct EventLog {
    events: [Event; EVENTS],
    /// How many were recorded, kept or not.
    recorded: u64,
}

impl EventLog {
    pub(crate) const fn new() -> Self {
        Self {
            events: [Event::new(EventKind(0)); EVENTS],
            recorded: 0,
        }
    }

    /// Records what happens at `now`.
    #[cold]
    #[inline(never)]
    pub(crate) fn record(&mut self, now: Instant, event: Event) {
        self.events[self.recorded as usize % EVENTS] = Event {
            time_us: now.as_micros(),
            ..event
        };
        self.recorded += 1;
    }

    /// Events that were recorded and are not kept.
    pub(crate) const fn lost(&self) -> u64 {
        self.recorded.saturating_sub(EVENTS as u64)
    }

    /// The events that are kept, the oldest first: those of the first part, then those of the second.
    pub(crate) fn parts(&self) -> (&[Event], &[Event]) {
        let next = self.recorded as usize % EVENTS;
        let (newer, older) = self.events.split_at(next);
        if self.recorded >= EVENTS as u64 {
            (older, newer)
        } else {
            (newer, &[])
        }
    }

    /// Places that no event was recorded to yet.
    pub(crate) fn unused(&self) -> &[Event] {
        let used = self.recorded.min(EVENTS as u64) as usize;
        self.events.get(used..).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn times(log: &EventLog) -> Vec<u64> {
        let (older, newer) = log.parts();
        older.iter().chain(newer).map(|event| event.time_us).collect()
    }

    #[test]
    fn the_last_events_are_kept_in_order() {
        let mut log = EventLog::new();
        for recorded in 0..=3 * EVENTS as u64 {
            let first = recorded.saturating_sub(EVENTS as u64);
            assert_eq!(times(&log), (first..recorded).collect::<Vec<_>>());
            assert_eq!(log.lost(), first);
            assert_eq!(log.unused().len() as u64, (EVENTS as u64).saturating_sub(recorded));
            log.record(Instant::from_micros(recorded), Event::new(EventKind::RESET));
        }
    }
}
