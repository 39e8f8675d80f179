//! Device requests in flight: one entry for each tag.

use core::time::Duration;

use heapless::Vec;
use minix_abi::Instant;

use super::job::JobId;
use crate::device::{BlockDevice, BounceBuffer, Broken, DeviceError, DeviceRequest, Refusal, Tag};

/// What a device request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Data of a transfer, or of several whole ones that are linked by `merged`.
    Transfer {
        job: JobId,
        /// Where in the transfer it starts.
        offset: u32,
        bytes: u32,
        bounce: Option<BounceBuffer>,
    },
    /// The flush in the background, which no client asked for.
    BackgroundFlush,
    /// The flush that a forced write asked for.
    ForcedFlush { job: JobId },
    /// A command or read on behalf of the barrier.
    Barrier,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// `None`: the tag is free.
    purpose: Option<Purpose>,
    since: Instant,
    /// Its place in the order of submission.
    order: u64,
    result: Option<Result<(), DeviceError>>,
}

/// A device request that is completed.
pub(crate) struct Completed {
    pub(crate) purpose: Purpose,
    pub(crate) since: Instant,
    pub(crate) result: Result<(), DeviceError>,
}

/// A device request in flight, to be told of.
pub(crate) struct Request {
    pub(crate) tag: Tag,
    pub(crate) purpose: Purpose,
    pub(crate) since: Instant,
    /// The device has completed it, and it was not looked at yet.
    pub(crate) completed: bool,
}

/// What the next device request that is completed comes to.
pub(crate) struct Next {
    tag: u16,
    pub(crate) since: Instant,
    /// The transfer it is for, if it has worked and went through no bounce buffer.
    pub(crate) good_transfer: Option<JobId>,
}

// In this order, so that what every request uses lies together, ahead of the tables.
#[repr(C)]
pub(crate) struct InFlight<const N: usize> {
    /// No later than the start of any of them.
    oldest: Option<Instant>,
    /// The order of the next one to be submitted. The first one has order 1.
    next_order: u64,
    /// The highest order of those that are completed.
    overtaker: u64,
    /// Completions of requests that the device did not have.
    strays: u64,
    /// How many were completed.
    completions: usize,
    /// How many of those were taken.
    taken: usize,
    /// The tag of the last one to be submitted.
    newest: u16,
    /// How few tags were free at a time.
    least_free: usize,
    free: Vec<u16, N>,
    /// Tags of those that are completed, in that order: each in the place that the number of completions before it gives.
    completed: [u16; N],
    entries: [Entry; N],
}

impl<const N: usize> InFlight<N> {
    pub(crate) fn new() -> Self {
        let mut in_flight = Self {
            entries: [Entry {
                purpose: None,
                since: Instant::START,
                order: 0,
                result: None,
            }; N],
            free: Vec::new(),
            completed: [0; N],
            completions: 0,
            taken: 0,
            newest: 0,
            least_free: N,
            oldest: None,
            next_order: 1,
            overtaker: 0,
            strays: 0,
        };
        in_flight.forget();
        in_flight
    }

    /// The device has forgotten all of them.
    pub(crate) fn forget(&mut self) {
        self.free.clear();
        self.taken = self.completions;
        self.oldest = None;
        for (tag, entry) in self.entries.iter_mut().enumerate().rev() {
            entry.purpose = None;
            // There is room for every tag.
            let _ = self.free.push(tag as u16);
        }
    }

    pub(crate) fn len(&self) -> usize {
        N - self.free.len()
    }

    /// How many there were at a time at most.
    pub(crate) const fn most(&self) -> u16 {
        (N - self.least_free) as u16
    }

    /// How many the device took so far.
    pub(crate) const fn total(&self) -> u64 {
        self.next_order - 1
    }

    pub(crate) const fn strays(&self) -> u64 {
        self.strays
    }

    /// The tag that the next request is offered under; `None` if none is free.
    #[inline]
    pub(crate) fn next_tag(&self) -> Option<Tag> {
        self.free.last().map(|&tag| Tag(tag))
    }

    /// Offers the device a request, and notes its purpose. For the place from which most requests come.
    #[inline(always)]
    pub(crate) fn submit_inline<D: BlockDevice>(
        &mut self,
        device: &mut D,
        request: DeviceRequest,
        purpose: Purpose,
        now: Instant,
    ) -> Result<(), Refusal> {
        let tag = Tag(self.free.pop().ok_or(Refusal::Full)?);
        match device.submit(request, tag) {
            Ok(()) => {
                self.insert(tag, purpose, now);
                Ok(())
            }
            Err(refusal) => self.not_taken(tag, refusal),
        }
    }

    /// The device has not taken a request. Its tag is free.
    #[cold]
    fn not_taken(&mut self, tag: Tag, refusal: Refusal) -> Result<(), Refusal> {
        // It was free before.
        let _ = self.free.push(tag.0);
        Err(refusal)
    }

    /// The same for all other places.
    #[inline(never)]
    pub(crate) fn submit<D: BlockDevice>(
        &mut self,
        device: &mut D,
        request: DeviceRequest,
        purpose: Purpose,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.submit_inline(device, request, purpose, now)
    }

    /// Enters what the device took, under a tag that was free.
    #[inline]
    fn insert(&mut self, tag: Tag, purpose: Purpose, now: Instant) {
        // It is below N, which the remainder tells the compiler.
        self.entries[usize::from(tag.0) % N] = Entry {
            purpose: Some(purpose),
            since: now,
            order: self.next_order,
            result: None,
        };
        self.next_order += 1;
        self.newest = tag.0;
        self.oldest.get_or_insert(now);
        if self.free.len() < self.least_free {
            self.least_free = self.free.len();
        }
    }

    /// Notes what the device has completed. Whether that is anything, be it a part of a request.
    #[inline]
    pub(crate) fn poll<D: BlockDevice>(&mut self, device: &mut D) -> Result<bool, Broken> {
        device.poll(|tag, result| self.complete(tag, result))
    }

    /// Resets the device, and notes its earlier completions. Returns their number, and whether the device works again.
    pub(crate) fn reset<D: BlockDevice>(&mut self, device: &mut D) -> (usize, Result<(), Broken>) {
        let before = self.completions;
        let result = device.reset(&mut |tag, result| self.complete(tag, result));
        (self.completions.wrapping_sub(before), result)
    }

    #[inline]
    fn complete(&mut self, tag: Tag, result: Result<(), DeviceError>) {
        match self.entries.get_mut(usize::from(tag.0)) {
            Some(entry) if entry.purpose.is_some() && entry.result.is_none() => {
                entry.result = Some(result);
                // There is a place for every tag.
                self.completed[self.completions % N] = tag.0;
                self.completions = self.completions.wrapping_add(1);
            }
            _ => self.strays += 1,
        }
    }

    /// Whether one is completed and not taken.
    #[inline]
    pub(crate) const fn any_completed(&self) -> bool {
        self.taken != self.completions
    }

    /// Looks at the next one that is completed.
    #[inline]
    pub(crate) fn next_completed(&self) -> Option<Next> {
        if !self.any_completed() {
            return None;
        }
        let tag = self.completed[self.taken % N];
        let entry = &self.entries[usize::from(tag) % N];
        Some(Next {
            tag,
            since: entry.since,
            good_transfer: match (entry.purpose, entry.result) {
                (Some(Purpose::Transfer { job, bounce: None, .. }), Some(Ok(()))) => Some(job),
                _ => None,
            },
        })
    }

    /// The one that was looked at is taken; its tag is free then.
    #[inline]
    pub(crate) fn drop_completed(&mut self, next: &Next) {
        let tag = next.tag;
        self.taken = self.taken.wrapping_add(1);
        let entry = &mut self.entries[usize::from(tag) % N];
        entry.purpose = None;
        self.overtaker = self.overtaker.max(entry.order);
        let _ = self.free.push(tag);
        if self.free.is_full() {
            self.oldest = None;
        }
    }

    /// Takes the next completed device request, with its purpose.
    pub(crate) fn take_completed(&mut self) -> Option<Completed> {
        let next = self.next_completed()?;
        let entry = &self.entries[usize::from(next.tag) % N];
        let (purpose, since, result) = (entry.purpose, entry.since, entry.result);
        self.drop_completed(&next);
        Some(Completed {
            purpose: purpose?,
            since,
            result: result?,
        })
    }

    /// All of them, by tag.
    pub(crate) fn requests(&self) -> impl Iterator<Item = Request> + '_ {
        (0_u16..).zip(&self.entries).filter_map(|(tag, entry)| {
            Some(Request {
                tag: Tag(tag),
                purpose: entry.purpose?,
                since: entry.since,
                completed: entry.result.is_some(),
            })
        })
    }

    fn used(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.purpose.is_some())
    }

    /// What the last one to be submitted is for; another one if that is completed. `None` without any.
    pub(crate) fn newest(&self) -> Option<Purpose> {
        if self.len() == 0 {
            return None;
        }
        let newest = &self.entries[usize::from(self.newest) % N];
        newest.purpose.or_else(|| self.used().next()?.purpose)
    }

    /// When a request was submitted that was overtaken: that is `span` ago or longer, some request is completed that was
    /// submitted after it, and so are all that were submitted within `span` after it.
    pub(crate) fn overtaken(&self, now: Instant, span: Duration) -> Option<Instant> {
        let is_overtaken = |entry: &&Entry| {
            let until = entry.since.after(span);
            let passed = |other: &Entry| other.order > entry.order && other.since <= until;
            until <= now && entry.order < self.overtaker && !self.used().any(passed)
        };
        self.used().find(is_overtaken).map(|entry| entry.since)
    }

    /// No later than the start of any of them.
    pub(crate) const fn oldest(&self) -> Option<Instant> {
        self.oldest
    }

    /// Looks up which is the oldest.
    pub(crate) fn find_oldest(&mut self) -> Option<Instant> {
        self.oldest = self.used().map(|entry| entry.since).min();
        self.oldest
    }

    /// What the device was given from one time to another, and when.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> impl Iterator<Item = (Purpose, Instant)> + '_ {
        self.entries.iter().filter_map(move |entry| {
            let purpose = entry.purpose?;
            (from <= entry.since && entry.since <= to).then_some((purpose, entry.since))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    impl<const N: usize> InFlight<N> {
        fn submitted(&mut self, now: u64) -> Tag {
            let tag = Tag(self.free.pop().unwrap());
            self.insert(tag, Purpose::Barrier, at(now));
            tag
        }

        fn is_completed(&mut self, tag: Tag) -> bool {
            self.complete(tag, Ok(()));
            self.take_completed().is_some()
        }
    }

    #[test]
    fn a_tag_is_out_once_and_comes_back_once() {
        let mut in_flight = InFlight::<2>::new();
        let first = in_flight.submitted(5);
        let second = in_flight.submitted(7);
        assert_ne!(first, second);
        assert_eq!((in_flight.len(), in_flight.oldest()), (2, Some(at(5))));
        in_flight.complete(first, Ok(()));
        in_flight.complete(first, Ok(()));
        in_flight.complete(Tag(2), Ok(()));
        let completed = in_flight.take_completed().unwrap();
        assert_eq!((completed.since, completed.result), (at(5), Ok(())));
        assert!(!in_flight.is_completed(first), "it is not out");
        assert_eq!(in_flight.strays(), 3);
        assert_eq!(in_flight.oldest(), Some(at(5)));
        assert_eq!(in_flight.find_oldest(), Some(at(7)));
        assert_eq!(in_flight.submitted(9), first);
        in_flight.forget();
        assert!(!in_flight.is_completed(second));
        assert_eq!((in_flight.len(), in_flight.oldest()), (0, None));
    }

    #[test]
    fn overtaken_means_all_later_ones_of_a_while_are_completed() {
        let mut in_flight = InFlight::<4>::new();
        let span = Duration::from_micros(100);
        let early = in_flight.submitted(0);
        let lost = in_flight.submitted(10);
        assert!(in_flight.is_completed(early));
        assert_eq!(in_flight.overtaken(at(1000), span), None, "that was ahead of it");
        let later = in_flight.submitted(20);
        let late = in_flight.submitted(110);
        assert!(in_flight.is_completed(later));
        assert_eq!(in_flight.overtaken(at(1000), span), None, "one is not completed");
        assert!(in_flight.is_completed(late));
        in_flight.submitted(111);
        assert_eq!(in_flight.overtaken(at(109), span), None);
        assert_eq!(in_flight.overtaken(at(110), span), Some(at(10)));
        assert!(in_flight.is_completed(lost));
        assert_eq!(in_flight.overtaken(at(1000), span), None);
    }
}
