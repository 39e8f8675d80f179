//! Which transfer the device gets next.
//!
//! Transfers run in any order, as long as nobody can tell: two that overlap, one of which writes, keep the order in which they
//! came. Reads go ahead of writes, because somebody waits for them; after some of them a write has its turn. A write that
//! has to be durable waits for all writes ahead of it, and those behind it wait for it.

use crate::jobs::{JobId, Stage};
use crate::recovery::Health;
use crate::transfer::{Direction, Durability, Transfer};
use crate::{BlockDevice, BlockDriver, Kernel, Micros};

/// What became of an attempt to give the device something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It went, or is over for other reasons.
    Went,
    /// The device has no room.
    Full,
    /// It needs staging memory, of which none is free.
    Stuck,
    /// It did not, and the device was reset for that, or is to be.
    Reset,
}

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Gives the device what it can take. Returns whether requests were answered on the way, so that others may have their
    /// turn.
    pub(crate) fn pump(&mut self, kernel: &mut K, now: Micros) -> bool {
        self.answered = false;
        // Each round gives the device something, answers a request, sends one to staging memory, marks some as not to be
        // merged, or is the last one. No request takes more than a few of them.
        let mut rounds = 8 * (JOBS + 1);
        while self.busy && !self.device_full && !matches!(self.health, Health::Resetting { .. }) {
            if rounds == 0 {
                self.unfinished = true;
                break;
            }
            rounds -= 1;
            if self.flights.len() >= self.depth() {
                // A slow device that has enough can still be given a flush.
                self.device_full = self.flights.len() >= self.full_depth();
                break;
            }
            let needs_device = self.barrier.running().is_some_and(|running| !running.submitted);
            let step = if needs_device {
                self.start_exclusive(kernel, now)
            } else if let Some(id) = self.pick() {
                self.start(kernel, now, id)
            } else {
                self.busy = false;
                break;
            };
            match step {
                Step::Went => {}
                Step::Reset if self.health == Health::Good => {
                    // One reset is enough for one call.
                    self.unfinished = true;
                    break;
                }
                Step::Reset => {}
                Step::Full => {
                    self.counters.device_full += 1;
                    self.device_full = true;
                }
                Step::Stuck => {
                    // Not reached: what needs staging memory is not picked unless some is free.
                    self.busy = false;
                }
            }
        }
        self.answered
    }

    /// Device requests at a time. Fewer than the options allow if the device is slow.
    pub(crate) fn depth(&self) -> usize {
        usize::from(self.pace.depth()).min(JOBS)
    }

    /// Device requests at a time if the device is quick.
    pub(crate) fn full_depth(&self) -> usize {
        usize::from(self.options.depth).min(JOBS)
    }

    /// The transfer to go on with.
    fn pick(&self) -> Option<JobId> {
        let write_is_due = self.writes > 0 && self.reads_in_a_row >= self.options.reads_before_write;
        let (mut read, mut write) = (None, None);
        let mut next = self.jobs.first();
        while let Some(id) = next {
            let job = &self.jobs[id];
            if job.stage != Stage::Transfer {
                break;
            }
            next = self.jobs.after(id);
            let transfer = &job.transfer;
            if !transfer.is_ready() || transfer.staged && !self.staging.any_free() {
                continue;
            }
            if transfer.given > 0 {
                // It is under way already.
                return Some(id);
            }
            let choice = match transfer.direction {
                Direction::Read => &mut read,
                Direction::Write => &mut write,
            };
            if choice.is_none() && self.may_start(id) {
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
    fn may_start(&self, id: JobId) -> bool {
        let mine = &self.jobs[id].transfer;
        if mine.direction == Direction::Read && self.writes == 0 {
            return true;
        }
        let mut next = self.jobs.first();
        while let Some(other) = next.filter(|&other| other != id) {
            let ahead = &self.jobs[other].transfer;
            let both_write = mine.direction == Direction::Write && ahead.direction == Direction::Write;
            let barrier = mine.durability != Durability::Given || ahead.durability != Durability::Given;
            if mine.conflicts(ahead) || both_write && barrier {
                return false;
            }
            next = self.jobs.after(other);
        }
        true
    }

    /// A transfer that could go in one device request with `head` and goes on where `last` ends.
    pub(crate) fn neighbour(&self, head: JobId, last: JobId) -> Option<JobId> {
        let (head_transfer, end) = (&self.jobs[head].transfer, self.jobs[last].transfer.end());
        if self.jobs.len() < 2 || !may_merge(head_transfer) {
            return None;
        }
        let mut next = self.jobs.first();
        while let Some(id) = next {
            let job = &self.jobs[id];
            if job.stage != Stage::Transfer {
                break;
            }
            let transfer = &job.transfer;
            let fits = transfer.first == end && transfer.direction == head_transfer.direction;
            if fits && transfer.is_ready() && transfer.given == 0 && may_merge(transfer) && self.may_start(id) {
                return Some(id);
            }
            next = self.jobs.after(id);
        }
        None
    }
}

/// Whether a transfer can share a device request. Nothing has to be said of writes that are to be durable: those ahead of
/// one are done when it starts, and those behind it wait.
fn may_merge(transfer: &Transfer) -> bool {
    !transfer.alone && !transfer.staged
}
