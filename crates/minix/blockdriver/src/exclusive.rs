//! The request that runs alone: an open, a close or a control request, and what it needs the device for.

use minix_abi::{Errno, Status};

use crate::barrier::Barrier;
use crate::flights::Cargo;
use crate::jobs::{JobId, Kind};
use crate::schedule::Step;
use crate::submit::offer;
use crate::write_back::Flusher;
use crate::{
    BlockDevice, BlockDriver, Data, DeviceError, DeviceRequest, DiskInfo, Kernel, Micros, Refusal, STAGING_BYTES,
    ScanRead, StagingBlock,
};

/// What the device is needed for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// Flush, and that is all.
    Flush,
    /// Flush, then switch the write cache off.
    FlushBeforeCacheOff,
    /// Switch the write cache.
    SwitchCache { on: bool },
    /// Read a part of a partition table.
    Scan {
        read: ScanRead,
        /// Where the device puts it, once it was asked.
        staging: Option<StagingBlock>,
    },
}

impl Task {
    pub(crate) const fn is_flush(&self) -> bool {
        matches!(self, Self::Flush | Self::FlushBeforeCacheOff)
    }

    /// Whether no flush is to be sent in the background while this runs: it flushes itself, or needs an idle device.
    pub(crate) const fn holds_flushes(&self) -> bool {
        self.is_flush() || matches!(self, Self::SwitchCache { .. })
    }
}

/// The request that runs alone, while it needs the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exclusive {
    pub(crate) job: JobId,
    pub(crate) task: Task,
    /// The device has it.
    pub(crate) submitted: bool,
    /// The device did not do it before a reset.
    pub(crate) blamed: bool,
    pub(crate) replays: u8,
}

impl Exclusive {
    /// The staging memory it had was taken back.
    pub(crate) fn forget_staging(&mut self) {
        if let Task::Scan { staging, .. } = &mut self.task {
            *staging = None;
        }
    }
}

/// How a request that runs alone goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// It is over.
    Answer(Status),
    /// It needs the device.
    Needs(Task),
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        Self::Answer(status)
    }
}

impl From<Errno> for Outcome {
    fn from(error: Errno) -> Self {
        Self::Answer(error.into())
    }
}

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// It is the turn of a request that runs alone: everything ahead of it is done. There is no `disk` if the device was
    /// given up.
    pub(crate) fn begin_exclusive(&mut self, kernel: &mut K, now: Micros, id: JobId, disk: Option<DiskInfo>) {
        let job = &self.jobs[id];
        let (caller, kind, request) = (job.caller, job.kind, job.request);
        if kind == Kind::Open {
            self.opens.mark_opened(request.minor);
        } else if !self.opens.was_opened(request.minor) {
            return self.answer(kernel, now, id, Errno::ERESTART.into());
        }
        self.begin_trace(now, id);
        let outcome = match kind {
            Kind::Open => self.open(request.minor, request.access, disk.as_ref()),
            Kind::Close => self.close(request.minor, disk.as_ref()),
            _ => self.ioctl(kernel, now, caller.endpoint, &request, disk.as_ref()),
        };
        self.go_on(kernel, now, id, outcome);
    }

    fn go_on(&mut self, kernel: &mut K, now: Micros, id: JobId, outcome: Outcome) {
        match outcome {
            Outcome::Answer(status) => self.answer(kernel, now, id, status),
            Outcome::Needs(task) => {
                self.barrier = Barrier::Runs(Exclusive {
                    job: id,
                    task,
                    submitted: false,
                    blamed: false,
                    replays: 0,
                });
                self.busy = true;
            }
        }
    }

    /// Gives the device what the running request needs.
    pub(crate) fn start_exclusive(&mut self, kernel: &mut K, now: Micros) -> Step {
        let Some(mut running) = self.barrier.running().copied() else {
            return Step::Went;
        };
        if self.is_broken() {
            self.answer(kernel, now, running.job, Errno::EIO.into());
            return Step::Went;
        }
        let offered = match &mut running.task {
            Task::Flush | Task::FlushBeforeCacheOff => self.offer_flush(Cargo::Exclusive, now),
            Task::Scan { read, staging } => self.offer_scan(*read, staging, now),
            // Not under a flush in the background.
            Task::SwitchCache { .. } if self.flights.len() > 0 => Err(Refusal::Full),
            Task::SwitchCache { on } => match self.device.set_write_cache(*on) {
                Ok(()) => {
                    self.exclusive_landed(kernel, now, Ok(()));
                    return Step::Went;
                }
                Err(refusal) => Err(refusal),
            },
        };
        match offered {
            Ok(()) => running.submitted = true,
            Err(Refusal::Full) if self.flights.len() > 0 => return Step::Full,
            Err(Refusal::Full | Refusal::Broken) => {
                running.blamed = true;
                self.barrier = Barrier::Runs(running);
                self.recover(kernel, now, "takes no requests");
                return Step::Reset;
            }
            Err(refusal) => {
                let error = match refusal {
                    Refusal::Unsupported => DeviceError::Unsupported,
                    _ => DeviceError::Io,
                };
                self.exclusive_landed(kernel, now, Err(error));
                return Step::Went;
            }
        }
        self.barrier = Barrier::Runs(running);
        Step::Went
    }

    fn offer_scan(&mut self, read: ScanRead, staging: &mut Option<StagingBlock>, now: Micros) -> Result<(), Refusal> {
        let block = self.staging.take().ok_or(Refusal::Unreachable)?;
        let offered = self.offer_staged_read(read.first_byte, read.bytes, block, now);
        match offered {
            Ok(()) => *staging = Some(block),
            Err(_) => self.staging.give_back(block),
        }
        offered
    }

    fn offer_staged_read(&mut self, first: u64, bytes: usize, block: StagingBlock, now: Micros) -> Result<(), Refusal> {
        if bytes > STAGING_BYTES || !first.is_multiple_of(crate::SECTOR_BYTES) {
            return Err(Refusal::Invalid);
        }
        let request = DeviceRequest::Read {
            first: first / crate::SECTOR_BYTES,
            data: Data::Bounce(block, bytes),
        };
        offer(&mut self.device, &mut self.flights, request, Cargo::Exclusive, now)?;
        self.counters.staged += 1;
        self.departed();
        Ok(())
    }

    /// The device is done with what the running request needed.
    pub(crate) fn exclusive_landed(&mut self, kernel: &mut K, now: Micros, result: Result<(), DeviceError>) {
        let Some(running) = self.barrier.running().copied() else {
            return;
        };
        let job = running.job;
        let (minor, kind) = (self.jobs[job].request.minor, self.jobs[job].kind);
        if running.task.is_flush() {
            self.write_back.flush_landed(Flusher::Client, result.is_ok());
            if result.is_err() {
                self.flush_failed(now, Some(minor));
            }
        }
        let outcome = match running.task {
            Task::Flush => match result {
                Ok(()) if self.opens.take_failure(minor) => Errno::EIO.into(),
                // What a close owes is not there.
                Err(_) if kind == Kind::Close => Errno::EIO.into(),
                _ => flushed(result).into(),
            },
            Task::FlushBeforeCacheOff => match result {
                Ok(()) => Outcome::Needs(Task::SwitchCache { on: false }),
                Err(_) => flushed(result).into(),
            },
            Task::SwitchCache { .. } => flushed(result).into(),
            Task::Scan { read, staging } => self.scanned(minor, read, staging, result),
        };
        self.go_on(kernel, now, job, outcome);
    }
}

/// What a flush, or a switch of the write cache, comes to.
pub(crate) fn flushed(result: Result<(), DeviceError>) -> Status {
    match result {
        Ok(()) => Status::OK,
        Err(DeviceError::Io) => Errno::EIO.into(),
        Err(DeviceError::Unsupported) => Errno::EOPNOTSUPP.into(),
    }
}
