//! The life of a service as RS sees it: start-up, crash, replacement, fresh start, stop.
//!
//! A service that dies is replaced by an instance under the *old* endpoint, which is told to restart. If it answers
//! `ERESTART`, everything of it goes, and a fresh instance starts under a new endpoint. Only the decisions are here;
//! the kernel's RS carries them out.

use minix_abi::rs::InitType;
use minix_abi::{Errno, Status};

use guest_protocol::Since;

/// Time that RS lets pass before a service that was restarted before is restarted again, in microseconds.
///
/// MINIX waits a second if it has kept a copy of the program. Runs with hundreds of crashes should end today.
pub const BACK_OFF_US: u64 = 10_000;
/// How long a service may take for its initialisation, in microseconds.
pub const INIT_LIMIT_US: u64 = 20_000_000;
/// How long a service that was asked to stop has until it is killed, in microseconds.
pub const STOP_LIMIT_US: u64 = 2_000_000;

/// A phase in the life of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has not answered the request to initialise itself.
    Initialising(InitType),
    Running,
    /// It was told to stop; its end is no crash.
    Stopping,
    /// Dead, until the time comes to replace it.
    BackOff,
    /// Gone for good.
    Gone,
}

/// The next action of RS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Nothing,
    /// Answer the service that it is initialised.
    Welcome,
    /// Kill it if it still lives, unpublish it and forget it.
    Remove,
    /// Start an instance under the old endpoint, marked as a restart.
    Replace,
    /// Wait until the given time, then ask again.
    WaitUntil(u64),
    /// Kill it, unpublish it, and start an instance under a new endpoint.
    StartFresh,
    /// Answer that no initialisation was expected.
    Unexpected,
}

/// The events that let a service leave. Times are microseconds of any one clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leave {
    told: Option<u64>,
    closed: Option<u64>,
}

impl Leave {
    /// It was told to stop. Only the first time counts.
    pub fn told(&mut self, now: u64) {
        self.told.get_or_insert(now);
    }

    /// It got a request to close its disk.
    pub const fn closed(&mut self, now: u64) {
        self.closed = Some(now);
    }

    /// From when on it could leave: since the last close after it was told to stop, or since it was told. `None` if it was
    /// not told.
    pub fn since(&self) -> Option<(u64, Since)> {
        let told = self.told?;
        match self.closed.filter(|&closed| closed > told) {
            Some(closed) => Some((closed, Since::Close)),
            None => Some((told, Since::Term)),
        }
    }
}

/// The life of one service. Times are microseconds of any one clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    phase: Phase,
    since: u64,
    restarts: u32,
}

impl Life {
    /// A service that was just asked to initialise itself.
    pub const fn new(now: u64) -> Self {
        Self {
            phase: Phase::Initialising(InitType::FRESH),
            since: now,
            restarts: 0,
        }
    }

    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// When the phase began.
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// How often it was restarted.
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }

    fn enter(&mut self, phase: Phase, now: u64) {
        (self.phase, self.since) = (phase, now);
    }

    /// The service says how its initialisation went.
    pub fn answered(&mut self, result: Status, now: u64) -> Action {
        match self.phase {
            Phase::Initialising(_) if result == Status::OK => {
                self.enter(Phase::Running, now);
                Action::Welcome
            }
            Phase::Initialising(InitType::RESTART) if result == Errno::ERESTART.into() => {
                self.enter(Phase::Initialising(InitType::FRESH), now);
                Action::StartFresh
            }
            Phase::Initialising(_) => {
                self.enter(Phase::Gone, now);
                Action::Remove
            }
            // It was told to stop before it had answered: it may still say so.
            Phase::Stopping if result == Status::OK => Action::Welcome,
            _ => Action::Unexpected,
        }
    }

    /// The service died.
    pub fn died(&mut self, now: u64) -> Action {
        match self.phase {
            Phase::Running if self.restarts == 0 => self.replace(now),
            Phase::Running => {
                self.enter(Phase::BackOff, now);
                Action::WaitUntil(now + BACK_OFF_US)
            }
            Phase::BackOff | Phase::Gone => Action::Nothing,
            // One that dies in its initialisation is not tried again.
            Phase::Initialising(_) | Phase::Stopping => {
                self.enter(Phase::Gone, now);
                Action::Remove
            }
        }
    }

    fn replace(&mut self, now: u64) -> Action {
        self.restarts += 1;
        self.enter(Phase::Initialising(InitType::RESTART), now);
        Action::Replace
    }

    /// It is to stop.
    pub fn stop(&mut self, now: u64) {
        if matches!(self.phase, Phase::Initialising(_) | Phase::Running) {
            self.enter(Phase::Stopping, now);
        }
    }

    /// Time passes. `may_take_long`: there is no limit for the initialisation.
    pub fn time(&mut self, now: u64, may_take_long: bool) -> Action {
        let passed = now.saturating_sub(self.since);
        match self.phase {
            Phase::BackOff if passed >= BACK_OFF_US => self.replace(now),
            Phase::Initialising(_) if passed > INIT_LIMIT_US && !may_take_long => {
                self.enter(Phase::Gone, now);
                Action::Remove
            }
            _ => Action::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Crash, replacement, back-off and stop are what `cargo xtask test minix/life` and `minix/kills` run through.

    #[test]
    fn only_the_start_of_a_driver_has_a_time_limit() {
        let mut life = Life::new(0);
        assert_eq!(life.time(INIT_LIMIT_US + 1, true), Action::Nothing);
        assert_eq!(life.time(INIT_LIMIT_US, false), Action::Nothing);
        assert_eq!(life.time(INIT_LIMIT_US + 1, false), Action::Remove);
    }

    #[test]
    fn second_answers_and_erestart_at_first_are_unexpected() {
        let mut life = Life::new(0);
        assert_eq!(life.answered(Status::OK, 5), Action::Welcome);
        assert_eq!(life.answered(Status::OK, 9), Action::Unexpected);
        assert_eq!(life.phase(), Phase::Running);
        let fresh = Life::new(0).answered(Errno::ERESTART.into(), 1);
        assert_eq!(fresh, Action::Remove);
    }

    #[test]
    fn a_service_can_leave_from_the_last_close_on() {
        let mut leave = Leave::default();
        leave.closed(5);
        assert_eq!(leave.since(), None);
        leave.told(10);
        leave.told(11);
        assert_eq!(leave.since(), Some((10, Since::Term)), "a close before does not count");
        leave.closed(20);
        leave.closed(30);
        assert_eq!(leave.since(), Some((30, Since::Close)));
    }
}
