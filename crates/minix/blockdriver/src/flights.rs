//! What the device has: one place for each tag.

use heapless::{Deque, Vec};

use crate::jobs::JobId;
use crate::{DeviceError, Micros, StagingBlock, Tag};

/// What a device request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cargo {
    /// Nothing: the place is free.
    None,
    /// Data of a transfer, or of several whole ones that are linked by `merged`.
    Transfer {
        job: JobId,
        /// Where in the transfer it starts.
        offset: u32,
        bytes: u32,
        staging: Option<StagingBlock>,
    },
    /// The flush that nobody asked for.
    Background,
    /// The flush that a write asked for.
    Durability { job: JobId },
    /// A command or read on behalf of the request that excludes the others.
    Exclusive,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    cargo: Cargo,
    since: Micros,
    /// Its place in the order of submission.
    order: u64,
    result: Option<Result<(), DeviceError>>,
}

/// All of them.
pub(crate) struct Flights<const N: usize> {
    slots: [Flight; N],
    free: Vec<u16, N>,
    /// Finished, and not taken yet.
    finished: Deque<u16, N>,
    /// No later than the start of any of them.
    oldest: Option<Micros>,
    /// The order of the next one to be submitted.
    next_order: u64,
    /// The highest order of those that have come back.
    overtaker: u64,
}

impl<const N: usize> Flights<N> {
    pub(crate) fn new() -> Self {
        let mut flights = Self {
            slots: [Flight {
                cargo: Cargo::None,
                since: Micros(0),
                order: 0,
                result: None,
            }; N],
            free: Vec::new(),
            finished: Deque::new(),
            oldest: None,
            next_order: 1,
            overtaker: 0,
        };
        flights.forget();
        flights
    }

    /// The device has forgotten all of them.
    pub(crate) fn forget(&mut self) {
        self.free.clear();
        self.finished.clear();
        self.oldest = None;
        for (nth, slot) in self.slots.iter_mut().enumerate().rev() {
            slot.cargo = Cargo::None;
            // There are as many places as slots.
            let _ = self.free.push(nth as u16);
        }
    }

    pub(crate) fn len(&self) -> usize {
        N - self.free.len()
    }

    /// The tag the next one gets.
    pub(crate) fn next_tag(&self) -> Option<Tag> {
        self.free.last().copied().map(Tag)
    }

    /// The device took the request with the [next tag](Self::next_tag).
    pub(crate) fn depart(&mut self, cargo: Cargo, now: Micros) {
        if let Some(tag) = self.free.pop() {
            self.slots[usize::from(tag)] = Flight {
                cargo,
                since: now,
                order: self.next_order,
                result: None,
            };
            self.next_order += 1;
            self.oldest.get_or_insert(now);
        }
    }

    /// The device is done with a request. Whether it had that one.
    pub(crate) fn arrive(&mut self, tag: Tag, result: Result<(), DeviceError>) -> bool {
        match self.slots.get_mut(usize::from(tag.0)) {
            Some(slot) if slot.cargo != Cargo::None && slot.result.is_none() => {
                slot.result = Some(result);
                self.finished.push_back(tag.0).is_ok()
            }
            _ => false,
        }
    }

    /// The next one that is finished, and when it was submitted; its tag is free then.
    pub(crate) fn take_finished(&mut self) -> Option<(Cargo, Micros, Result<(), DeviceError>)> {
        let tag = self.finished.pop_front()?;
        let slot = &mut self.slots[usize::from(tag)];
        let cargo = core::mem::replace(&mut slot.cargo, Cargo::None);
        let result = slot.result.take()?;
        let since = slot.since;
        self.overtaker = self.overtaker.max(slot.order);
        let _ = self.free.push(tag);
        if self.free.is_full() {
            self.oldest = None;
        }
        Some((cargo, since, result))
    }

    /// A request that was overtaken: it was submitted `span` ago or longer, some request has come back that was submitted
    /// after it, and so have all that were submitted within `span` after it.
    pub(crate) fn overtaken(&self, now: Micros, span: u64) -> Option<(Cargo, Micros)> {
        let used = || self.slots.iter().filter(|slot| slot.cargo != Cargo::None);
        let is_overtaken = |slot: &&Flight| {
            let until = slot.since.after(span);
            let passed = |other: &Flight| other.order > slot.order && other.since <= until;
            until <= now && slot.order < self.overtaker && !used().any(passed)
        };
        used().find(is_overtaken).map(|slot| (slot.cargo, slot.since))
    }

    /// No later than the start of any of them.
    pub(crate) const fn oldest(&self) -> Option<Micros> {
        self.oldest
    }

    /// Looks up which is the oldest.
    pub(crate) fn find_oldest(&mut self) -> Option<Micros> {
        self.oldest = self.all().map(|(_, since)| since).min();
        self.oldest
    }

    /// What the device has, and since when.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Cargo, Micros)> + '_ {
        let used = self.slots.iter().filter(|slot| slot.cargo != Cargo::None);
        used.map(|slot| (slot.cargo, slot.since))
    }

    /// What is in the place of a tag, and since when.
    pub(crate) fn at(&self, place: usize) -> Option<(Cargo, Micros)> {
        let slot = self.slots.get(place)?;
        (slot.cargo != Cargo::None).then_some((slot.cargo, slot.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_out_once_and_comes_back_once() {
        let mut flights = Flights::<2>::new();
        let first = flights.next_tag().unwrap();
        flights.depart(Cargo::Exclusive, Micros(5));
        let second = flights.next_tag().unwrap();
        flights.depart(Cargo::Exclusive, Micros(7));
        assert_ne!(first, second);
        assert_eq!(
            (flights.next_tag(), flights.len(), flights.oldest()),
            (None, 2, Some(Micros(5)))
        );
        assert!(flights.arrive(first, Ok(())));
        assert!(!flights.arrive(first, Ok(())), "it is back already");
        assert!(!flights.arrive(Tag(2), Ok(())), "there is no such tag");
        assert_eq!(flights.take_finished(), Some((Cargo::Exclusive, Micros(5), Ok(()))));
        assert!(!flights.arrive(first, Ok(())), "it is not out");
        assert_eq!(flights.take_finished(), None);
        assert_eq!(flights.next_tag(), Some(first));
        assert_eq!(
            (flights.oldest(), flights.find_oldest()),
            (Some(Micros(5)), Some(Micros(7)))
        );
        flights.forget();
        assert!(!flights.arrive(second, Ok(())));
        assert_eq!((flights.len(), flights.oldest()), (0, None));
    }

    #[test]
    fn overtaken_means_that_all_later_ones_of_a_while_are_back() {
        let mut flights = Flights::<4>::new();
        let submit = |flights: &mut Flights<4>, at| {
            let tag = flights.next_tag().unwrap();
            flights.depart(Cargo::Background, Micros(at));
            tag
        };
        let back = |flights: &mut Flights<4>, tag| {
            assert!(flights.arrive(tag, Ok(())));
            assert!(flights.take_finished().is_some());
        };
        let early = submit(&mut flights, 0);
        let lost = submit(&mut flights, 10);
        back(&mut flights, early);
        assert_eq!(flights.overtaken(Micros(1000), 100), None, "that was ahead of it");
        let later = submit(&mut flights, 20);
        let late = submit(&mut flights, 110);
        back(&mut flights, later);
        assert_eq!(flights.overtaken(Micros(1000), 100), None, "one is not back");
        back(&mut flights, late);
        submit(&mut flights, 111);
        assert_eq!(flights.overtaken(Micros(109), 100), None);
        assert_eq!(
            flights.overtaken(Micros(110), 100),
            Some((Cargo::Background, Micros(10)))
        );
        back(&mut flights, lost);
        assert_eq!(flights.overtaken(Micros(1000), 100), None);
    }
}
