//! Lists of jobs, linked through tables beside the jobs.

use super::job::{JobId, NONE};

/// The jobs before and after a job in its list.
#[derive(Clone, Copy)]
struct Link {
    next: u16,
    previous: u16,
}

/// Room for lists that share no job.
pub(crate) struct Links<const N: usize>([Link; N]);

impl<const N: usize> Links<N> {
    pub(crate) const fn new() -> Self {
        const { assert!(N > 0 && N < NONE as usize) };
        let none = Link {
            next: NONE,
            previous: NONE,
        };
        Self([none; N])
    }

    /// The job after this one in its list.
    #[inline(always)]
    pub(crate) fn after(&self, id: JobId) -> Option<JobId> {
        JobId::some(self.0[id.index::<N>()].next)
    }

    /// The job before this one in its list.
    #[inline(always)]
    pub(crate) fn before(&self, id: JobId) -> Option<JobId> {
        JobId::some(self.0[id.index::<N>()].previous)
    }
}

/// A list of jobs. Every call gets the links that its jobs have places in.
#[derive(Clone, Copy)]
pub(crate) struct List {
    first: u16,
    last: u16,
}

impl List {
    pub(crate) const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };

    #[inline(always)]
    pub(crate) fn first(&self) -> Option<JobId> {
        JobId::some(self.first)
    }

    #[inline(always)]
    pub(crate) fn last(&self) -> Option<JobId> {
        JobId::some(self.last)
    }

    #[inline(always)]
    pub(crate) const fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Puts a job that is in no list at the end.
    #[inline]
    pub(crate) fn push<const N: usize>(&mut self, links: &mut Links<N>, id: JobId) {
        let previous = core::mem::replace(&mut self.last, id.0);
        match JobId::some(previous) {
            Some(previous) => links.0[previous.index::<N>()].next = id.0,
            None => self.first = id.0,
        }
        links.0[id.index::<N>()] = Link { next: NONE, previous };
    }

    /// Puts a job that is in no list after one that is in this list, or first.
    #[inline]
    pub(crate) fn insert<const N: usize>(&mut self, links: &mut Links<N>, previous: Option<JobId>, id: JobId) {
        let next = match previous {
            Some(previous) => core::mem::replace(&mut links.0[previous.index::<N>()].next, id.0),
            None => core::mem::replace(&mut self.first, id.0),
        };
        match JobId::some(next) {
            Some(next) => links.0[next.index::<N>()].previous = id.0,
            None => self.last = id.0,
        }
        links.0[id.index::<N>()] = Link {
            next,
            previous: previous.map_or(NONE, |previous| previous.0),
        };
    }

    /// Takes out a job that is in this list.
    #[inline]
    pub(crate) fn remove<const N: usize>(&mut self, links: &mut Links<N>, id: JobId) {
        let Link { next, previous } = links.0[id.index::<N>()];
        match JobId::some(previous) {
            Some(previous) => links.0[previous.index::<N>()].next = next,
            None => self.first = next,
        }
        match JobId::some(next) {
            Some(next) => links.0[next.index::<N>()].previous = previous,
            None => self.last = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn order(list: List, links: &Links<4>) -> Vec<u16> {
        let forth: Vec<_> = core::iter::successors(list.first(), |&id| links.after(id))
            .map(|id| id.0)
            .collect();
        let mut back: Vec<_> = core::iter::successors(list.last(), |&id| links.before(id))
            .map(|id| id.0)
            .collect();
        back.reverse();
        assert_eq!(forth, back);
        assert_eq!(forth.is_empty(), list.is_empty());
        forth
    }

    #[test]
    fn jobs_keep_their_order_while_others_come_and_go() {
        let (mut list, mut links) = (List::EMPTY, Links::<4>::new());
        assert_eq!(order(list, &links), []);
        for id in [2, 0, 3] {
            list.push(&mut links, JobId(id));
        }
        assert_eq!(order(list, &links), [2, 0, 3]);
        list.remove(&mut links, JobId(0));
        list.insert(&mut links, None, JobId(1));
        assert_eq!(order(list, &links), [1, 2, 3]);
        list.insert(&mut links, Some(JobId(2)), JobId(0));
        assert_eq!(order(list, &links), [1, 2, 0, 3]);
        list.remove(&mut links, JobId(3));
        list.remove(&mut links, JobId(1));
        assert_eq!(order(list, &links), [2, 0]);
        list.push(&mut links, JobId(3));
        for id in [2, 0, 3] {
            list.remove(&mut links, JobId(id));
        }
        assert_eq!(order(list, &links), []);
    }

    #[test]
    fn lists_that_share_no_job_share_the_links() {
        let (mut even, mut odd, mut links) = (List::EMPTY, List::EMPTY, Links::<4>::new());
        for id in 0..4 {
            let list = if id % 2 == 0 { &mut even } else { &mut odd };
            list.push(&mut links, JobId(id));
        }
        assert_eq!(
            (order(even, &links), order(odd, &links)),
            ([0, 2].into(), [1, 3].into())
        );
    }
}
