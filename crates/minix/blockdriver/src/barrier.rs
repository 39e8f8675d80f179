//! The request that runs alone, and the requests that wait for it.
//!
//! Opens, closes and control requests are barriers: each waits for every request ahead of it, and every request behind it
//! waits. The jobs are in order of arrival, so the barrier, or the first request that waits, is all there is to know: what
//! is behind it waits, too.

use crate::exclusive::Exclusive;
use crate::jobs::JobId;

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
    Runs(Exclusive),
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

    /// The barrier, if it runs.
    pub(crate) const fn running(&self) -> Option<&Exclusive> {
        match self {
            Self::Runs(running) => Some(running),
            _ => None,
        }
    }

    /// The barrier, if it runs.
    pub(crate) const fn running_mut(&mut self) -> Option<&mut Exclusive> {
        match self {
            Self::Runs(running) => Some(running),
            _ => None,
        }
    }
}
