//! The table of requests that are with the driver.

use crate::work::Work;
use crate::{IoError, Operation, Request};

/// A place for one request, from submission to completion.
#[derive(Debug)]
pub(crate) struct Record<B, O> {
    /// The request; `None` if the place is free.
    request: Option<Request<B, O>>,
    pub(crate) work: Work,
    /// Device requests that are out.
    pub(crate) in_flight: u16,
    /// The next free place, if this one is free.
    next_free: u16,
    /// Data bytes of the parts that succeeded.
    pub(crate) bytes: u64,
    /// The first error of a part.
    pub(crate) error: Option<IoError>,
}

impl<B, O> Record<B, O> {
    /// The request, in a place that is taken.
    #[inline]
    pub(crate) fn request(&self) -> Option<&Request<B, O>> {
        self.request.as_ref()
    }
}

/// A request that was taken out of the table, and how it went.
pub(crate) struct Finished<B, O> {
    pub(crate) request: Request<B, O>,
    pub(crate) bytes: u64,
    pub(crate) error: Option<IoError>,
}

impl<B, O> Finished<B, O> {
    pub(crate) fn operation(&self) -> Operation {
        self.request.operation
    }
}

/// Room for `N` requests, `N` being a power of two.
#[derive(Debug)]
pub(crate) struct Records<B, O, const N: usize> {
    records: [Record<B, O>; N],
    free_head: u16,
    used: u16,
}

impl<B, O, const N: usize> Records<B, O, N> {
    pub(crate) fn new() -> Self {
        Self {
            records: core::array::from_fn(|n| Record {
                request: None,
                work: Work::Sent,
                in_flight: 0,
                next_free: n as u16 + 1,
                bytes: 0,
                error: None,
            }),
            free_head: 0,
            used: 0,
        }
    }

    /// How many requests are in the table.
    pub(crate) fn len(&self) -> u16 {
        self.used
    }

    pub(crate) fn is_full(&self) -> bool {
        usize::from(self.used) == N
    }

    /// The number the next request will have. Meaningless if the table is full.
    #[inline]
    pub(crate) fn next_id(&self) -> u16 {
        self.free_head
    }

    /// Masking by the capacity keeps every number inside the table without a branch that could panic.
    #[inline]
    fn at(&mut self, id: u16) -> &mut Record<B, O> {
        &mut self.records[usize::from(id) & (N - 1)]
    }

    /// Files a request, one part of which is out, under [`next_id`](Self::next_id). There must be room.
    #[inline]
    pub(crate) fn insert(&mut self, request: Request<B, O>, work: Work) -> u16 {
        let id = self.free_head;
        let record = self.at(id);
        record.request = Some(request);
        record.work = work;
        record.in_flight = 1;
        record.bytes = 0;
        record.error = None;
        self.free_head = self.at(id).next_free;
        self.used += 1;
        id
    }

    /// The record of a request; `None` if there is none under that number.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: u16) -> Option<&mut Record<B, O>> {
        Some(self.at(id)).filter(|record| record.request.is_some())
    }

    /// Takes a request out.
    #[inline]
    pub(crate) fn remove(&mut self, id: u16) -> Option<Finished<B, O>> {
        let free_head = self.free_head;
        let record = self.at(id);
        let request = record.request.take()?;
        record.next_free = free_head;
        let (bytes, error) = (record.bytes, record.error);
        self.free_head = id;
        self.used -= 1;
        Some(Finished { request, bytes, error })
    }

    /// Takes some request out.
    pub(crate) fn remove_any(&mut self) -> Option<Finished<B, O>> {
        let id = self.records.iter().position(|record| record.request.is_some())?;
        self.remove(id as u16)
    }
}
