//! The request that runs alone, and the requests that wait for it.
//!
//! Opens, closes and control requests are barriers: each waits for every request ahead of it, and every request after it
//! waits. The jobs are in order of arrival, so the barrier, or the first request that waits, is all there is to know: every
//! request after it waits, too.

use minix_abi::{Errno, Status};

use super::job::JobId;
use crate::device::{BounceBuffer, RangeOperation};
use crate::partition::scan::ScanRead;

/// What holds requests back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Barrier {
    /// Nothing. No request waits, and the next one to come is admitted.
    None,
    /// No barrier stands, but the requests from this one on are not admitted yet.
    Lifted(JobId),
    /// The barrier waits for requests ahead of it.
    Waits(JobId),
    /// The barrier runs, and needs the device.
    Runs(Running),
}

impl Barrier {
    /// No barrier stands, and `next` is the first of the requests that wait.
    pub(crate) fn lifted(next: Option<JobId>) -> Self {
        next.map_or(Self::None, Self::Lifted)
    }

    /// The request that is the barrier.
    pub(crate) const fn job(&self) -> Option<JobId> {
        match self {
            Self::None | Self::Lifted(_) => None,
            Self::Waits(job) => Some(*job),
            Self::Runs(running) => Some(running.job),
        }
    }
}

/// The barrier while it needs the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub(crate) job: JobId,
    pub(crate) task: Task,
    /// The device has it.
    submitted: bool,
    /// Where the device puts the data it reads, while the task is in flight.
    bounce: Option<BounceBuffer>,
    /// The device did not complete it before a reset.
    suspect: bool,
    replays: u8,
}

impl Running {
    pub(crate) const fn new(job: JobId, task: Task) -> Self {
        Self {
            job,
            task,
            submitted: false,
            bounce: None,
            suspect: false,
            replays: 0,
        }
    }

    /// Whether the device is to be given the task.
    pub(crate) const fn needs_device(&self) -> bool {
        !self.submitted
    }

    /// How often it was given to the device again.
    pub(crate) const fn replays(&self) -> u8 {
        self.replays
    }

    /// The device took the task, and puts the data it reads there.
    pub(crate) const fn was_submitted(&mut self, bounce: Option<BounceBuffer>) {
        self.submitted = true;
        self.bounce = bounce;
    }

    /// Where the device has put the data of its read.
    pub(crate) const fn bounce(&self) -> Option<BounceBuffer> {
        self.bounce
    }

    /// The device is to be reset, and has not completed it.
    pub(crate) const fn suspected(&mut self) {
        self.suspect = true;
    }

    /// The device was reset. Whether it had the task.
    pub(crate) fn lost(&mut self) -> bool {
        self.replays = self.replays.saturating_add(core::mem::take(&mut self.suspect).into());
        self.bounce = None;
        core::mem::take(&mut self.submitted)
    }
}

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
    Scan(ScanRead),
    /// Work on a range of sectors.
    Range(RangeWork),
    /// Flush, then work on a range of sectors.
    FlushBeforeRange(RangeWork),
    /// Ask the device for its identification string, and how worn it is if it knows.
    Identify,
    /// Ask the device how worn it is.
    AskLifetime,
}

/// Work on a range of sectors: whole blocks on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RangeWork {
    pub(crate) operation: RangeOperation,
    pub(crate) first: u64,
    pub(crate) sectors: u64,
}

impl Task {
    pub(crate) const fn is_flush(&self) -> bool {
        matches!(
            self,
            Self::Flush | Self::FlushBeforeCacheOff | Self::FlushBeforeRange(_)
        )
    }

    /// Whether no flush is to be sent in the background while this runs: it flushes itself, needs an idle device, or may take so long
    /// that a flush which overtakes it makes it look lost.
    pub(crate) const fn holds_flushes(&self) -> bool {
        self.is_flush() || matches!(self, Self::SwitchCache { .. } | Self::Range(_))
    }
}

/// How a barrier goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    /// It is over.
    Answer(Status),
    /// It needs the device.
    Needs(Task),
}

impl From<Status> for Next {
    fn from(status: Status) -> Self {
        Self::Answer(status)
    }
}

impl From<Errno> for Next {
    fn from(error: Errno) -> Self {
        Self::Answer(error.into())
    }
}
