//! Transfers that follow each other on the disk, as one request.

use virtio_blk_proto::{SECTOR_BYTES, Sector};
use virtio_core::{DeviceAddr, DmaSegments, Segment};

use crate::transfer::Transfer;
use crate::{Class, Completion, IoError, Limits, Operation, Request};

/// A transfer among others.
#[derive(Debug)]
struct Member<B, K> {
    buffer: B,
    token: K,
}

/// The buffers of up to `M` transfers that follow each other on the disk. Only a [`ScheduledQueue`](crate::ScheduledQueue) makes
/// one, and takes it apart before anything of it is given back.
#[derive(Debug)]
pub struct Joined<B, K, const M: usize> {
    /// The first transfer is there in any case; all have the same direction.
    first: Member<B, K>,
    others: [Option<Member<B, K>>; M],
    count: usize,
    /// The segment of each transfer, if there are several. Each has one then.
    segments: [Segment; M],
}

// SAFETY: the driver owns the buffers from the submission to `ScheduledQueue` on, and they have answered with their segments since
// then. What is strung together here is not seen by other code before it is taken apart.
unsafe impl<B: DmaSegments, K, const M: usize> DmaSegments for Joined<B, K, M> {
    fn segments(&self) -> &[Segment] {
        match self.count {
            1 => self.first.buffer.segments(),
            count => self.segments.get(..count).unwrap_or(&[]),
        }
    }
}

/// What the queue below keeps with a request.
#[derive(Debug)]
pub struct Tag<K> {
    pub(crate) class: Class,
    /// The token, unless it is with the buffer.
    pub(crate) token: Option<K>,
}

impl<B: DmaSegments, K, const M: usize> Joined<B, K, M> {
    fn new(buffer: B, token: K) -> Self {
        let mut segments = [Segment::new(DeviceAddr(0), 0); M];
        if let (Some(place), &[segment]) = (segments.first_mut(), buffer.segments()) {
            *place = segment;
        }
        Self {
            first: Member { buffer, token },
            others: [const { None }; M],
            count: 1,
            segments,
        }
    }

    /// How many transfers there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

/// A request on its way to the queue, which others may join.
pub(crate) struct Run<B, K, const M: usize> {
    request: Request<Joined<B, K, M>, Tag<K>>,
    /// The end of the transfer; none for what cannot be joined.
    end: Option<(Transfer, Sector)>,
}

impl<B: DmaSegments, K, const M: usize> Run<B, K, M> {
    /// A run of one. Others can join if it is a transfer of one segment, and `may_join`.
    pub(crate) fn new(class: Class, request: Request<B, K>, may_join: bool) -> Self {
        let end = match (Transfer::of(request.operation), request.segments()) {
            (Some((transfer, first)), &[segment]) if may_join => first
                .checked_add(u64::from(segment.len) / SECTOR_BYTES)
                .map(|end| (transfer, end)),
            _ => None,
        };
        let Request {
            operation,
            buffer,
            token,
        } = request;
        let (buffer, token) = match buffer {
            Some(buffer) => (Some(Joined::new(buffer, token)), None),
            None => (None, Some(token)),
        };
        Self {
            request: Request {
                operation,
                buffer,
                token: Tag { class, token },
            },
            end,
        }
    }

    /// Whether `next` can go with it as one device request.
    pub(crate) fn can_take(&self, next: &Request<B, K>, limits: &Limits) -> bool {
        let (Some((transfer, end)), Some(joined)) = (self.end, &self.request.buffer) else {
            return false;
        };
        let &[segment] = next.segments() else {
            return false;
        };
        let bytes = joined.total_bytes() + u64::from(segment.len);
        Transfer::of(next.operation) == Some((transfer, end))
            && joined.count < M.min(usize::from(limits.max_segments))
            && segment.len <= limits.max_segment_bytes
            && limits.zones().is_none()
            && bytes <= u64::from(limits.max_request_bytes)
    }

    /// Adds `next`, which [can be taken](Self::can_take).
    pub(crate) fn take(&mut self, next: Request<B, K>) {
        let (Some((_, end)), Some(joined), Some(buffer)) = (&mut self.end, &mut self.request.buffer, next.buffer)
        else {
            return;
        };
        let (Some(&segment), Some(place), Some(own)) = (
            buffer.segments().first(),
            joined.others.get_mut(joined.count),
            joined.segments.get_mut(joined.count),
        ) else {
            return;
        };
        *end = Sector(end.get().saturating_add(u64::from(segment.len) / SECTOR_BYTES));
        *own = segment;
        *place = Some(Member {
            buffer,
            token: next.token,
        });
        joined.count += 1;
    }

    pub(crate) fn into_request(self) -> Request<Joined<B, K, M>, Tag<K>> {
        self.request
    }
}

/// The requests of a run one by one, in the order in which they were joined.
pub(crate) fn take_apart<B: DmaSegments, K, const M: usize>(
    operation: Operation,
    buffer: Option<Joined<B, K, M>>,
    tag: Tag<K>,
    mut each: impl FnMut(Request<B, K>),
) {
    let Some(joined) = buffer else {
        if let Some(token) = tag.token {
            each(Request {
                operation,
                buffer: None,
                token,
            });
        }
        return;
    };
    let mut operation = operation;
    for Member { buffer, token } in core::iter::once(joined.first).chain(joined.others.into_iter().flatten()) {
        let sectors = buffer.total_bytes() / SECTOR_BYTES;
        each(Request {
            operation,
            buffer: Some(buffer),
            token,
        });
        operation = match operation {
            Operation::Read(first) => Operation::Read(Sector(first.get().saturating_add(sectors))),
            Operation::Write(first) => Operation::Write(Sector(first.get().saturating_add(sectors))),
            other => other,
        };
    }
}

/// Hands the completions of a run over. If the run failed, each of several requests is aborted: the error is that of one of them, and
/// none was tried alone.
pub(crate) fn complete<B: DmaSegments, K, const M: usize>(
    completion: Completion<Joined<B, K, M>, Tag<K>>,
    each: &mut impl FnMut(Completion<B, K>),
) {
    let Completion {
        operation,
        buffer,
        token,
        bytes,
        result,
    } = completion;
    let is_alone = buffer.as_ref().is_none_or(|joined| joined.count() == 1);
    take_apart(operation, buffer, token, |request| {
        let bytes = match result {
            _ if is_alone => bytes,
            Ok(_) => request.data_bytes(),
            Err(_) => 0,
        };
        let result = result.map_err(|error| if is_alone { error } else { IoError::Aborted });
        each(request.complete(bytes, result));
    });
}
