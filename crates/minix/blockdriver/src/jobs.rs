//! The requests of clients that are being worked on, in the order in which they came.
//!
//! A table of fixed size with a list through it. The vectors lie beside the jobs, so that a request without one never
//! touches the kilobyte it would take.

use minix_abi::bdev::{BdevRequest, MAX_ELEMENTS};
use minix_abi::ipc::IpcStatus;
use minix_abi::kernel_call::MapElement;
use minix_abi::trace::TraceRequest;
use minix_abi::{Endpoint, MessageType};

use crate::TraceTicket;
use crate::transfer::{Direction, Transfer};

/// A place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobId(u16);

const NOBODY: u16 = u16::MAX;

impl JobId {
    const fn index(self) -> usize {
        self.0 as usize
    }

    fn some(link: u16) -> Option<Self> {
        (link != NOBODY).then_some(Self(link))
    }
}

/// Who waits for the answer, and what that has to look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) endpoint: Endpoint,
    /// How the request came.
    pub(crate) status: IpcStatus,
    pub(crate) id: i32,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    Close,
    Ioctl,
    Read,
    Write,
    Gather,
    Scatter,
}

impl Kind {
    /// `None` for what is no request to a block driver.
    pub(crate) fn of(message: MessageType) -> Option<Self> {
        Some(match message {
            MessageType::BDEV_OPEN => Self::Open,
            MessageType::BDEV_CLOSE => Self::Close,
            MessageType::BDEV_IOCTL => Self::Ioctl,
            MessageType::BDEV_READ => Self::Read,
            MessageType::BDEV_WRITE => Self::Write,
            MessageType::BDEV_GATHER => Self::Gather,
            MessageType::BDEV_SCATTER => Self::Scatter,
            _ => return None,
        })
    }

    /// Which way the data goes; `None` for what excludes everything else.
    pub(crate) const fn direction(self) -> Option<Direction> {
        match self {
            Self::Read | Self::Gather => Some(Direction::Read),
            Self::Write | Self::Scatter => Some(Direction::Write),
            Self::Open | Self::Close | Self::Ioctl => None,
        }
    }

    pub(crate) const fn has_vector(self) -> bool {
        matches!(self, Self::Gather | Self::Scatter)
    }

    pub(crate) const fn traced_as(self) -> TraceRequest {
        match self {
            Self::Open => TraceRequest::OPEN,
            Self::Close => TraceRequest::CLOSE,
            Self::Ioctl => TraceRequest::IOCTL,
            Self::Read => TraceRequest::READ,
            Self::Write => TraceRequest::WRITE,
            Self::Gather => TraceRequest::GATHER,
            Self::Scatter => TraceRequest::SCATTER,
        }
    }
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The place is free.
    Free,
    /// Behind a request that excludes others. Nothing about it was looked at.
    Waiting,
    /// A transfer that passed its checks.
    Transfer,
    /// Excludes others: waits until everything ahead of it is done, or is what is being done.
    Exclusive,
}

/// A request of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) caller: Caller,
    pub(crate) kind: Kind,
    pub(crate) stage: Stage,
    pub(crate) request: BdevRequest,
    /// Its entry in the trace.
    pub(crate) traced: Option<TraceTicket>,
    /// What is left to do, from [`Stage::Transfer`] on.
    pub(crate) transfer: Transfer,
    /// The only element, where there is no vector.
    pub(crate) single: MapElement,
    /// The next one in the same device request.
    pub(crate) merged: Option<JobId>,
    next: u16,
    previous: u16,
}

impl Job {
    const FREE: Self = Self {
        caller: Caller {
            endpoint: Endpoint::NONE,
            status: IpcStatus(0),
            id: 0,
        },
        kind: Kind::Open,
        stage: Stage::Free,
        request: BdevRequest {
            position: 0,
            minor: minix_abi::minor::Minor(0),
            id: 0,
            access: minix_abi::bdev::BdevAccess::empty(),
            count: 0,
            grant: minix_abi::GrantId::INVALID,
            flags: minix_abi::bdev::BdevFlags::empty(),
            user: Endpoint::NONE,
            pad: minix_abi::Pad::ZERO,
            request: minix_abi::ioctl::IoctlCode(0),
        },
        traced: None,
        transfer: Transfer::NONE,
        single: MapElement { address: 0, bytes: 0 },
        merged: None,
        next: NOBODY,
        previous: NOBODY,
    };
}

/// All of them.
pub(crate) struct Jobs<const JOBS: usize> {
    first: u16,
    last: u16,
    /// First of the free places, which are linked by `next`.
    free: u16,
    used: u16,
    jobs: [Job; JOBS],
    vectors: [[MapElement; MAX_ELEMENTS]; JOBS],
}

impl<const JOBS: usize> Jobs<JOBS> {
    pub(crate) fn new() -> Self {
        const { assert!(JOBS > 0 && JOBS < NOBODY as usize) };
        let mut jobs = [Job::FREE; JOBS];
        for (nth, job) in jobs.iter_mut().enumerate() {
            job.next = if nth + 1 < JOBS { nth as u16 + 1 } else { NOBODY };
        }
        Self {
            jobs,
            vectors: [[MapElement { address: 0, bytes: 0 }; MAX_ELEMENTS]; JOBS],
            first: NOBODY,
            last: NOBODY,
            free: 0,
            used: 0,
        }
    }

    pub(crate) const fn len(&self) -> u16 {
        self.used
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.free == NOBODY
    }

    /// The one that came first.
    pub(crate) fn first(&self) -> Option<JobId> {
        JobId::some(self.first)
    }

    /// The one that came after `id`.
    pub(crate) fn after(&self, id: JobId) -> Option<JobId> {
        JobId::some(self[id].next)
    }

    /// Puts a job at the end; `None` if there is no room.
    pub(crate) fn push(&mut self, caller: Caller, kind: Kind, request: BdevRequest) -> Option<JobId> {
        let id = JobId::some(self.free)?;
        let previous = self.last;
        let job = &mut self.jobs[id.index()];
        self.free = job.next;
        job.caller = caller;
        job.kind = kind;
        job.stage = Stage::Waiting;
        job.request = request;
        job.traced = None;
        job.merged = None;
        job.next = NOBODY;
        job.previous = previous;
        match JobId::some(previous) {
            Some(previous) => self[previous].next = id.0,
            None => self.first = id.0,
        }
        self.last = id.0;
        self.used += 1;
        Some(id)
    }

    /// Takes a job out; its place is free then.
    pub(crate) fn remove(&mut self, id: JobId) {
        let free = self.free;
        let place = &mut self[id];
        let (previous, next) = (place.previous, place.next);
        place.stage = Stage::Free;
        place.next = free;
        self.free = id.0;
        self.used -= 1;
        match JobId::some(previous) {
            Some(previous) => self[previous].next = next,
            None => self.first = next,
        }
        match JobId::some(next) {
            Some(next) => self[next].previous = previous,
            None => self.last = previous,
        }
    }

    /// The elements of the transfer, or room for `count` of them.
    pub(crate) fn elements_mut(&mut self, id: JobId, count: usize) -> &mut [MapElement] {
        let job = &mut self.jobs[id.index()];
        if job.kind.has_vector() {
            &mut self.vectors[id.index()][..count.min(MAX_ELEMENTS)]
        } else {
            core::slice::from_mut(&mut job.single)
        }
    }

    /// The elements of the transfer.
    pub(crate) fn elements(&self, id: JobId) -> &[MapElement] {
        let job = &self.jobs[id.index()];
        if job.kind.has_vector() {
            &self.vectors[id.index()][..usize::from(job.transfer.elements).min(MAX_ELEMENTS)]
        } else {
            core::slice::from_ref(&job.single)
        }
    }
}

impl<const JOBS: usize> core::ops::Index<JobId> for Jobs<JOBS> {
    type Output = Job;

    fn index(&self, id: JobId) -> &Job {
        &self.jobs[id.index()]
    }
}

impl<const JOBS: usize> core::ops::IndexMut<JobId> for Jobs<JOBS> {
    fn index_mut(&mut self, id: JobId) -> &mut Job {
        &mut self.jobs[id.index()]
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn push(jobs: &mut Jobs<4>, id: i32) -> Option<JobId> {
        let caller = Caller { id, ..Job::FREE.caller };
        jobs.push(caller, Kind::Read, Job::FREE.request)
    }

    fn order(jobs: &Jobs<4>) -> Vec<i32> {
        let mut order = Vec::new();
        let mut next = jobs.first();
        while let Some(id) = next {
            order.push(jobs[id].caller.id);
            next = jobs.after(id);
        }
        order
    }

    #[test]
    fn jobs_keep_their_order_while_others_leave() {
        let mut jobs = Jobs::<4>::new();
        let ids: Vec<_> = (0..4).map(|id| push(&mut jobs, id).unwrap()).collect();
        assert!(jobs.is_full() && push(&mut jobs, 9).is_none());
        assert_eq!(order(&jobs), [0, 1, 2, 3]);
        jobs.remove(ids[1]);
        assert_eq!(order(&jobs), [0, 2, 3]);
        let reused = push(&mut jobs, 4).unwrap();
        assert_eq!(order(&jobs), [0, 2, 3, 4]);
        for id in [ids[0], reused, ids[2], ids[3]] {
            jobs.remove(id);
        }
        assert_eq!((order(&jobs).len(), jobs.len()), (0, 0));
        push(&mut jobs, 5);
        assert_eq!(order(&jobs), [5]);
    }
}
