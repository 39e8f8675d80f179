//! The table of requests that are with the driver.

use core::mem;

use crate::work::Work;
use crate::{IoError, Operation, Request};

/// A request from submission to completion.
#[derive(Debug)]
pub(crate) struct Record<B, O> {
    pub(crate) request: Request<B, O>,
    pub(crate) work: Work,
    /// Device requests that are out.
    pub(crate) in_flight: u16,
    /// Data bytes of the parts that succeeded.
    pub(crate) bytes: u64,
    /// The first error of a part.
    pub(crate) error: Option<IoError>,
}

#[derive(Debug)]
enum Entry<B, O> {
    Free { next: u16 },
    Used(Record<B, O>),
}

/// Room for `N` requests, `N` being a power of two.
#[derive(Debug)]
pub(crate) struct Records<B, O, const N: usize> {
    entries: [Entry<B, O>; N],
    free_head: u16,
    used: u16,
}

impl<B, O, const N: usize> Records<B, O, N> {
    /// How many requests are in the table.
    pub(crate) fn len(&self) -> u16 {
        self.used
    }

    pub(crate) fn new() -> Self {
        Self {
            entries: core::array::from_fn(|n| Entry::Free { next: n as u16 + 1 }),
            free_head: 0,
            used: 0,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        usize::from(self.used) == N
    }

    /// The number the next record will have. Meaningless if the table is full.
    #[inline]
    pub(crate) fn next_id(&self) -> u16 {
        self.free_head
    }

    /// Files a record under [`next_id`](Self::next_id). The record comes back if the table is full.
    #[inline]
    pub(crate) fn insert(&mut self, record: Record<B, O>) -> Result<u16, Record<B, O>> {
        let id = self.free_head;
        match self.entries.get_mut(usize::from(id)) {
            Some(entry @ Entry::Free { .. }) => {
                if let Entry::Free { next } = *entry {
                    self.free_head = next;
                }
                *entry = Entry::Used(record);
                self.used += 1;
                Ok(id)
            }
            _ => Err(record),
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: u16) -> Option<&mut Record<B, O>> {
        match self.entries.get_mut(usize::from(id)) {
            Some(Entry::Used(record)) => Some(record),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, id: u16) -> Option<Record<B, O>> {
        let entry = self.entries.get_mut(usize::from(id))?;
        if let Entry::Free { .. } = entry {
            return None;
        }
        match mem::replace(entry, Entry::Free { next: self.free_head }) {
            Entry::Used(record) => {
                self.free_head = id;
                self.used -= 1;
                Some(record)
            }
            Entry::Free { .. } => None,
        }
    }

    /// Some request of the table, taken out.
    pub(crate) fn remove_any(&mut self) -> Option<Record<B, O>> {
        let id = self.entries.iter().position(|entry| matches!(entry, Entry::Used(_)))?;
        self.remove(id as u16)
    }
}

impl<B, O> Record<B, O> {
    pub(crate) fn operation(&self) -> Operation {
        self.request.operation
    }
}
