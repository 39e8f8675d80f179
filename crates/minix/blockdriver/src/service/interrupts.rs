//! Whether the interrupts of the device get through.
//!
//! An interrupt line can stay masked: on MINIX the hook of a dead process keeps it so until the slot
//! of the process is collected. Requests would then be found by their time-out at the earliest. So while the device has
//! requests, the clock wakes the service now and then. What is finished at that moment has raised an interrupt, because the
//! device was asked to. If none comes with the next few ticks it is lost, and from then on each tick of a device
//! with requests counts as its interrupt, until one comes.

use core::time::Duration;

/// Time between two looks at a device that has requests, while its interrupts come.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Ticks that an interrupt may take. The kernel delivers it before the service waits twice; a tick can pass in between.
const GRACE: u8 = 3;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LineState {
    /// They come.
    #[default]
    Trusted,
    /// One is due, since so many ticks.
    Due(u8),
    /// They do not come.
    Lost,
}

/// What [`Interrupts::ticked`] found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing new.
    Nothing,
    /// An interrupt is lost. To be said once, and the line is to be enabled again.
    Lost,
}

/// Decides from alarms and interrupts whether interrupts are lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupts {
    state: LineState,
    /// Completions that the clock found and an interrupt should have, since interrupts came last.
    found: u64,
    /// The same in all, once it was clear that the interrupt was lost.
    total: u64,
    /// How often interrupts were found lost.
    losses: u64,
}

impl Interrupts {
    /// Interrupts that come until shown otherwise.
    pub(super) const fn new() -> Self {
        Self {
            state: LineState::Trusted,
            found: 0,
            total: 0,
            losses: 0,
        }
    }

    /// The clock has woken the service, which could have been woken by an interrupt as well, and `completed` requests were
    /// found that the device was asked to interrupt for.
    pub(super) fn ticked(&mut self, completed: u32) -> Finding {
        self.found += u64::from(completed);
        self.state = match self.state {
            LineState::Trusted if completed > 0 => LineState::Due(0),
            LineState::Trusted => LineState::Trusted,
            LineState::Due(ticks) if ticks + 1 < GRACE => LineState::Due(ticks + 1),
            LineState::Due(_) => {
                self.losses += 1;
                self.total += self.found;
                self.state = LineState::Lost;
                return Finding::Lost;
            }
            LineState::Lost => {
                self.total += u64::from(completed);
                LineState::Lost
            }
        };
        Finding::Nothing
    }

    /// An interrupt came. If they were lost before: how many completions were found without.
    pub(super) fn came(&mut self) -> Option<u64> {
        let found = core::mem::take(&mut self.found);
        (core::mem::take(&mut self.state) == LineState::Lost).then_some(found)
    }

    /// Whether the next tick is to wake the service, given whether the device has requests.
    pub(super) fn wants_tick(&self, is_busy: bool) -> bool {
        match self.state {
            LineState::Trusted => false,
            LineState::Due(_) => true,
            LineState::Lost => is_busy,
        }
    }

    /// Whether they do not come.
    pub(super) fn are_lost(&self) -> bool {
        self.state == LineState::Lost
    }

    /// How often interrupts were found lost.
    pub(super) const fn losses(&self) -> u64 {
        self.losses
    }

    /// Completions that were found although their interrupts were lost.
    pub(super) const fn found_without(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_find_nothing_say_nothing() {
        let mut interrupts = Interrupts::new();
        assert!((0..100).all(|_| interrupts.ticked(0) == Finding::Nothing));
        assert!(!interrupts.wants_tick(true));
    }

    #[test]
    fn an_interrupt_that_comes_a_little_later_is_not_lost() {
        let mut interrupts = Interrupts::new();
        for _ in 0..100 {
            assert_eq!(interrupts.ticked(1), Finding::Nothing);
            assert!(interrupts.wants_tick(false));
            assert_eq!(interrupts.ticked(2), Finding::Nothing);
            assert_eq!(interrupts.ticked(0), Finding::Nothing);
            assert_eq!(interrupts.came(), None);
            assert!(!interrupts.wants_tick(true));
        }
        assert_eq!((interrupts.losses(), interrupts.found_without()), (0, 0));
    }

    #[test]
    fn an_interrupt_that_does_not_come_is_lost_once() {
        let mut interrupts = Interrupts::new();
        assert_eq!(
            [1, 0, 0].map(|completed| interrupts.ticked(completed)),
            [Finding::Nothing; 3]
        );
        assert_eq!(interrupts.ticked(1), Finding::Lost);
        assert!(interrupts.wants_tick(true) && !interrupts.wants_tick(false));
        assert!((0..100).all(|_| interrupts.ticked(1) == Finding::Nothing));
        assert_eq!((interrupts.losses(), interrupts.found_without()), (1, 102));
        assert_eq!(interrupts.came(), Some(102));
        assert_eq!(interrupts.came(), None);
        assert!(!interrupts.wants_tick(true));
    }
}
