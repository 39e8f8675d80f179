//! The end of a request: its one answer.

use minix_abi::bdev::BdevReply;
use minix_abi::{Message, MessageType, Status};

use crate::barrier::Barrier;
use crate::jobs::{Caller, JobId, Stage};
use crate::transfer::Direction;
use crate::{BlockDevice, BlockDriver, Kernel, Micros};

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Answers a request and forgets it. The only way for a job to leave the table, which is why there is one answer for
    /// each.
    pub(crate) fn answer(&mut self, kernel: &mut K, now: Micros, id: JobId, status: Status) {
        let job = &self.jobs[id];
        let (caller, traced) = (job.caller, job.traced);
        let direction = (job.stage == Stage::Transfer).then_some(job.transfer.direction);
        if self.barrier.job() == Some(id) {
            // All requests behind it wait.
            self.barrier = Barrier::lifted(self.jobs.after(id));
            self.scan = None;
        }
        self.jobs.remove(id);
        if let Some(direction) = direction {
            let bytes = u64::from(status.result().unwrap_or(0));
            match direction {
                Direction::Read => self.counters.bytes_read = self.counters.bytes_read.wrapping_add(bytes),
                Direction::Write => {
                    self.counters.bytes_written = self.counters.bytes_written.wrapping_add(bytes);
                    self.writes -= 1;
                }
            }
        }
        if let Some(ticket) = traced {
            self.trace.end(ticket, now, status);
        }
        // Somebody may have waited for this one.
        self.busy = true;
        self.answered = true;
        self.send_reply(kernel, caller, status);
    }

    pub(crate) fn send_reply(&mut self, kernel: &mut K, caller: Caller, status: Status) {
        self.counters.replies += 1;
        self.counters.errors += u64::from(status.result().is_err());
        let reply = BdevReply { status, id: caller.id };
        let reply = Message::with_payload(MessageType::BDEV_REPLY, &reply);
        kernel.reply(caller.endpoint, caller.status, &reply);
    }

    /// Records in the trace that a request has its turn, if somebody wants to know.
    pub(crate) fn begin_trace(&mut self, now: Micros, id: JobId) {
        let job = &mut self.jobs[id];
        let request = &job.request;
        if !self.trace.records(request.minor) {
            return;
        }
        let (size, position, flags) = match job.kind.direction() {
            Some(_) => (request.count as u32, request.position, request.flags.bits()),
            None if job.kind == crate::jobs::Kind::Ioctl => (request.request.0 as u32, 0, 0),
            None => (request.access.bits(), 0, 0),
        };
        let kind = job.kind.traced_as();
        job.traced = self.trace.begin(request.minor, now, kind, size, position, flags);
    }
}
