//! The requests that take several device requests.

use virtio_core::{DmaSegments, Segment};

use crate::class::HeaderMarks;
use crate::work::Work;
use crate::{Answer, Completion, IoError, Request};

/// How many there can be at a time. Each keeps several chains in flight, so a few of them keep a device busy.
const ROOM: usize = if crate::SPLIT { 8 } else { 0 };

/// A request that takes several device requests. Some of them are in flight, or still to be sent.
#[derive(Debug)]
pub(crate) struct SplitRequest<B, K> {
    request: Request<B, K>,
    /// What is left to send.
    pub(crate) work: Work,
    /// What the headers of its parts say besides.
    pub(crate) marks: HeaderMarks,
    /// Parts that are with the device.
    pub(crate) in_flight: u16,
    /// Data bytes of the parts that succeeded.
    pub(crate) bytes: u64,
    /// The first error of a part.
    pub(crate) error: Option<IoError>,
}

impl<B: DmaSegments, K> SplitRequest<B, K> {
    /// The pieces of the buffer; none if the request has no buffer.
    pub(crate) fn segments(&self) -> &[Segment] {
        self.request.segments()
    }
}

impl<B, K> SplitRequest<B, K> {
    /// Of the request, one part is out, and `work` is left to send.
    pub(crate) fn new(request: Request<B, K>, work: Work, marks: HeaderMarks) -> Self {
        Self {
            request,
            work,
            marks,
            in_flight: 1,
            bytes: 0,
            error: None,
        }
    }

    fn into_completion(self) -> Completion<B, K> {
        let result = self.error.map_or(Ok(Answer::Done), Err);
        self.request.complete(self.bytes, result)
    }
}

/// Room for some split requests.
#[derive(Debug)]
pub(crate) struct SplitRequests<B, K>([Option<SplitRequest<B, K>>; ROOM]);

impl<B, K> SplitRequests<B, K> {
    pub(crate) const fn new() -> Self {
        Self([const { None }; ROOM])
    }

    /// How many there are, and how many parts of them are in flight.
    pub(crate) fn requests_and_parts(&self) -> (u16, u16) {
        let splits = self.0.iter().flatten();
        splits.fold((0, 0), |(requests, parts), split| {
            (requests + 1, parts + split.in_flight)
        })
    }

    /// A free place and its number.
    pub(crate) fn vacant(&mut self) -> Option<(u16, &mut Option<SplitRequest<B, K>>)> {
        (0..).zip(&mut self.0).find(|(_, place)| place.is_none())
    }

    /// The request under that number, if there is one.
    pub(crate) fn get_mut(&mut self, number: u16) -> Option<&mut SplitRequest<B, K>> {
        self.0.get_mut(usize::from(number))?.as_mut()
    }

    /// Takes the request out if nothing of it is left to send or with the device.
    pub(crate) fn take_if_over(&mut self, number: u16) -> Option<Completion<B, K>> {
        let place = self.0.get_mut(usize::from(number))?;
        let split = place.take_if(|split| split.in_flight == 0 && split.work.is_sent())?;
        Some(split.into_completion())
    }

    /// Takes the request out, aborted.
    pub(crate) fn abort(&mut self, number: u16) -> Option<Completion<B, K>> {
        let mut split = self.0.get_mut(usize::from(number))?.take()?;
        split.error.get_or_insert(IoError::Aborted);
        Some(split.into_completion())
    }

    /// The numbers that a request can have.
    pub(crate) fn numbers() -> impl Iterator<Item = u16> {
        0..ROOM as u16
    }
}
