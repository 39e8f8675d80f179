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

/// What a service is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Asked to initialise itself, and has not answered.
    Initialising(InitType),
    /// Serves.
    Running,
    /// Was told to stop; whatever ends it now is no crash.
    Stopping,
    /// Dead, until the time has come to replace it.
    BackOff,
    /// Gone for good.
    Gone,
}

/// What RS has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
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

/// What a service that is to leave waits for. Times are microseconds of any one clock.
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

    /// From when on it could leave, and what it was that let it: the last close it got after it was told to stop, or,
    /// if there was none, that it was told. `None` if it was not told.
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

    /// What it is at.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// When that began.
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// How often it was restarted.
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Whether it is up and may be asked to do something.
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
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

    /// The service died, for whatever reason.
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

    /// Time passes. `patient`: the initialisation may take as long as it likes.
    pub fn time(&mut self, now: u64, patient: bool) -> Action {
        let passed = now.saturating_sub(self.since);
        match self.phase {
            Phase::BackOff if passed >= BACK_OFF_US => self.replace(now),
            Phase::Initialising(_) if passed > INIT_LIMIT_US && !patient => {
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

    const ERESTART: Status = Status(-200);

    fn running() -> Life {
        let mut life = Life::new(0);
        assert_eq!(life.answered(Status::OK, 5), Action::Welcome);
        assert!(life.is_running());
        life
    }

    #[test]
    fn a_crash_leads_through_a_replacement_to_a_fresh_instance() {
        let mut life = running();
        assert_eq!(life.died(10), Action::Replace);
        assert_eq!(life.phase(), Phase::Initialising(InitType::RESTART));
        assert_eq!(life.answered(ERESTART, 11), Action::StartFresh);
        assert_eq!(life.phase(), Phase::Initialising(InitType::FRESH));
        assert_eq!(life.answered(Status::OK, 12), Action::Welcome);
        assert_eq!((life.restarts(), life.since()), (1, 12));
        // The second time it has to wait.
        assert_eq!(life.died(100), Action::WaitUntil(100 + BACK_OFF_US));
        assert_eq!(life.time(100 + BACK_OFF_US - 1, false), Action::Nothing);
        assert_eq!(life.time(100 + BACK_OFF_US, false), Action::Replace);
        assert_eq!(life.restarts(), 2);
    }

    #[test]
    fn a_replacement_may_go_on_under_the_old_endpoint() {
        let mut life = running();
        life.died(10);
        assert_eq!(life.answered(Status::OK, 11), Action::Welcome);
        assert!(life.is_running());
    }

    #[test]
    fn a_failed_initialisation_is_the_end() {
        for result in [Status::from(Errno::ENODEV), ERESTART] {
            let mut life = Life::new(0);
            assert_eq!(life.answered(result, 1), Action::Remove, "{result:?}");
            assert_eq!(life.phase(), Phase::Gone);
        }
        let mut replaced = running();
        replaced.died(1);
        assert_eq!(replaced.answered(Errno::EIO.into(), 2), Action::Remove);
        let mut died = Life::new(0);
        assert_eq!(died.died(1), Action::Remove);
        let mut silent = Life::new(0);
        assert_eq!(
            silent.time(INIT_LIMIT_US + 1, true),
            Action::Nothing,
            "clients test as long as they like"
        );
        assert_eq!(silent.time(INIT_LIMIT_US, false), Action::Nothing);
        assert_eq!(silent.time(INIT_LIMIT_US + 1, false), Action::Remove);
    }

    #[test]
    fn a_service_can_leave_from_the_last_close_on() {
        let mut leave = Leave::default();
        leave.closed(5);
        assert_eq!(leave.since(), None);
        leave.told(10);
        leave.told(11);
        assert_eq!(
            leave.since(),
            Some((10, Since::Term)),
            "what was closed before does not count"
        );
        leave.closed(20);
        leave.closed(30);
        assert_eq!(leave.since(), Some((30, Since::Close)));
    }

    #[test]
    fn stopping_is_no_crash() {
        let mut life = running();
        life.stop(7);
        assert_eq!((life.phase(), life.since()), (Phase::Stopping, 7));
        assert_eq!(life.died(8), Action::Remove);
        assert_eq!(life.died(9), Action::Nothing);
        let mut early = Life::new(0);
        early.stop(1);
        assert_eq!(early.answered(Status::OK, 2), Action::Welcome);
        assert_eq!(early.phase(), Phase::Stopping);
    }

    #[test]
    fn only_one_answer_is_expected() {
        let mut life = running();
        assert_eq!(life.answered(Status::OK, 9), Action::Unexpected);
        assert!(life.is_running());
    }
}
