//! Transfers of memory of the caller through bounce buffers, several of them in flight.

use core::future::poll_fn;
use core::ops::Range;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};

use heapless::Vec;
use maitake_sync::mutex::Lock;
use mutex::ScopedRawMutex;
use virtio_blk::Request;
use virtio_blk::proto::SECTOR_BYTES;
use virtio_bounce::{BounceBlock, BounceOr, Span, Spans};
use virtio_core::{DmaSegments, Transport};

use crate::slots::{Access, Done, SlotId, SlotRequest};
use crate::state::State;
use crate::turn::{Slot, Turn};
use crate::wake::Registration;
use crate::{AsyncDisk, Error, Sector};

/// The memory of a transfer, and its direction.
pub(crate) enum Memory<'m> {
    Read(&'m mut [u8]),
    Write(&'m [u8]),
}

impl Memory<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Read(memory) => memory.len(),
            Self::Write(memory) => memory.len(),
        }
    }

    fn is_write(&self) -> bool {
        matches!(self, Self::Write(_))
    }

    /// The request of one span. Its data is copied into `block` if it is for the disk; it is whole then.
    fn fill(&self, span: &Span, block: &mut BounceBlock) {
        if let Self::Write(memory) = self {
            block[span.wanted.clone()].copy_from_slice(&memory[span.place.clone()]);
        }
    }

    fn request<B: DmaSegments>(&self, first: Sector, block: BounceBlock, slot: SlotId) -> SlotRequest<B> {
        match self {
            Self::Read(_) => Request::read(first, BounceOr::Bounce(block), slot),
            Self::Write(_) => Request::write(first, BounceOr::Bounce(block), slot),
        }
    }

    /// Copies what the device has read to its place.
    fn take_read(&mut self, part: &Part, block: &BounceBlock) {
        if let Self::Read(memory) = self {
            let in_block = part.skip..part.skip + part.bytes.len();
            memory[part.bytes.clone()].copy_from_slice(&block[in_block]);
        }
    }
}

/// Which bytes of a bounce buffer go where.
struct Part {
    /// In the bounce buffer, from here on.
    skip: usize,
    /// In the memory of the caller.
    bytes: Range<usize>,
}

/// A transfer on its way.
struct Transfer<'d, 'm, M, T, const N: usize, const BLOCKS: usize, B>
where
    M: ScopedRawMutex,
    T: Transport,
    B: DmaSegments,
{
    disk: &'d AsyncDisk<M, T, N, BLOCKS, B>,
    memory: Memory<'m>,
    /// The next span to send.
    next: Option<Span>,
    spans: Spans,
    /// What is with the device. Each has a bounce buffer.
    in_flight: Vec<(Slot<'d, M, T, N, BLOCKS, B>, Part), BLOCKS>,
    /// What the ring had no room for. The transfer stays at the head of the line as long as this is there.
    prepared: Option<(Slot<'d, M, T, N, BLOCKS, B>, Part)>,
    turn: Option<Turn<'d, M, T, N, BLOCKS, B>>,
    outcome: Result<(), Error>,
}

impl<M: ScopedRawMutex, T: Transport, const N: usize, const BLOCKS: usize, B: DmaSegments>
    AsyncDisk<M, T, N, BLOCKS, B>
{
    /// Transfers `spans`. Those of a write are whole blocks.
    pub(crate) async fn transfer(&self, mut spans: Spans, memory: Memory<'_>) -> Result<(), Error> {
        let mut transfer = Transfer {
            disk: self,
            memory,
            next: spans.next(),
            spans,
            in_flight: Vec::new(),
            prepared: None,
            turn: None,
            outcome: Ok(()),
        };
        let mut place = pin!(None);
        poll_fn(|context| transfer.poll(place.as_mut(), context)).await
    }
}

impl<'d, M: ScopedRawMutex, T: Transport, const N: usize, const BLOCKS: usize, B: DmaSegments>
    Transfer<'d, '_, M, T, N, BLOCKS, B>
{
    /// Takes what is done, and sends as much as there is room for. `place` is the place in the line.
    ///
    /// In its turn a transfer waits until there is room for one request, and sends as many as there is room for. Then it goes to the end of
    /// the line. So a large transfer and small ones share the disk.
    fn poll(
        &mut self,
        mut place: Pin<&mut Option<Lock<'d, (), M>>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        loop {
            if let Err(error) = self.take_done(context) {
                return Poll::Ready(self.outcome.and(Err(error)));
            }
            if self.outcome.is_err() {
                // The rest is not sent. What is in flight is waited for.
                self.turn = None;
                self.prepared = None;
                self.next = None;
                place.set(None);
            }
            // What was sent is looked at, so that its completion wakes the task.
            if !self.send_in_turn(place.as_mut(), context) {
                break;
            }
        }
        if self.next.is_none() && self.prepared.is_none() && self.in_flight.is_empty() {
            Poll::Ready(self.outcome)
        } else {
            Poll::Pending
        }
    }

    /// Waits for its turn and sends as much as there is room for. Returns whether anything has happened.
    fn send_in_turn(&mut self, mut place: Pin<&mut Option<Lock<'d, (), M>>>, context: &mut Context<'_>) -> bool {
        if self.next.is_none() && self.prepared.is_none() {
            return false;
        }
        if self.turn.is_none() {
            if place.is_none() {
                place.set(Some(self.disk.line.lock()));
            }
            match place.as_mut().as_pin_mut().map(|lock| lock.poll(context)) {
                Some(Poll::Ready(guard)) => self.turn = Some(Turn::new(self.disk, guard)),
                Some(Poll::Pending) | None => return false,
            }
            place.set(None);
        }
        match self.send(context) {
            Poll::Pending => false,
            Poll::Ready(sent) => {
                self.outcome = sent;
                self.turn = None;
                true
            }
        }
    }

    /// Takes what the device is done with.
    ///
    /// # Errors
    ///
    /// The device answers nothing any more.
    fn take_done(&mut self, context: &Context<'_>) -> Result<(), Error> {
        let mut task = Registration::new(context.waker());
        let mut at = 0;
        while let Some((slot, _)) = self.in_flight.get(at) {
            match slot.poll_done(&mut task) {
                Poll::Pending => at += 1,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(Done { buffer, result })) => {
                    // It is there.
                    let (slot, part) = self.in_flight.swap_remove(at);
                    match (&buffer, result) {
                        (Some(BounceOr::Bounce(block)), Ok(())) => self.memory.take_read(&part, block),
                        (_, Err(error)) if self.outcome.is_ok() => self.outcome = Err(error.into()),
                        _ => {}
                    }
                    slot.finish(buffer);
                }
            }
        }
        Ok(())
    }

    /// Sends as much as there is room for, at the head of the line. Pending if that is nothing, or if a request waits for the ring.
    fn send(&mut self, context: &Context<'_>) -> Poll<Result<(), Error>> {
        let mut task = Registration::new(context.waker());
        let mut has_sent = false;
        let sent = loop {
            match self.send_one(&mut task) {
                Poll::Ready(Ok(true)) => has_sent = true,
                Poll::Ready(Ok(false)) => break Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending if has_sent && self.prepared.is_none() => break Poll::Ready(Ok(())),
                Poll::Pending => break Poll::Pending,
            }
        };
        if has_sent {
            self.disk.with(State::notify);
        }
        sent
    }

    /// Sends one request. Returns whether there was one to send.
    fn send_one(&mut self, task: &mut Registration<'_>) -> Poll<Result<bool, Error>> {
        let Some(turn) = &mut self.turn else {
            return Poll::Pending;
        };
        let (slot, part) = match (self.prepared.take(), &self.next) {
            (Some(prepared), _) => prepared,
            (None, None) => return Poll::Ready(Ok(false)),
            (None, Some(span)) => {
                let first = Sector(span.start / SECTOR_BYTES);
                let access = Access::of(first, span.bytes as u64, self.memory.is_write());
                let (slot, block) = ready!(turn.poll_room(&access, true, task))?;
                let Some(mut block) = block else {
                    return Poll::Ready(Err(Error::NoBounceBuffer));
                };
                // A span is not longer than a block.
                let _ = block.set_len(span.bytes);
                self.memory.fill(span, &mut block);
                slot.prepare(access, |slot| self.memory.request(first, block, slot));
                let part = Part {
                    skip: span.wanted.start,
                    bytes: span.place.clone(),
                };
                self.next = self.spans.next();
                (slot, part)
            }
        };
        match turn.poll_submit(&slot, task) {
            Poll::Pending => {
                self.prepared = Some((slot, part));
                Poll::Pending
            }
            Poll::Ready(Err(refusal)) => {
                slot.finish(refusal.buffer);
                Poll::Ready(Err(refusal.error))
            }
            Poll::Ready(Ok(())) => {
                // There is room for as many as there are bounce buffers.
                let _ = self.in_flight.push((slot, part));
                Poll::Ready(Ok(true))
            }
        }
    }
}
