//! The barrier runs: an open, a close or a control request, with its requests to the device.

use minix_abi::disk_control::ResetReason;
use minix_abi::{Errno, Instant, Status};

use super::barrier::{Next, RangeWork, Task};
use super::flush::flush_status;
use super::in_flight::Purpose;
use super::job::{Job, JobId};
use super::submit::Attempt;
use super::write_back::Flusher;
use crate::device::{
    BOUNCE_BYTES, BlockDevice, BounceBuffer, Data, DeviceError, DeviceRequest, Direction, DiskInfo, Refusal,
    SECTOR_BYTES,
};
use crate::driver::BlockDriver;
use crate::kernel::Kernel;
use crate::partition::scan::ScanRead;
use crate::partition::{CloseStep, OpenStep};
use crate::protocol::request::Kind;

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// It is the turn of the barrier: every request ahead of it is answered. There is no `disk` if the device was given up.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin_barrier(&mut self, kernel: &mut K, now: Instant, id: JobId, disk: Option<DiskInfo>) {
        let job = &self.intake[id];
        let (caller, kind, request) = (job.caller, job.kind, job.request);
        if kind == Kind::Open {
            self.partitions.mark_opened(request.minor);
        } else if !self.partitions.was_opened(request.minor) {
            return self.answer(kernel, now, id, Errno::ERESTART.into());
        }
        self.begin_trace(now, id);
        let next = match kind {
            Kind::Open if self.terminating => Errno::ENXIO.into(),
            Kind::Open => open_step(self.partitions.open(request.minor, request.access, disk.as_ref())),
            Kind::Close => match self.partitions.close(request.minor, self.write_back.is_owed()) {
                CloseStep::Answer(status) => status.into(),
                CloseStep::LastOfDisk if disk.is_some() => Next::Needs(Task::Flush),
                CloseStep::LastOfDisk => Errno::EIO.into(),
            },
            _ => self.ioctl(kernel, now, caller.endpoint, &request, disk.as_ref()),
        };
        self.go_on(kernel, now, id, next);
    }

    fn go_on(&mut self, kernel: &mut K, now: Instant, id: JobId, next: Next) {
        match next {
            Next::Answer(status) => self.answer(kernel, now, id, status),
            Next::Needs(task) => {
                self.intake.run(id, task);
                self.scheduler.wake();
            }
        }
    }

    /// Gives the device what the barrier needs.
    #[cold]
    #[inline(never)]
    pub(crate) fn submit_barrier(&mut self, kernel: &mut K, now: Instant) -> Attempt {
        let Some(&running) = self.intake.running() else {
            return Attempt::Done;
        };
        if self.is_broken() {
            self.give_up_barrier(kernel, now, running.job, running.task);
            return Attempt::Done;
        }
        let mut bounce = None;
        let offered = match running.task {
            Task::Flush | Task::FlushBeforeCacheOff | Task::FlushBeforeRange(_) => {
                self.offer_flush(Purpose::Barrier, now)
            }
            Task::Scan(read) => self.offer_scan(read, &mut bounce, now),
            Task::Range(work) => self.offer_range(work, now),
            Task::Identify => self.offer_barrier(DeviceRequest::Identify, now),
            Task::AskLifetime => self.offer_barrier(DeviceRequest::AskLifetime, now),
            // Not under a flush in the background.
            Task::SwitchCache { .. } if self.in_flight.len() > 0 => Err(Refusal::Full),
            Task::SwitchCache { on } => match self.device.set_write_cache(on) {
                Ok(()) => {
                    self.barrier_completed(kernel, now, Ok(()));
                    return Attempt::Done;
                }
                Err(refusal) => Err(refusal),
            },
        };
        let error = match offered {
            Ok(()) => {
                if let Some(running) = self.intake.running_mut() {
                    running.was_submitted(bounce);
                }
                return Attempt::Done;
            }
            Err(Refusal::Full) if self.in_flight.len() > 0 => return Attempt::Full,
            Err(Refusal::Full | Refusal::Broken) => {
                if let Some(running) = self.intake.running_mut() {
                    running.suspected();
                }
                self.recover(kernel, now, ResetReason::TAKES_NOTHING);
                return Attempt::Reset;
            }
            Err(Refusal::Unsupported) => DeviceError::Unsupported,
            Err(Refusal::Unreachable | Refusal::Invalid) => DeviceError::Io,
        };
        self.barrier_completed(kernel, now, Err(error));
        Attempt::Done
    }

    /// The device does not do what the barrier needs, and will not. What the service itself knows of a disk is told all the same.
    #[cold]
    pub(crate) fn give_up_barrier(&mut self, kernel: &mut K, now: Instant, id: JobId, task: Task) {
        let status = match task {
            Task::Identify | Task::AskLifetime => self.report_disk_to(kernel, id),
            _ => Errno::EIO.into(),
        };
        self.answer(kernel, now, id, status);
    }

    fn report_disk_to(&mut self, kernel: &mut K, id: JobId) -> Status {
        let Job { caller, request, .. } = self.intake[id];
        self.report_disk(kernel, caller.endpoint, request.grant)
    }

    /// Offers the device a request of the barrier that needs no memory of the service.
    fn offer_barrier(&mut self, request: DeviceRequest, now: Instant) -> Result<(), Refusal> {
        self.in_flight
            .submit(&mut self.device, request, Purpose::Barrier, now)?;
        self.scheduler.submitted();
        Ok(())
    }

    fn offer_range(&mut self, work: RangeWork, now: Instant) -> Result<(), Refusal> {
        let RangeWork {
            operation,
            first,
            sectors,
        } = work;
        let request = DeviceRequest::Range {
            operation,
            first,
            sectors,
        };
        self.offer_barrier(request, now)?;
        // Discarded, zeroed and erased sectors can stay in the write cache, as written ones can.
        let cached = self.device.limits().is_some_and(|limits| limits.needs_flushes);
        self.write_back.writes_to(cached, self.in_flight.len() == 1);
        Ok(())
    }

    fn offer_scan(&mut self, read: ScanRead, bounce: &mut Option<BounceBuffer>, now: Instant) -> Result<(), Refusal> {
        if read.bytes > BOUNCE_BYTES || !read.first_byte.is_multiple_of(SECTOR_BYTES) {
            return Err(Refusal::Invalid);
        }
        let buffer = self.bounce.take().ok_or(Refusal::Unreachable)?;
        let request = DeviceRequest::Transfer {
            direction: Direction::Read,
            first: read.first_sector(),
            data: Data::Bounce(buffer, read.bytes),
        };
        self.in_flight
            .submit(&mut self.device, request, Purpose::Barrier, now)
            .inspect_err(|_| self.bounce.put_back(buffer))?;
        *bounce = Some(buffer);
        self.counters.bounced += 1;
        self.scheduler.submitted();
        Ok(())
    }

    /// The device is done with what the barrier needed.
    #[cold]
    #[inline(never)]
    pub(crate) fn barrier_completed(&mut self, kernel: &mut K, now: Instant, result: Result<(), DeviceError>) {
        let Some(&running) = self.intake.running() else {
            return;
        };
        let job = running.job;
        let (minor, kind) = (self.intake[job].minor, self.intake[job].kind);
        if running.task.is_flush() {
            self.write_back.flush_completed(Flusher::Client, result.is_ok());
            if result.is_err() {
                self.flush_failed(now, Some(minor));
            }
        }
        let next = match running.task {
            Task::Flush => match result {
                Ok(()) if self.partitions.take_failure(minor) => Errno::EIO.into(),
                // What a close owes is not there.
                Err(_) if kind == Kind::Close => Errno::EIO.into(),
                _ => flush_status(result).into(),
            },
            Task::FlushBeforeCacheOff if result.is_ok() => Next::Needs(Task::SwitchCache { on: false }),
            Task::FlushBeforeRange(work) if result.is_ok() => Next::Needs(Task::Range(work)),
            // What the device does not know is the flush, not the command on the range.
            Task::FlushBeforeRange(_) => Errno::EIO.into(),
            Task::FlushBeforeCacheOff | Task::SwitchCache { .. } => flush_status(result).into(),
            Task::Range(work) => self.range_completed(kernel, now, job, work, result).into(),
            // Not every device has an answer.
            Task::Identify if self.device.info().is_some_and(|disk| disk.lifetime) => Next::Needs(Task::AskLifetime),
            Task::Identify | Task::AskLifetime => self.report_disk_to(kernel, job).into(),
            Task::Scan(read) => {
                let bounce = running.bounce();
                let bytes = bounce.and_then(|buffer| self.device.bounce_buffer(buffer));
                let bytes = bytes.and_then(|bytes| bytes.get(..read.bytes));
                let step = self.partitions.scanned(minor, bytes.filter(|_| result.is_ok()));
                if let Some(buffer) = bounce {
                    self.bounce.put_back(buffer);
                }
                open_step(step)
            }
        };
        self.go_on(kernel, now, job, next);
    }
}

fn open_step(step: OpenStep) -> Next {
    match step {
        OpenStep::Answer(status) => Next::Answer(status),
        OpenStep::Read(read) => Next::Needs(Task::Scan(read)),
    }
}
