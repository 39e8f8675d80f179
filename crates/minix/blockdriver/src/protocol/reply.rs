//! The end of a request: its one answer.

use minix_abi::bdev::BdevReply;
use minix_abi::{Instant, Status};

use super::request::{Caller, Kind};
use crate::device::{BlockDevice, Direction};
use crate::driver::BlockDriver;
use crate::engine::job::{JobId, Stage};
use crate::kernel::Kernel;

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Answers a request and forgets it. The only way for a job to leave the table, which is why there is one answer for
    /// each.
    #[inline(never)]
    pub(crate) fn answer(&mut self, kernel: &mut K, now: Instant, id: JobId, status: Status) {
        self.answer_inline(kernel, now, id, status);
    }

    /// The same, for the place from which most answers come.
    #[inline(always)]
    pub(crate) fn answer_inline(&mut self, kernel: &mut K, now: Instant, id: JobId, status: Status) {
        let job = &self.intake[id];
        if job.stage == Stage::Transfer {
            self.scheduler.leaves(id, &job.transfer);
        }
        let removed = self.intake.remove(id);
        if removed.was_barrier {
            self.partitions.stop_scan();
        }
        let bytes = u64::from(status.result().unwrap_or(0));
        match removed.direction {
            Some(Direction::Read) => self.counters.bytes_read = self.counters.bytes_read.wrapping_add(bytes),
            Some(Direction::Write) => self.counters.bytes_written = self.counters.bytes_written.wrapping_add(bytes),
            None => {}
        }
        self.scheduler.answered(&self.intake);
        if let Some(ticket) = removed.traced {
            self.trace.end(ticket, now, status);
        }
        self.send_reply(kernel, removed.caller, status);
    }

    #[inline]
    pub(crate) fn send_reply(&mut self, kernel: &mut K, caller: Caller, status: Status) {
        self.counters.replies += 1;
        self.counters.errors += u64::from(status.result().is_err());
        let reply = BdevReply { status, id: caller.id };
        self.reply.replace_payload(&reply);
        kernel.reply(caller.endpoint, caller.status, &self.reply);
    }

    /// Records in the trace that a request has its turn, if the minor is traced.
    #[inline]
    pub(crate) fn begin_trace(&mut self, now: Instant, id: JobId) {
        if self.trace.records(self.intake[id].request.minor) {
            self.trace_request(now, id);
        }
    }

    #[cold]
    fn trace_request(&mut self, now: Instant, id: JobId) {
        let job = &mut self.intake[id];
        let request = &job.request;
        let (size, position, flags) = match job.kind.direction() {
            Some(_) => (request.count as u32, request.position, request.flags.bits()),
            None if job.kind == Kind::Ioctl => (request.request.0 as u32, 0, 0),
            None => (request.access.bits(), 0, 0),
        };
        let kind = job.kind.traced_as();
        job.traced = self.trace.begin(request.minor, now, kind, size, position, flags);
    }
}
