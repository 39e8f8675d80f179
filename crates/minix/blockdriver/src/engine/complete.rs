//! Completed device requests find their way back to the requests of clients.

use minix_abi::disk_control::ResetReason;
use minix_abi::{Errno, Instant, Status};

use super::barrier::Task;
use super::flush::flush_status;
use super::in_flight::{Completed, Purpose};
use super::job::JobId;
use super::write_back::Flusher;
use crate::device::{BlockDevice, BounceBuffer, DeviceError, Direction};
use crate::driver::BlockDriver;
use crate::kernel::Kernel;
use crate::statistics::Kind;
use crate::transfer::Progress;
use crate::transfer::bounce_pool::copy_out;
use crate::transfer::plan::cut_elements;

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Collects what the device has completed, answers, gives the device what waits, and notifies it. Returns how many device
    /// requests were completed.
    #[inline(always)]
    pub fn poll(&mut self, kernel: &mut K, now: Instant) -> u32 {
        // Calls at the end only, so that a poll which finds nothing needs no room on the stack.
        if self.device.needs_poll() {
            return self.collect(kernel, now, true);
        }
        if self.has_something_to_do(now) {
            self.settle(kernel, now);
        }
        0
    }

    /// Takes what the device has completed, and goes on with what is ready if it `settles`. Returns how many device requests
    /// were completed.
    #[inline(never)]
    pub(crate) fn collect(&mut self, kernel: &mut K, now: Instant, settles: bool) -> u32 {
        let mut completed = 0;
        if self.health.is_good() {
            let polled = self.in_flight.poll(&mut self.device);
            if polled == Ok(true) {
                self.health.pace.progressed(now);
            }
            while self.in_flight.any_completed() {
                self.finish_next(kernel, now);
                completed += 1;
            }
            if completed > 0 {
                self.health.works();
            }
            if polled.is_err() {
                self.device_broke(kernel, now);
            }
        }
        if settles && self.has_something_to_do(now) {
            self.settle(kernel, now);
        }
        completed
    }

    #[cold]
    fn device_broke(&mut self, kernel: &mut K, now: Instant) {
        self.suspect_all();
        self.recover(kernel, now, ResetReason::BROKEN);
    }

    /// Goes on with the next device request that is completed.
    // The calls come last, so that the usual one needs no room on the stack.
    #[inline(never)]
    fn finish_next(&mut self, kernel: &mut K, now: Instant) {
        if let Some(next) = self.in_flight.next_completed()
            && let Some(job) = next.good_transfer
            && self.intake[job].merged.is_none()
            && self.health.pace.is_usual(next.since, now)
        {
            self.in_flight.drop_completed(&next);
            self.scheduler.completed();
            self.health.pace.progressed(now);
            self.complete(kernel, now, job);
        } else {
            self.finish_unusual(kernel, now);
        }
    }

    /// The same for one that is not the usual one.
    #[cold]
    #[inline(never)]
    fn finish_unusual(&mut self, kernel: &mut K, now: Instant) {
        if let Some(completed) = self.in_flight.take_completed() {
            self.scheduler.completed();
            if completed.purpose == Purpose::Barrier && self.runs_range() {
                // It may be long: that says nothing about how quick the device is.
                self.health.pace.progressed(now);
            } else {
                self.health.pace.completed(completed.since, now);
            }
            self.complete_otherwise(kernel, now, completed);
        }
    }

    /// Goes on with what was completed before a reset.
    pub(crate) fn take_completed_before_reset(&mut self, kernel: &mut K, now: Instant) {
        while self.in_flight.any_completed() {
            self.finish_unusual(kernel, now);
        }
    }

    /// A part of a transfer, which shares no device request, has gone to or come from its memory.
    #[inline(always)]
    fn complete(&mut self, kernel: &mut K, now: Instant, id: JobId) {
        let cached = self.intake[id].transfer.direction == Direction::Write && self.is_cached();
        if cached {
            self.write_back.wrote(now);
        }
        let transfer = &mut self.intake[id].transfer;
        if transfer.ends_plainly() {
            self.answer_done(kernel, now, id);
        } else {
            transfer.piece_completed(cached);
            self.go_on_with(kernel, now, id);
        }
    }

    /// What is completed is no transfer, or one that was merged, or bounced, or failed.
    #[cold]
    #[inline(never)]
    fn complete_otherwise(&mut self, kernel: &mut K, now: Instant, completed: Completed) {
        let result = completed.result;
        if let Some(kind) = self.command(completed.purpose) {
            self.latencies.record(kind, now.micros_since(completed.since));
        }
        match completed.purpose {
            Purpose::BackgroundFlush => self.background_completed(now, result),
            Purpose::Barrier => self.barrier_completed(kernel, now, result),
            Purpose::ForcedFlush { job } => {
                self.write_back.flush_completed(Flusher::Client, result.is_ok());
                let status = match result {
                    Ok(()) => self.forced_status(job),
                    Err(_) => {
                        self.flush_failed(now, Some(self.intake[job].minor));
                        flush_status(result)
                    }
                };
                self.answer(kernel, now, job, status);
            }
            Purpose::Transfer { job, .. } if result.is_err() && self.intake[job].merged.is_some() => {
                // Which of them has failed is not known. Alone, each gets a result of its own.
                let mut next = Some(job);
                while let Some(id) = next {
                    next = self.intake.unlink(id);
                    let transfer = &mut self.intake[id].transfer;
                    transfer.rewind();
                    transfer.set_alone();
                    self.scheduler.changed(&self.intake, id);
                }
            }
            Purpose::Transfer {
                job,
                offset,
                bytes,
                bounce,
            } => {
                let mut result = result.map_err(errno);
                let direction = self.intake[job].transfer.direction;
                let cached = result.is_ok() && self.is_cached();
                if cached && direction == Direction::Write {
                    self.write_back.wrote(now);
                }
                if let Some(buffer) = bounce {
                    if result.is_ok() && direction == Direction::Read {
                        result = self.copy_out(kernel, job, offset, bytes, buffer);
                    }
                    self.bounce.put_back(buffer);
                }
                let mut next = Some(job);
                while let Some(id) = next {
                    next = self.intake.unlink(id);
                    self.intake[id].transfer.piece_completed(cached);
                    if let Err(error) = result {
                        let beyond = self.is_beyond(id, error);
                        self.intake[id].transfer.failed(error, beyond);
                        self.scheduler.changed(&self.intake, id);
                    }
                    self.go_on_with(kernel, now, id);
                }
            }
        }
    }

    /// The kind of a command, if its latency is recorded by itself. That of a transfer is part of what its client waits for.
    fn command(&self, purpose: Purpose) -> Option<Kind> {
        match purpose {
            Purpose::BackgroundFlush | Purpose::ForcedFlush { .. } => Some(Kind::Flush),
            Purpose::Barrier => match self.intake.running()?.task {
                task if task.is_flush() => Some(Kind::Flush),
                Task::Range(work) => Some(work.operation.into()),
                _ => None,
            },
            Purpose::Transfer { .. } => None,
        }
    }

    /// Whether the barrier is a range of sectors.
    fn runs_range(&self) -> bool {
        let running = self.intake.running();
        running.is_some_and(|running| matches!(running.task, Task::Range(_)))
    }

    /// Copies what was read into a bounce buffer to the client.
    fn copy_out(
        &mut self,
        kernel: &mut K,
        id: JobId,
        offset: u32,
        bytes: u32,
        buffer: BounceBuffer,
    ) -> Result<(), Errno> {
        let memory = self.device.bounce_buffer(buffer).ok_or(Errno::EIO)?;
        let part = memory.get(..bytes as usize).ok_or(Errno::EIO)?;
        let granter = self.intake[id].caller.endpoint;
        copy_out(kernel, granter, self.intake.elements(id), offset, part)
    }

    /// Answers a transfer, or cuts it, or leaves it for its next turn, once the device has none of it.
    #[cold]
    #[inline(never)]
    pub(crate) fn go_on_with(&mut self, kernel: &mut K, now: Instant, id: JobId) {
        let transfer = &mut self.intake[id].transfer;
        let status = match transfer.progress() {
            None => return,
            Some(Progress::Ready) => return self.scheduler.changed(&self.intake, id),
            Some(Progress::Failed(error)) => error.into(),
            Some(Progress::BeyondEnd) => return self.cut_to_disk(kernel, now, id),
            Some(Progress::Done) => Status(transfer.bytes as i32),
            Some(Progress::Forced) => self.forced_status(id),
        };
        self.answer(kernel, now, id, status);
    }

    /// The answer to a write that is on the medium. If a flush has failed before, it says so.
    fn forced_status(&mut self, id: JobId) -> Status {
        let (minor, bytes) = (self.intake[id].minor, self.intake[id].transfer.bytes);
        if self.partitions.take_failure(minor) {
            Errno::EIO.into()
        } else {
            Status(bytes as i32)
        }
    }

    /// Whether a part of a transfer has failed because the disk has shrunk and ends before it. What lies beyond the end is the
    /// end of the device, not an error: the transfer is [cut](Self::cut_to_disk), as if it had come later.
    pub(crate) fn is_beyond(&self, id: JobId, error: Errno) -> bool {
        let end = self.intake[id].transfer.end();
        error == Errno::EIO && !self.is_broken() && self.device.limits().is_some_and(|limits| limits.capacity < end)
    }

    /// Cuts a transfer where the disk ends, and starts over with what is left of it.
    fn cut_to_disk(&mut self, kernel: &mut K, now: Instant, id: JobId) {
        let capacity = self.device.limits().map(|limits| limits.capacity);
        let transfer = &mut self.intake[id].transfer;
        transfer.rewind();
        self.scheduler.changed(&self.intake, id);
        let Some(capacity) = capacity else {
            // It is replayed, and refused again if it is still beyond.
            return;
        };
        let transfer = &self.intake[id].transfer;
        let room = capacity.saturating_sub(transfer.first);
        let (bytes, count) = (room.min(transfer.bytes.into()) as u32, transfer.elements.into());
        if bytes == 0 {
            return self.answer(kernel, now, id, Status::OK);
        }
        let elements = cut_elements(self.intake.elements_mut(id, count), bytes.into());
        self.scheduler.cut(&mut self.intake, id, bytes, elements);
    }
}

fn errno(error: DeviceError) -> Errno {
    match error {
        DeviceError::Io => Errno::EIO,
        DeviceError::Unsupported => Errno::ENOTSUP,
    }
}
