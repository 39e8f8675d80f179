//! The end of a request: its one answer.

use minix_abi::bdev::BdevReply;
use minix_abi::{Instant, Status};

use super::request::{Caller, Kind};
use crate::device::{BlockDevice, Direction};
use crate::driver::BlockDriver;
use crate::engine::job::{Job, JobId, Stage};
use crate::kernel::Kernel;

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Answers a request and forgets it. The only way for a job to leave the table, which is why there is one answer for
    /// each.
    #[inline(never)]
    pub(crate) fn answer(&mut self, kernel: &mut K, now: Instant, id: JobId, status: Status) {
        let job = &self.intake[id];
        if job.stage == Stage::Transfer {
            let direction = job.transfer.direction;
            self.latencies.record(direction.into(), now.micros_since(job.arrived));
            self.scheduler.all_submitted(id);
            self.scheduler.leaves(id, &job.transfer);
            self.count_bytes(direction, status.result().unwrap_or(0));
        }
        if self.intake.lift(id) {
            self.partitions.stop_scan();
        }
        let (caller, traced) = self.intake.remove(id);
        self.scheduler.answered(&self.intake);
        if let Some(ticket) = traced {
            self.trace.end(ticket, now, status);
        }
        self.send_reply(kernel, caller, status);
    }

    /// [Answers](Self::answer) a transfer whose parts were all submitted and are back, as most requests end.
    // The calls come last, so that the usual case needs no room on the stack.
    #[inline(always)]
    pub(crate) fn answer_done(&mut self, kernel: &mut K, now: Instant, id: JobId) {
        let Job {
            transfer,
            traced,
            arrived,
            ..
        } = &self.intake[id];
        let (direction, bytes) = (transfer.direction, transfer.bytes);
        let status = Status(bytes as i32);
        // Time does not go back, so that there is nothing to saturate.
        let took = now.as_micros().wrapping_sub(arrived.as_micros());
        if traced.is_some() || self.scheduler.any_blocked() {
            return self.answer(kernel, now, id, status);
        }
        if !self.latencies.record_like_last(direction.into(), took) {
            return self.answer_done_otherwise(kernel, id, took);
        }
        self.scheduler.leaves(id, transfer);
        self.count_bytes(direction, bytes);
        let (caller, _) = self.intake.remove(id);
        self.send_reply(kernel, caller, status);
    }

    /// The same for one that took another time than the one before.
    #[inline(never)]
    fn answer_done_otherwise(&mut self, kernel: &mut K, id: JobId, took: u64) {
        let transfer = &self.intake[id].transfer;
        let (direction, bytes) = (transfer.direction, transfer.bytes);
        self.latencies.record_elsewhere(direction.into(), took);
        self.scheduler.leaves(id, transfer);
        self.count_bytes(direction, bytes);
        let (caller, _) = self.intake.remove(id);
        self.send_reply(kernel, caller, Status(bytes as i32));
    }

    #[inline]
    fn count_bytes(&mut self, direction: Direction, bytes: u32) {
        let sum = match direction {
            Direction::Read => &mut self.counters.bytes_read,
            Direction::Write => &mut self.counters.bytes_written,
        };
        *sum = sum.wrapping_add(bytes.into());
    }

    #[inline]
    pub(crate) fn send_reply(&mut self, kernel: &mut K, caller: Caller, status: Status) {
        self.counters.replies += 1;
        if status.result().is_err() {
            self.counters.errors += 1;
        }
        let reply = BdevReply { status, id: caller.id };
        self.reply.replace_payload(&reply);
        kernel.reply(caller.endpoint, caller.status, &self.reply);
    }

    /// Records in the trace that a request has its turn, if the minor is traced.
    #[cold]
    pub(crate) fn begin_trace(&mut self, now: Instant, id: JobId) {
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
