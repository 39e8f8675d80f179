//! The requests of clients from arrival to answer, in order of arrival, and the barrier among them.
//!
//! Transfers run side by side. A barrier waits for everything that came before it, and everything that comes after waits for the
//! barrier. A request that comes is put at the end; [`turn`](Intake::turn) alone says which one goes on, in order.
//!
//! The requests are jobs in a table of fixed size with a list through it. The vectors lie beside the jobs, so that a request
//! without one never touches the kilobyte it would take.

use heapless::Vec;
use minix_abi::bdev::MAX_ELEMENTS;
use minix_abi::kernel_call::MapElement;
use minix_abi::minor::Minor;
use minix_abi::{Instant, Message};

use super::barrier::{Barrier, Running, Task};
use super::job::{Job, JobId, Stage};
use super::list::{Links, List};
use crate::device::Direction;
use crate::protocol::request::{Caller, Kind};
use crate::protocol::trace::TraceTicket;
use crate::transfer::Transfer;

/// The request whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// No barrier is ahead of it any more.
    Admit(JobId),
    /// The barrier. It can run if nothing is ahead of it.
    Barrier(JobId),
}

// In this order, so that what every request uses lies together, ahead of the tables.
#[repr(C)]
pub(crate) struct Intake<const JOBS: usize> {
    barrier: Barrier,
    /// The requests, in order of arrival.
    all: List,
    /// The order of the next one to come, which is the number of those before.
    next_order: u64,
    /// How few places were free at a time.
    least_free: usize,
    /// Places without a request.
    free: Vec<u16, JOBS>,
    links: Links<JOBS>,
    jobs: [Job; JOBS],
    vectors: [[MapElement; MAX_ELEMENTS]; JOBS],
}

impl<const JOBS: usize> Intake<JOBS> {
    pub(crate) fn new() -> Self {
        Self {
            barrier: Barrier::None,
            links: Links::new(),
            all: List::EMPTY,
            free: (0..JOBS as u16).rev().collect(),
            next_order: 0,
            least_free: JOBS,
            jobs: [Job::FREE; JOBS],
            vectors: [[MapElement { address: 0, bytes: 0 }; MAX_ELEMENTS]; JOBS],
        }
    }

    pub(crate) fn len(&self) -> u16 {
        (JOBS - self.free.len()) as u16
    }

    /// How many there were at a time at most.
    pub(crate) const fn most(&self) -> u16 {
        (JOBS - self.least_free) as u16
    }

    /// How many were put in so far.
    pub(crate) const fn pushed(&self) -> u64 {
        self.next_order
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// The first in order of arrival.
    pub(crate) fn first(&self) -> Option<JobId> {
        self.all.first()
    }

    /// The next one in order of arrival.
    pub(crate) fn after(&self, id: JobId) -> Option<JobId> {
        self.links.after(id)
    }

    /// Puts a request at the end; `None` if there is no room. It is admitted at once if none [waits](Self::any_waits), or has
    /// to [wait](Self::wait).
    #[inline]
    pub(crate) fn push(&mut self, now: Instant, caller: Caller, kind: Kind, minor: Minor) -> Option<JobId> {
        let id = JobId(self.free.pop()?);
        let job = &mut self.jobs[id.index::<JOBS>()];
        job.caller = caller;
        job.kind = kind;
        job.stage = Stage::Waiting;
        job.minor = minor;
        job.traced = None;
        job.merged = None;
        job.arrived = now;
        job.order = self.next_order;
        self.next_order += 1;
        self.all.push(&mut self.links, id);
        if self.free.len() < self.least_free {
            self.least_free = self.free.len();
        }
        Some(id)
    }

    /// Keeps what a request asks for, since that is not done with it at once.
    #[inline]
    pub(crate) fn set_request(&mut self, id: JobId, message: &Message) {
        self[id].request = message.payload();
    }

    /// The request that was put at the end is not admitted yet.
    pub(crate) fn wait(&mut self, id: JobId) {
        if let Barrier::None = self.barrier {
            self.barrier = Barrier::Lifted(id);
        }
    }

    /// Whether a request waits for its turn.
    #[inline]
    pub(crate) const fn any_waits(&self) -> bool {
        !matches!(self.barrier, Barrier::None)
    }

    /// The request whose turn it is; `None` if no request waits, or the barrier runs.
    pub(crate) fn turn(&self) -> Option<Turn> {
        match self.barrier {
            Barrier::None | Barrier::Runs(_) => None,
            Barrier::Lifted(id) => Some(Turn::Admit(id)),
            Barrier::Waits(id) => Some(Turn::Barrier(id)),
        }
    }

    /// The request that had its turn is admitted: as a transfer in that direction, or as the barrier.
    pub(crate) fn admit(&mut self, id: JobId) -> Option<Direction> {
        let direction = self[id].kind.direction();
        self.barrier = match direction {
            Some(_) => Barrier::lifted(self.after(id)),
            None => {
                self[id].stage = Stage::Barrier;
                Barrier::Waits(id)
            }
        };
        direction
    }

    /// A request that was admitted is a transfer that passed its checks.
    pub(crate) fn set_transfer(&mut self, id: JobId, transfer: Transfer) {
        let job = &mut self[id];
        job.stage = Stage::Transfer;
        job.transfer = transfer;
    }

    /// The barrier needs the device.
    pub(crate) fn run(&mut self, job: JobId, task: Task) {
        self.barrier = Barrier::Runs(Running::new(job, task));
    }

    /// The barrier, if it runs.
    pub(crate) const fn running(&self) -> Option<&Running> {
        match &self.barrier {
            Barrier::Runs(running) => Some(running),
            _ => None,
        }
    }

    /// The barrier, if it runs.
    pub(crate) const fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.barrier {
            Barrier::Runs(running) => Some(running),
            _ => None,
        }
    }

    /// A request is about to be taken out. If it is the barrier, that is lifted. Returns whether it was.
    pub(crate) fn lift(&mut self, id: JobId) -> bool {
        let was_barrier = self.barrier.job() == Some(id);
        if was_barrier {
            // All requests after it wait.
            self.barrier = Barrier::lifted(self.after(id));
        }
        was_barrier
    }

    /// Takes a request out that is not the barrier any more. Returns who waits for the answer, and its entry in the trace.
    #[inline(always)]
    pub(crate) fn remove(&mut self, id: JobId) -> (Caller, Option<TraceTicket>) {
        let job = &mut self.jobs[id.index::<JOBS>()];
        job.stage = Stage::Free;
        self.all.remove(&mut self.links, id);
        // There is room for every place.
        let _ = self.free.push(id.0);
        (job.caller, job.traced)
    }

    /// The elements of the transfer, or room for `count` of them.
    pub(crate) fn elements_mut(&mut self, id: JobId, count: usize) -> &mut [MapElement] {
        let job = &mut self.jobs[id.index::<JOBS>()];
        if job.kind.has_vector() {
            &mut self.vectors[id.index::<JOBS>()][..count.min(MAX_ELEMENTS)]
        } else {
            core::slice::from_mut(&mut job.single)
        }
    }

    /// The elements of the transfer.
    pub(crate) fn elements(&self, id: JobId) -> &[MapElement] {
        let job = &self.jobs[id.index::<JOBS>()];
        if job.kind.has_vector() {
            &self.vectors[id.index::<JOBS>()][..usize::from(job.transfer.elements).min(MAX_ELEMENTS)]
        } else {
            core::slice::from_ref(&job.single)
        }
    }

    /// `next` goes in one device request with `last`.
    pub(crate) fn link(&mut self, last: JobId, next: JobId) {
        self[last].merged = Some(next);
    }

    /// The next transfer in the same device request, which it no longer shares.
    pub(crate) fn unlink(&mut self, id: JobId) -> Option<JobId> {
        self[id].merged.take()
    }

    /// Calls `each` for a transfer and those that share its device request.
    pub(crate) fn for_each_merged(&mut self, head: JobId, mut each: impl FnMut(&mut Job)) {
        let mut next = Some(head);
        while let Some(id) = next {
            next = self[id].merged;
            each(&mut self[id]);
        }
    }

    /// How many transfers share the device request of this one, which is the first of them.
    pub(crate) fn count_merged(&self, head: JobId) -> u16 {
        let mut count = 1;
        let mut next = self[head].merged;
        while let Some(id) = next {
            count += 1;
            next = self[id].merged;
        }
        count
    }

    /// Transfers that shared a device request, or were to share one, no longer do; for good if `alone`.
    pub(crate) fn part(&mut self, head: JobId, alone: bool) {
        self.for_each_merged(head, |job| {
            if alone {
                job.transfer.set_alone();
            }
            job.merged = None;
        });
    }
}

impl<const JOBS: usize> core::ops::Index<JobId> for Intake<JOBS> {
    type Output = Job;

    #[inline(always)]
    fn index(&self, id: JobId) -> &Job {
        &self.jobs[id.index::<JOBS>()]
    }
}

impl<const JOBS: usize> core::ops::IndexMut<JobId> for Intake<JOBS> {
    #[inline(always)]
    fn index_mut(&mut self, id: JobId) -> &mut Job {
        &mut self.jobs[id.index::<JOBS>()]
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn push(jobs: &mut Intake<4>, id: i32) -> Option<JobId> {
        let caller = Caller { id, ..Job::FREE.caller };
        jobs.push(Instant::START, caller, Kind::Read, Job::FREE.minor)
    }

    fn order(jobs: &Intake<4>) -> Vec<i32> {
        let mut order = Vec::new();
        let mut next = jobs.first();
        while let Some(id) = next {
            order.push(jobs[id].caller.id);
            next = jobs.after(id);
        }
        order
    }

    #[test]
    fn requests_keep_their_order_while_others_are_answered() {
        let mut jobs = Intake::<4>::new();
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
