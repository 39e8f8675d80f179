//! Transfers become device requests: grants become addresses, or pass through bounce buffers.
//!
//! A transfer that one look-up of addresses covers reaches the device only if all of it has addresses. A longer one goes
//! piece by piece, each as long as the look-up and the device allow.

use minix_abi::disk_control::ResetReason;
use minix_abi::kernel_call::GrantedRange as _;
use minix_abi::{Errno, Instant};

use super::barrier::Running;
use super::health::DeviceState;
use super::in_flight::Purpose;
use super::job::JobId;
use crate::device::{
    BOUNCE_BYTES, BlockDevice, Data, DeviceRequest, Direction, Refusal, SECTOR_BYTES, TransferLimits, whole_blocks,
};
use crate::driver::BlockDriver;
use crate::kernel::Kernel;
use crate::transfer::bounce_pool::copy_in;
use crate::transfer::map::{Mapped, check_and_cut, cut_piece, look_up};

/// Transfers that share a device request are not longer together.
const MERGED_BYTES: u64 = 1 << 20;

/// What became of an attempt to give the device something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The device took it, or it is over for other reasons.
    Done,
    /// The device has no room.
    Full,
    /// The device was reset for that, or is to be.
    Reset,
}

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Whether [`settle`](Self::settle) may find something to do; `false` is certain.
    #[inline]
    pub(crate) fn has_something_to_do(&self, now: Instant) -> bool {
        self.scheduler.has_something_to_do()
            || self.intake.any_waits()
            || self
                .write_back
                .may_be_due(now, self.flush_after_micros, self.terminating)
    }

    /// Goes on with all that is ready: requests whose turn it is, and the device.
    #[inline(never)]
    pub(crate) fn settle(&mut self, kernel: &mut K, now: Instant) {
        self.scheduler.begin_call();
        if self
            .write_back
            .may_be_due(now, self.flush_after_micros, self.terminating)
        {
            self.flush_in_time(kernel, now);
        }
        // No request begins to wait in here.
        let any_waits = self.intake.any_waits();
        // Mostly one transfer is to be submitted, and there is nothing else to do.
        if let Some(id) = self.scheduler.single()
            && !any_waits
            && self.scheduler.may_submit()
            && self.bounce.any_free()
            && self.health.is_good()
            && !self.has_depth()
        {
            let attempt = self.start(kernel, now, id);
            self.goes_on_after(attempt);
        }
        if self.scheduler.is_busy() || any_waits {
            self.settle_all(kernel, now);
        }
        if self.scheduler.take_unnotified() {
            self.counters.notifies += 1;
            self.device.notify();
        }
    }

    /// Gives turns to requests, and the device what is ready. Bounded, as each round but the last answers a request.
    #[inline(never)]
    fn settle_all(&mut self, kernel: &mut K, now: Instant) {
        // What was answered before this call, or in it, may have been the barrier.
        self.take_turns(kernel, now);
        let mut rounds = 2 * JOBS + 1;
        // One reset is enough for one call; the flush may have had one.
        while self.scheduler.is_busy() && !self.scheduler.is_unfinished() && rounds > 0 {
            if !self.submit_all(kernel, now) {
                break;
            }
            self.take_turns(kernel, now);
            rounds -= 1;
        }
    }

    /// Submits as much as the device takes. Returns whether requests were answered on the way, so that others may have their
    /// turn.
    #[inline(always)]
    fn submit_all(&mut self, kernel: &mut K, now: Instant) -> bool {
        let unanswered = self.intake.len();
        // Each round gives the device something, answers a request, sends one to a bounce buffer, marks some as not to be
        // merged, or is the last one. No request takes more than a few of them.
        let mut rounds = 8 * (JOBS + 1);
        while self.scheduler.is_busy()
            && !self.scheduler.is_device_full()
            && !matches!(self.health.state(), DeviceState::Resetting(_))
        {
            if rounds == 0 {
                self.scheduler.leave_rest();
                break;
            }
            rounds -= 1;
            if self.has_depth() {
                // A slow device that has enough can still be given a flush.
                if self.in_flight.len() >= usize::from(self.health.pace.full_depth()) {
                    self.scheduler.device_is_full();
                }
                break;
            }
            let needs_device = self.intake.running().is_some_and(Running::needs_device);
            let attempt = if needs_device {
                self.submit_barrier(kernel, now)
            } else if let Some(id) = self.scheduler.pick(&self.intake, self.bounce.any_free()) {
                self.start(kernel, now, id)
            } else {
                self.scheduler.rest();
                break;
            };
            if !self.goes_on_after(attempt) {
                break;
            }
        }
        self.intake.len() < unanswered
    }

    /// Notes what became of an attempt. Whether to make others in this call.
    #[inline]
    fn goes_on_after(&mut self, attempt: Attempt) -> bool {
        match attempt {
            Attempt::Done => {}
            Attempt::Full => self.note_full(),
            Attempt::Reset if self.health.is_good() => {
                // One reset is enough for one call.
                self.scheduler.leave_rest();
                return false;
            }
            Attempt::Reset => {}
        }
        true
    }

    /// Whether the device has as many requests as its pace allows.
    fn has_depth(&self) -> bool {
        self.in_flight.len() >= usize::from(self.health.pace.depth())
    }

    /// Gives the device as much of a transfer as it takes.
    // The rare cases are called last, so that this function needs no stack frame for them.
    #[inline(never)]
    fn start(&mut self, kernel: &mut K, now: Instant, id: JobId) -> Attempt {
        let transfer = &self.intake[id].transfer;
        let Some(limits) = self
            .device
            .limits()
            .filter(|_| !transfer.is_special() && !self.is_broken())
        else {
            return self.start_otherwise(kernel, now, id);
        };
        if transfer.direction == Direction::Write {
            self.note_write(limits.needs_flushes);
        }
        let Some(tag) = self.in_flight.next_tag() else {
            return self.refused(kernel, now, id, Refusal::Full);
        };
        let filled = match self.look_up(kernel, id, 0, self.ranges.len()) {
            Ok(filled) => filled,
            Err(error) => return self.found_no_address(kernel, now, id, error),
        };
        // One walk for the list and the checks.
        let listed = self.device.list_ranges(tag, &self.ranges[..filled]);
        let bytes = self.intake[id].transfer.bytes;
        let is_plain = listed.is_ok_and(|together| together.is_plain(bytes, limits.segment_bytes));
        if !is_plain || filled > limits.segments {
            return self.start_cut(kernel, now, id, filled);
        }
        match self.scheduler.neighbour(&self.intake, id, id) {
            Some(next) => self.submit_with_neighbours(kernel, now, id, next, filled),
            None => self.submit_listed(kernel, now, id),
        }
    }

    /// The same for a transfer that is not as the device takes it: its ranges have to be checked one by one and cut, or were in
    /// part, or cover a part of it only. So many ranges were filled.
    #[inline(never)]
    fn start_cut(&mut self, kernel: &mut K, now: Instant, id: JobId, filled: usize) -> Attempt {
        let Some(limits) = self.device.limits() else {
            return self.refused(kernel, now, id, Refusal::Broken);
        };
        let transfer = &self.intake[id].transfer;
        let (bytes, rest) = (transfer.bytes, transfer.rest());
        let mapped = match check_and_cut(&mut self.ranges, filled, rest, limits.segment_bytes) {
            Ok(mapped) => mapped,
            Err(error) => return self.found_no_address(kernel, now, id, error),
        };
        if mapped.bytes == 0 {
            // Looking again would find nothing again.
            self.fail(kernel, now, id, Errno::EFAULT);
            return Attempt::Done;
        }
        if mapped.bytes != bytes || mapped.ranges > limits.segments {
            return self.submit_pieces(kernel, now, id, mapped);
        }
        if let Some(next) = self.scheduler.neighbour(&self.intake, id, id) {
            return self.submit_with_neighbours(kernel, now, id, next, mapped.ranges);
        }
        self.submit_checked(kernel, now, id, mapped.ranges)
    }

    /// Lists ranges that were checked, for the next request.
    #[inline(never)]
    fn list_again(&mut self, from: usize, to: usize) -> Result<(), Refusal> {
        let tag = self.in_flight.next_tag().ok_or(Refusal::Full)?;
        self.device.list_ranges(tag, &self.ranges[from..to]).map(|_| ())
    }

    /// The next of a transfer is a flush or goes through a bounce buffer, or the device does not work.
    #[cold]
    #[inline(never)]
    fn start_otherwise(&mut self, kernel: &mut K, now: Instant, id: JobId) -> Attempt {
        if self.is_broken() {
            self.fail(kernel, now, id, Errno::EIO);
            return Attempt::Done;
        }
        let Some(limits) = self.device.limits() else {
            return self.refused(kernel, now, id, Refusal::Broken);
        };
        let transfer = &self.intake[id].transfer;
        if transfer.is_flush_due() {
            return self.start_forced_flush(kernel, now, id);
        }
        if transfer.direction == Direction::Write {
            self.note_write(limits.needs_flushes);
        }
        self.start_bounced(kernel, now, id, limits.block)
    }

    /// The device is about to get a write.
    #[inline]
    fn note_write(&mut self, needs_flushes: bool) {
        let is_first = self.in_flight.len() == 0;
        self.write_back.writes_to(needs_flushes, is_first);
    }

    #[cold]
    #[inline(never)]
    fn found_no_address(&mut self, kernel: &mut K, now: Instant, id: JobId, error: Errno) -> Attempt {
        self.no_address(kernel, now, id, error);
        Attempt::Done
    }

    /// Looks up the addresses of the rest of a transfer, into the ranges `from..to`. Returns how many were filled.
    #[inline(always)]
    fn look_up(&mut self, kernel: &mut K, id: JobId, from: usize, to: usize) -> Result<usize, Errno> {
        let job = &self.intake[id];
        let ranges = &mut self.ranges[from..to];
        look_up(
            kernel,
            job.caller.endpoint,
            &job.transfer,
            self.intake.elements(id),
            ranges,
        )
    }

    /// The same, and checks and cuts them.
    fn map(
        &mut self,
        kernel: &mut K,
        id: JobId,
        limits: &TransferLimits,
        from: usize,
        to: usize,
    ) -> Result<Mapped, Errno> {
        let filled = self.look_up(kernel, id, from, to)?;
        let rest = self.intake[id].transfer.rest();
        check_and_cut(&mut self.ranges[from..to], filled, rest, limits.segment_bytes)
    }

    /// Gives the device a transfer together with waiting ones that continue on the disk where it ends. `next` is the first of
    /// them. Their ranges follow its own in the list.
    #[inline(never)]
    fn submit_with_neighbours(
        &mut self,
        kernel: &mut K,
        now: Instant,
        head: JobId,
        next: JobId,
        mut used: usize,
    ) -> Attempt {
        let Some(limits) = self.device.limits() else {
            return self.refused(kernel, now, head, Refusal::Broken);
        };
        let (mut last, start) = (head, self.intake[head].transfer.first);
        let mut found = Some(next);
        // Each round adds a range at least, answers a request, or is the last one.
        while used < limits.segments
            && let Some(next) = found
        {
            if self.intake[next].transfer.end() - start > MERGED_BYTES {
                break;
            }
            match self.map(kernel, next, &limits, used, limits.segments) {
                Ok(mapped) if mapped.bytes == self.intake[next].transfer.bytes => {
                    self.intake.link(last, next);
                    last = next;
                    used += mapped.ranges;
                }
                // It does not fit.
                Ok(_) => break,
                Err(error) => self.no_address(kernel, now, next, error),
            }
            found = self.scheduler.neighbour(&self.intake, head, last);
        }
        self.submit_checked(kernel, now, head, used)
    }

    /// Gives the device a whole transfer, and those that are linked to it. Their ranges, so many, are checked and not listed.
    #[inline(never)]
    fn submit_checked(&mut self, kernel: &mut K, now: Instant, head: JobId, ranges: usize) -> Attempt {
        let (request, purpose) = self.whole(head);
        let listed = self.list_again(0, ranges);
        match listed.and_then(|()| self.in_flight.submit(&mut self.device, request, purpose, now)) {
            Ok(()) => {
                self.scheduler.had_turn(self.intake[head].transfer.direction);
                self.scheduler.submitted();
                let mut next = Some(head);
                while let Some(id) = next {
                    let job = &mut self.intake[id];
                    job.transfer.whole_submitted();
                    next = job.merged;
                    self.counters.merged += u64::from(next.is_some());
                    self.scheduler.all_submitted(id);
                }
                Attempt::Done
            }
            Err(refusal) if self.intake[head].merged.is_some() => {
                let is_full = refusal == Refusal::Full && self.in_flight.len() > 0;
                self.intake.part(head, !is_full);
                match refusal {
                    Refusal::Broken => self.refused(kernel, now, head, refusal),
                    _ if is_full => Attempt::Full,
                    _ => Attempt::Done,
                }
            }
            Err(refusal) => self.refused(kernel, now, head, refusal),
        }
    }

    /// Gives the device a whole transfer, whose ranges are listed.
    #[inline(always)]
    fn submit_listed(&mut self, kernel: &mut K, now: Instant, id: JobId) -> Attempt {
        let (request, purpose) = self.whole(id);
        match self.in_flight.submit_inline(&mut self.device, request, purpose, now) {
            Ok(()) => {
                let transfer = &mut self.intake[id].transfer;
                transfer.whole_submitted();
                self.scheduler.had_turn(transfer.direction);
                self.scheduler.submitted();
                self.scheduler.all_submitted(id);
                Attempt::Done
            }
            Err(refusal) => self.refused(kernel, now, id, refusal),
        }
    }

    /// The device request for a whole transfer and those that are linked to it, and its purpose.
    #[inline(always)]
    fn whole(&self, head: JobId) -> (DeviceRequest, Purpose) {
        let transfer = &self.intake[head].transfer;
        let request = DeviceRequest::Transfer {
            direction: transfer.direction,
            first: transfer.first / SECTOR_BYTES,
            data: Data::Granted,
        };
        let purpose = Purpose::Transfer {
            job: head,
            offset: 0,
            bytes: transfer.bytes,
            bounce: None,
        };
        (request, purpose)
    }

    /// Gives the device the ranges that were found, in as many requests as it takes.
    #[inline(never)]
    fn submit_pieces(&mut self, kernel: &mut K, now: Instant, id: JobId, mapped: Mapped) -> Attempt {
        let Some(limits) = self.device.limits() else {
            return self.refused(kernel, now, id, Refusal::Broken);
        };
        let mut from = 0;
        // Each round gives the device a range at least, or is the last one.
        while from < mapped.ranges {
            if self.has_depth() {
                // It goes on once there are fewer.
                return Attempt::Done;
            }
            let piece = cut_piece(&mut self.ranges[from..mapped.ranges], &limits);
            if piece.bytes == 0 {
                if from == 0 {
                    // One block is in more places than can be told.
                    self.no_address(kernel, now, id, Errno::EFAULT);
                }
                break;
            }
            let transfer = &self.intake[id].transfer;
            let offset = transfer.submitted();
            let purpose = Purpose::Transfer {
                job: id,
                offset,
                bytes: piece.bytes,
                bounce: None,
            };
            let request = DeviceRequest::Transfer {
                direction: transfer.direction,
                first: (transfer.first + u64::from(offset)) / SECTOR_BYTES,
                data: Data::Granted,
            };
            let listed = self.list_again(from, from + piece.ranges);
            if let Err(refusal) = listed.and_then(|()| self.in_flight.submit(&mut self.device, request, purpose, now)) {
                return self.refused(kernel, now, id, refusal);
            }
            self.piece_submitted(id, piece.bytes);
            from += piece.ranges;
            if piece.kept.bytes() > 0 {
                // The block that the cut went through starts in the last range.
                from -= 1;
                self.ranges[from] = piece.kept;
            }
        }
        Attempt::Done
    }

    /// Gives the device a part of a transfer in a bounce buffer.
    fn start_bounced(&mut self, kernel: &mut K, now: Instant, id: JobId, block: u64) -> Attempt {
        // The transfer was picked because one is free.
        let Some(buffer) = self.bounce.take() else {
            return Attempt::Full;
        };
        let job = &self.intake[id];
        let (transfer, granter) = (job.transfer, job.caller.endpoint);
        let most = whole_blocks(BOUNCE_BYTES as u64, block);
        let bytes = transfer.rest().min(most as u32);
        let memory = self.device.bounce_buffer(buffer);
        let copied = match memory.and_then(|memory| memory.get_mut(..bytes as usize)) {
            None | Some([]) => Err(Errno::EIO),
            Some(part) if transfer.direction == Direction::Write => {
                copy_in(kernel, granter, self.intake.elements(id), transfer.submitted(), part)
            }
            Some(_) => Ok(()),
        };
        if let Err(error) = copied {
            self.bounce.put_back(buffer);
            self.fail(kernel, now, id, error);
            return Attempt::Done;
        }
        let purpose = Purpose::Transfer {
            job: id,
            offset: transfer.submitted(),
            bytes,
            bounce: Some(buffer),
        };
        let request = DeviceRequest::Transfer {
            direction: transfer.direction,
            first: (transfer.first + u64::from(transfer.submitted())) / SECTOR_BYTES,
            data: Data::Bounce(buffer, bytes as usize),
        };
        match self.in_flight.submit(&mut self.device, request, purpose, now) {
            Ok(()) => {
                self.piece_submitted(id, bytes);
                self.counters.bounced += 1;
                Attempt::Done
            }
            Err(refusal) => {
                self.bounce.put_back(buffer);
                let refusal = match refusal {
                    Refusal::Unreachable => Refusal::Invalid,
                    other => other,
                };
                self.refused(kernel, now, id, refusal)
            }
        }
    }

    fn start_forced_flush(&mut self, kernel: &mut K, now: Instant, id: JobId) -> Attempt {
        match self.offer_flush(Purpose::ForcedFlush { job: id }, now) {
            Ok(()) => {
                self.intake[id].transfer.flush_submitted();
                self.scheduler.all_submitted(id);
                Attempt::Done
            }
            Err(refusal) => self.refused(kernel, now, id, refusal),
        }
    }

    /// The device took a part of a transfer.
    fn piece_submitted(&mut self, id: JobId, bytes: u32) {
        // The elements lie beside the job, so that both cannot be had at once otherwise.
        let mut transfer = self.intake[id].transfer;
        if transfer.submitted() == 0 {
            self.scheduler.had_turn(transfer.direction);
        }
        transfer.piece_submitted(bytes, self.intake.elements(id));
        self.counters.chunks += u64::from(bytes < transfer.bytes);
        self.intake[id].transfer = transfer;
        self.scheduler.changed(&self.intake, id);
        self.scheduler.submitted();
    }

    /// The device has no room until it completes something.
    #[cold]
    pub(crate) fn note_full(&mut self) {
        self.counters.device_full += 1;
        self.scheduler.device_is_full();
    }

    /// The device did not take the next part of a transfer.
    #[cold]
    fn refused(&mut self, kernel: &mut K, now: Instant, id: JobId, refusal: Refusal) -> Attempt {
        let error = match refusal {
            Refusal::Full if self.in_flight.len() > 0 => return Attempt::Full,
            // It has no room although it has nothing to do: it will have none later either.
            Refusal::Full | Refusal::Broken => {
                self.intake[id].transfer.suspected();
                self.recover(kernel, now, ResetReason::TAKES_NOTHING);
                return Attempt::Reset;
            }
            Refusal::Unreachable => {
                self.no_address(kernel, now, id, Errno::EFAULT);
                return Attempt::Done;
            }
            Refusal::Invalid => Errno::EIO,
            Refusal::Unsupported => Errno::ENOTSUP,
        };
        self.fail(kernel, now, id, error);
        Attempt::Done
    }

    /// There are no addresses to be had for the next part of a transfer. Memory that was never touched has none yet, and a
    /// copy brings it in; anything else is an error.
    #[cold]
    fn no_address(&mut self, kernel: &mut K, now: Instant, id: JobId, error: Errno) {
        if error == Errno::EFAULT && self.bounce.exists() {
            self.intake[id].transfer.use_bounce();
        } else {
            self.fail(kernel, now, id, error);
        }
    }

    /// A transfer has failed. What the device still has of it has to come back before the answer.
    #[cold]
    fn fail(&mut self, kernel: &mut K, now: Instant, id: JobId, error: Errno) {
        let beyond = self.is_beyond(id, error);
        self.intake[id].transfer.failed(error, beyond);
        self.scheduler.changed(&self.intake, id);
        self.go_on_with(kernel, now, id);
    }
}
