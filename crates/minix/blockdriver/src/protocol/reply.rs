//! The end of a request: its one answer.

use minix_abi::bdev::BdevReply;
use minix_abi::{Instant, Message, MessageType, Status};

use super::request::{Caller, Kind};
use crate::device::{BlockDevice, Direction};
use crate::driver::BlockDriver;
use crate::engine::job::{JobId, Stage};
use crate::kernel::Kernel;

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Answers a request and forgets it. The only way for a job to leave the table, which is why there is one answer for
    /// each.
    pub(crate) fn answer(&mut self, kernel: &mut K, now: Instant, id: JobId, status: Status) {
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

    pub(crate) fn send_reply(&mut self, kernel: &mut K, caller: Caller, status: Status) {
        self.counters.replies += 1;
        self.counters.errors += u64::from(status.result().is_err());
        let reply = BdevReply { status, id: caller.id };
        let reply = Message::with_payload(MessageType::BDEV_REPLY, &reply);
        kernel.reply(caller.endpoint, caller.status, &reply);
    }

    /// Records in the trace that a request has its turn, if the minor is traced.
    pub(crate) fn begin_trace(&mut self, now: Instant, id: JobId) {
        let job = &mut self.intake[id];
        let request = &job.request;
        if !self.trace.records(request.minor) {
            return;
        }
        let (size, position, flags) = match job.kind.direction() {
            Some(_) => (request.count as u32, request.position, request.flags.bits()),
            None if job.kind == Kind::Ioctl => (request.request.0 as u32, 0, 0),
            None => (request.access.bits(), 0, 0),
        };
        let kind = job.kind.traced_as();
        job.traced = self.trace.begin(request.minor, now, kind, size, position, flags);
    }
}
