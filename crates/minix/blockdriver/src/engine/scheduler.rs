//! Which transfer the device gets next.
//!
//! Transfers run in any order, as long as no client can tell: two that overlap, one of which writes, keep the order in which
//! they came. Reads go ahead of writes, because clients wait for them; after some of them a write has its turn. A write that
//! has to be durable waits for all writes ahead of it, and those after it wait for it.

use super::intake::Intake;
use super::job::{JobId, Stage};
use crate::device::Direction;

pub(crate) struct Scheduler {
    /// Reads that may go ahead of a waiting write.
    reads_before_write: u8,
    /// Transfers that write and are not answered yet; the barrier aside, nothing else makes order matter.
    writes: u16,
    /// Reads that went ahead of a write since the last one had its turn.
    reads_in_a_row: u8,
    /// Something may be there to give to the device.
    busy: bool,
    /// The device has no room until it completes something.
    device_full: bool,
    /// There is more to give to the device, and it was left for the next call.
    unfinished: bool,
    /// A request was submitted without a notification.
    unnotified: bool,
}

impl Scheduler {
    pub(crate) const fn new(reads_before_write: u8) -> Self {
        Self {
            reads_before_write,
            writes: 0,
            reads_in_a_row: 0,
            busy: false,
            device_full: false,
            unfinished: false,
            unnotified: false,
        }
    }

    /// Something may be there to give to the device.
    pub(crate) const fn wake(&mut self) {
        self.busy = true;
    }

    /// There is nothing to give to the device.
    pub(crate) const fn rest(&mut self) {
        self.busy = false;
    }

    pub(crate) const fn is_busy(&self) -> bool {
        self.busy
    }

    /// The device has completed something.
    pub(crate) const fn completed(&mut self) {
        self.device_full = false;
        self.busy = true;
    }

    /// The device has no room until it completes something.
    pub(crate) const fn device_is_full(&mut self) {
        self.device_full = true;
    }

    pub(crate) const fn is_device_full(&self) -> bool {
        self.device_full
    }

    /// The device was reset: it has nothing.
    pub(crate) const fn device_is_empty(&mut self) {
        self.completed();
        self.unnotified = false;
    }

    /// A call to the driver begins.
    pub(crate) const fn begin_call(&mut self) {
        self.unfinished = false;
    }

    /// Leaves the rest for the next call.
    pub(crate) const fn leave_rest(&mut self) {
        self.unfinished = true;
    }

    pub(crate) const fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// The device took a request.
    pub(crate) const fn submitted(&mut self) {
        self.unnotified = true;
    }

    /// Whether the device is to be notified now.
    pub(crate) const fn take_unnotified(&mut self) -> bool {
        core::mem::replace(&mut self.unnotified, false)
    }

    /// A transfer passed its checks.
    pub(crate) const fn admitted(&mut self, direction: Direction) {
        if matches!(direction, Direction::Write) {
            self.writes += 1;
        }
        self.busy = true;
    }

    /// A transfer had its turn.
    pub(crate) const fn had_turn(&mut self, direction: Direction) {
        self.reads_in_a_row = match direction {
            Direction::Read if self.writes > 0 => self.reads_in_a_row.saturating_add(1),
            _ => 0,
        };
    }

    /// A request was answered; a transfer, if it had a direction. Others may have waited for it.
    pub(crate) const fn answered(&mut self, direction: Option<Direction>) {
        if matches!(direction, Some(Direction::Write)) {
            self.writes -= 1;
        }
        self.busy = true;
    }

    /// The transfer to go on with.
    pub(crate) fn pick<const N: usize>(&self, intake: &Intake<N>, any_bounce_free: bool) -> Option<JobId> {
        let write_is_due = self.writes > 0 && self.reads_in_a_row >= self.reads_before_write;
        let (mut read, mut write) = (None, None);
        let mut next = intake.first();
        while let Some(id) = next {
            let job = &intake[id];
            if job.stage != Stage::Transfer {
                break;
            }
            next = intake.after(id);
            let transfer = &job.transfer;
            if !transfer.is_ready() || transfer.needs_bounce() && !any_bounce_free {
                continue;
            }
            if transfer.submitted() > 0 {
                // It is under way already.
                return Some(id);
            }
            let choice = match transfer.direction {
                Direction::Read => &mut read,
                Direction::Write => &mut write,
            };
            if choice.is_none() && self.may_start(intake, id) {
                *choice = Some(id);
                let decided = if write_is_due { write } else { read };
                if decided.is_some() {
                    return decided;
                }
            }
        }
        if write_is_due { write.or(read) } else { read.or(write) }
    }

    /// Whether everything is done that has to be done before this transfer.
    fn may_start<const N: usize>(&self, intake: &Intake<N>, id: JobId) -> bool {
        let mine = &intake[id].transfer;
        if mine.direction == Direction::Read && self.writes == 0 {
            return true;
        }
        let mut next = intake.first();
        while let Some(other) = next.filter(|&other| other != id) {
            let ahead = &intake[other].transfer;
            let both_write = mine.direction == Direction::Write && ahead.direction == Direction::Write;
            if mine.conflicts(ahead) || both_write && (mine.is_forced() || ahead.is_forced()) {
                return false;
            }
            next = intake.after(other);
        }
        true
    }

    /// A transfer that could go in one device request with `head` and starts where `last` ends.
    pub(crate) fn neighbour<const N: usize>(&self, intake: &Intake<N>, head: JobId, last: JobId) -> Option<JobId> {
        let (head_transfer, end) = (&intake[head].transfer, intake[last].transfer.end());
        if intake.len() < 2 || !head_transfer.may_merge() {
            return None;
        }
        let mut next = intake.first();
        while let Some(id) = next {
            let job = &intake[id];
            if job.stage != Stage::Transfer {
                break;
            }
            let transfer = &job.transfer;
            let fits = transfer.first == end && transfer.direction == head_transfer.direction;
            let is_whole = transfer.is_ready() && transfer.submitted() == 0;
            if fits && is_whole && transfer.may_merge() && self.may_start(intake, id) {
                return Some(id);
            }
            next = intake.after(id);
        }
        None
    }
}
