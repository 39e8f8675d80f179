//! Whether the device works, and what its resets came to. Time-outs are found by `pace` and handled by `recovery`.
//!
//! A reset that worked is no sign of health, a completed request is. Without one the next reset comes after a pause, and
//! after some of them the device is given up.

use crate::log_line;
use core::time::Duration;

use minix_abi::Instant;
use minix_abi::disk_control::{Event, EventKind};

use super::pace::Pace;
use crate::options::DriverOptions;

/// A device that is given less time for a request is reset all the time, also if a client asks for that.
const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// Whether the device can be worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceState {
    /// Yes, as far as is known.
    Good,
    /// It is to be reset, at this time.
    Resetting(Instant),
    /// It is given up.
    Dead,
}

pub(crate) struct Health {
    state: DeviceState,
    /// How quick it is.
    pub(crate) pace: Pace,
    /// What clients are told the time-out is: what they asked for.
    told_timeout: Duration,
    /// Resets in a row that did not bring the device back.
    failed: u8,
    /// Resets since the device last completed a request.
    fruitless: u8,
    /// When the last of them was.
    last_reset: Instant,
}

impl Health {
    pub(crate) fn new(options: &DriverOptions) -> Self {
        Self {
            state: DeviceState::Good,
            pace: Pace::new(options.depth, options.request_timeout),
            told_timeout: options.request_timeout,
            failed: 0,
            fruitless: 0,
            last_reset: Instant::START,
        }
    }

    pub(crate) const fn state(&self) -> DeviceState {
        self.state
    }

    pub(crate) const fn is_good(&self) -> bool {
        matches!(self.state, DeviceState::Good)
    }

    pub(crate) const fn is_dead(&self) -> bool {
        matches!(self.state, DeviceState::Dead)
    }

    /// What clients are told the time-out is.
    pub(crate) const fn told_timeout(&self) -> Duration {
        self.told_timeout
    }

    /// A client sets the time-out.
    pub(crate) fn set_timeout(&mut self, asked: Duration) {
        self.told_timeout = asked;
        self.pace.set_timeout(asked.max(MIN_TIMEOUT));
    }

    /// The time-out is that of the options again.
    pub(crate) fn restore_timeout(&mut self, options: &DriverOptions) {
        self.told_timeout = options.request_timeout;
        self.pace.set_timeout(options.request_timeout);
    }

    /// A poll found a completed request.
    pub(crate) const fn works(&mut self) {
        self.fruitless = 0;
    }

    /// The device needs a reset. Whether that is to be now; if not, it is after a pause. An `idle` driver has no request.
    pub(crate) fn wants_reset(&mut self, idle: bool, pause: Duration, now: Instant) -> bool {
        if idle && self.last_reset.after(self.pace.timeout()) <= now {
            // It worked for a while, and had nothing to do.
            self.fruitless = 0;
        }
        let again = self.last_reset.after(pause);
        let waits = self.fruitless > 0 && again > now;
        if waits {
            self.state = DeviceState::Resetting(again);
        }
        !waits
    }

    /// The device was reset. Whether that `worked`, and whether completed requests were `handed_over`. Returns what there is to record
    /// of a device that does not work again.
    pub(crate) fn was_reset(
        &mut self,
        worked: bool,
        handed_over: bool,
        options: &DriverOptions,
        now: Instant,
    ) -> Option<Event> {
        self.last_reset = now;
        self.fruitless = if handed_over {
            1
        } else {
            self.fruitless.saturating_add(1)
        };
        self.failed = if worked { 0 } else { self.failed.saturating_add(1) };
        let (state, event) = if self.failed >= options.reset_attempts || self.fruitless > options.fruitless_resets {
            log_line!(
                Error,
                "the device is given up after {} resets without a use, of which the last {} failed",
                self.fruitless,
                self.failed
            );
            let event = Event {
                first: self.fruitless.into(),
                second: self.failed.into(),
                ..Event::new(EventKind::GIVEN_UP)
            };
            (DeviceState::Dead, Some(event))
        } else if worked {
            (DeviceState::Good, None)
        } else {
            log_line!(Warn, "reset {} of {} has failed", self.failed, options.reset_attempts);
            let event = Event {
                count: self.failed.into(),
                ..Event::new(EventKind::RESET_FAILED)
            };
            (DeviceState::Resetting(now.after(options.reset_pause)), Some(event))
        };
        self.state = state;
        event
    }
}
