//! Where on the disk the unanswered transfers are: which of them lie in the way of another one, and which starts where another
//! one ends.
//!
//! A transfer that is alone, the common case, is not filed before another one comes. A grid cuts the disk into regions, and files
//! a transfer under the region in which it starts. So a question about a place looks at the few transfers of a region or two, not
//! at all there are. There is a grid for short transfers and one for longer ones, so that one long transfer does not make every
//! search look further.

use super::intake::Intake;
use super::job::JobId;
use super::list::{Links, List};
use crate::transfer::Transfer;

/// Bytes of a region in each grid, as powers of two: 64 KiB and 1 MiB.
const SHIFTS: [u32; 2] = [16, 20];

/// Lists of a grid. Regions whose numbers have the same remainder share one.
const LISTS: usize = 64;

/// The transfers that are no longer than a region of the grid, and longer than one of the grid before.
#[derive(Clone, Copy)]
struct Grid {
    /// How many there are. Mostly one of the grids is empty, and need not be searched.
    count: u16,
    lists: [List; LISTS],
}

impl Grid {
    const EMPTY: Self = Self {
        count: 0,
        lists: [List::EMPTY; LISTS],
    };

    /// The list of a region.
    #[inline]
    fn list(&self, region: u64) -> &List {
        &self.lists[region as usize % LISTS]
    }
}

/// Unanswered transfers by place.
pub(crate) struct Regions<const N: usize> {
    links: Links<N>,
    grids: [Grid; SHIFTS.len()],
    /// Those that are longer than a region of every grid.
    long: List,
    /// The transfer that came while there was no other. It is filed when another one comes.
    alone: Option<JobId>,
    /// How many there are.
    count: u16,
}

impl<const N: usize> Regions<N> {
    pub(crate) const fn new() -> Self {
        Self {
            links: Links::new(),
            grids: [Grid::EMPTY; SHIFTS.len()],
            long: List::EMPTY,
            alone: None,
            count: 0,
        }
    }

    /// Takes in the first transfer, as [`insert`](Self::insert) does.
    #[inline(always)]
    pub(crate) const fn insert_first(&mut self, id: JobId) {
        self.count = 1;
        self.alone = Some(id);
    }

    /// Takes in a transfer. Until it is [removed](Self::remove) it starts there and is as long.
    #[inline]
    pub(crate) fn insert(&mut self, intake: &Intake<N>, id: JobId) {
        if self.is_empty() {
            return self.insert_first(id);
        }
        self.count += 1;
        if self.count == 2
            && let Some(other) = self.alone.take()
        {
            self.file(intake, other);
        }
        self.file(intake, id);
    }

    #[inline]
    fn file(&mut self, intake: &Intake<N>, id: JobId) {
        let (list, count) = list_of(&mut self.grids, &mut self.long, &intake[id].transfer);
        list.push(&mut self.links, id);
        if let Some(count) = count {
            *count += 1;
        }
    }

    /// Whether there is no transfer.
    #[inline(always)]
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether there is one transfer only, or none.
    #[inline]
    pub(crate) const fn is_alone(&self) -> bool {
        self.count <= 1
    }

    /// Takes a transfer out.
    #[inline(always)]
    pub(crate) fn remove(&mut self, id: JobId, transfer: &Transfer) {
        self.count -= 1;
        if self.count == 0 && self.alone.take().is_some() {
            return;
        }
        let (list, count) = list_of(&mut self.grids, &mut self.long, transfer);
        list.remove(&mut self.links, id);
        if let Some(count) = count {
            *count -= 1;
        }
    }

    /// Whether a transfer that came before this one and is not answered [conflicts](Transfer::conflicts) with it.
    #[inline(never)]
    pub(crate) fn is_in_the_way(&self, intake: &Intake<N>, id: JobId) -> bool {
        if self.is_alone() {
            return false;
        }
        let job = &intake[id];
        let conflicts = |list: &List| {
            self.walk(list)
                .any(|other| job.transfer.conflicts(&intake[other].transfer) && intake[other].order < job.order)
        };
        let (first, last) = (job.transfer.first, job.transfer.end() - 1);
        let mut used = SHIFTS.iter().zip(&self.grids).filter(|(_, grid)| grid.count > 0);
        let in_grids = used.any(|(shift, grid)| {
            // A transfer that reaches into this one starts in the region before its first one at the earliest.
            let (from, to) = ((first >> shift).saturating_sub(1), last >> shift);
            // More regions than there are lists share some.
            let count = (to - from).min(LISTS as u64 - 1) + 1;
            (from..from + count).any(|region| conflicts(grid.list(region)))
        });
        in_grids || conflicts(&self.long)
    }

    /// The first to come of the transfers that start at a byte and are `wanted`. One that is alone is not found: the question is
    /// about another one.
    #[inline]
    pub(crate) fn starting_at(&self, intake: &Intake<N>, first: u64, wanted: impl Fn(JobId) -> bool) -> Option<JobId> {
        let in_grids = SHIFTS.iter().zip(&self.grids);
        let lists = in_grids.map(|(shift, grid)| grid.list(first >> shift));
        let mut found: Option<JobId> = None;
        for list in lists.chain([&self.long]) {
            for id in self.walk(list) {
                let is_first = found.is_none_or(|found| intake[id].order < intake[found].order);
                if intake[id].transfer.first == first && is_first && wanted(id) {
                    found = Some(id);
                }
            }
        }
        found
    }

    fn walk(&self, list: &List) -> impl Iterator<Item = JobId> + '_ {
        core::iter::successors(list.first(), |&id| self.links.after(id))
    }

    /// Whether no transfer is filed.
    #[cfg(test)]
    pub(crate) fn has_none_filed(&self) -> bool {
        self.is_empty()
            && self.alone.is_none()
            && self.long.is_empty()
            && self
                .grids
                .iter()
                .all(|grid| grid.count == 0 && grid.lists.iter().all(List::is_empty))
    }
}

/// The list that a transfer is filed in, and the count of its grid, if it is in one.
#[inline]
fn list_of<'a>(
    grids: &'a mut [Grid; SHIFTS.len()],
    long: &'a mut List,
    transfer: &Transfer,
) -> (&'a mut List, Option<&'a mut u16>) {
    for (shift, grid) in SHIFTS.iter().zip(grids) {
        if transfer.bytes <= 1 << shift {
            let list = &mut grid.lists[(transfer.first >> shift) as usize % LISTS];
            return (list, Some(&mut grid.count));
        }
    }
    (long, None)
}
