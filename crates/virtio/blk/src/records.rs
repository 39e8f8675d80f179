//! The table of requests that are with the driver.

use virtio_core::{DmaSegments, Segment};

use crate::work::Work;
use crate::{Answer, Completion, IoError, Operation, Request};

/// A place for one request, from submission to completion.
///
/// The parts of the request lie here one by one, so that each is copied once on its way in and once on its way out.
#[derive(Debug)]
pub(crate) struct RequestRecord<B, K> {
    /// The token of the request; `None` if the place is free.
    token: Option<K>,
    buffer: Option<B>,
    pub(crate) operation: Operation,
    pub(crate) work: Work,
    /// Device requests that are out.
    pub(crate) in_flight: u16,
    /// The next free place, if this one is free.
    next_free: u16,
    /// Counts the requests that were taken, so that the order of submission is known.
    sequence: u64,
    /// Data bytes of the parts that succeeded.
    pub(crate) bytes: u64,
    /// The first error of a part.
    pub(crate) error: Option<IoError>,
}

impl<B: DmaSegments, K> RequestRecord<B, K> {
    /// The pieces of the buffer; none if the request has no buffer.
    #[inline]
    pub(crate) fn segments(&self) -> &[Segment] {
        self.buffer.as_ref().map_or(&[], DmaSegments::segments)
    }
}

impl<B, K> RequestRecord<B, K> {
    /// Takes the request out, with `answer` if it succeeded. `None` if the place is free.
    #[inline]
    fn take(&mut self, answer: Answer) -> Option<Completion<B, K>> {
        Some(Completion {
            token: self.token.take()?,
            buffer: self.buffer.take(),
            operation: self.operation,
            bytes: self.bytes,
            result: self.error.map_or(Ok(answer), Err),
        })
    }
}

/// A place that is to be filled.
#[derive(Debug)]
pub(crate) struct ReservedRecord(u16);

impl ReservedRecord {
    /// The number of the request that will be there.
    #[inline]
    pub(crate) fn id(&self) -> u16 {
        self.0
    }
}

/// Room for `N` requests, `N` being a power of two.
#[derive(Debug)]
pub(crate) struct RequestRecords<B, K, const N: usize> {
    records: [RequestRecord<B, K>; N],
    free_head: u16,
    used: u16,
    /// The sequence number of the next request.
    sequence: u64,
}

impl<B, K, const N: usize> RequestRecords<B, K, N> {
    pub(crate) fn new() -> Self {
        Self {
            records: core::array::from_fn(|n| RequestRecord {
                token: None,
                buffer: None,
                operation: Operation::Flush,
                work: Work::Sent,
                in_flight: 0,
                next_free: n as u16 + 1,
                sequence: 0,
                bytes: 0,
                error: None,
            }),
            free_head: 0,
            used: 0,
            sequence: 0,
        }
    }

    /// How many requests are in the table.
    pub(crate) fn len(&self) -> u16 {
        self.used
    }

    /// Reserves a place, so that a device request can name it; `None` if the table is full. It is taken once it is
    /// [filled](Self::fill): the next reservation before that gets the same.
    #[inline]
    pub(crate) fn reserve(&self) -> Option<ReservedRecord> {
        (usize::from(self.used) < N).then_some(ReservedRecord(self.free_head))
    }

    /// Masking by the capacity keeps every number inside the table without a branch that could panic.
    #[inline]
    fn at(&mut self, id: u16) -> &mut RequestRecord<B, K> {
        &mut self.records[usize::from(id) & (N - 1)]
    }

    /// Puts a request into the reserved place, one part of which is out. Returns its number.
    #[inline]
    pub(crate) fn fill(&mut self, place: ReservedRecord, request: Request<B, K>, work: Work) -> u16 {
        let (ReservedRecord(id), sequence) = (place, self.sequence);
        self.sequence += 1;
        let record = self.at(id);
        record.sequence = sequence;
        record.token = Some(request.token);
        record.buffer = request.buffer;
        record.operation = request.operation;
        record.work = work;
        record.in_flight = 1;
        record.bytes = 0;
        record.error = None;
        self.free_head = record.next_free;
        self.used += 1;
        id
    }

    /// The record of a request; `None` if there is none under that number.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: u16) -> Option<&mut RequestRecord<B, K>> {
        Some(self.at(id)).filter(|record| record.token.is_some())
    }

    /// Takes a request out, with `answer` if it succeeded.
    #[inline]
    pub(crate) fn remove(&mut self, id: u16, answer: Answer) -> Option<Completion<B, K>> {
        let free_head = self.free_head;
        let record = self.at(id);
        let completion = record.take(answer)?;
        record.next_free = free_head;
        self.free_head = id;
        self.used -= 1;
        Some(completion)
    }

    /// Hands every request that was not finished to `each`, in the order in which they were submitted. The table cannot be
    /// used any more afterwards: it has lost track of its places.
    pub(crate) fn abort_all(&mut self, mut each: impl FnMut(Completion<B, K>)) {
        // A sort would be 1.5 KiB of code for a few hundred requests that come back once.
        let taken = |record: &&mut RequestRecord<B, K>| record.token.is_some();
        while let Some(record) = self
            .records
            .iter_mut()
            .filter(taken)
            .min_by_key(|record| record.sequence)
        {
            record.error.get_or_insert(IoError::Aborted);
            if let Some(completion) = record.take(Answer::Done) {
                each(completion);
            }
        }
        self.used = 0;
    }
}
