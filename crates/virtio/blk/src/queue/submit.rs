//! Requests into the ring.

use virtio_blk_proto::SECTOR_BYTES;
#[cfg(feature = "queues")]
use virtio_core::Segment;
use virtio_core::{DmaSegments, QueueNotifier};
use virtqueue::{ChainError, Data, Shape, VirtQueue};

#[cfg(feature = "queues")]
use crate::Operation;
use crate::chain_token::{ChainToken, Part};
use crate::class::HeaderMarks;
use crate::slot_memory::SlotMemory;
use crate::split_requests::SplitRequest;
use crate::transfer::Transfer;
use crate::work::Work;
use crate::{BatchStopped, Class, IoError, Limits, Rejected, Request, RequestQueue, SubmitError, ZoneTable};

/// Header, one segment that the device reads, and the status.
const WRITE: Shape = Shape::with_readable(1, 1).expect("1 is a number for a shape");
/// Header, one segment that the device fills, and the status.
const READ: Shape = Shape::with_writable(2, 1).expect("2 is a number for a shape");

/// The device is notified of a batch after so many requests of it.
const FIRST_OF_BATCH: u32 = 8;
/// After those, so many more requests of a batch are shown to the device at a time.
const NEXT_OF_BATCH: u32 = 32;

impl<D: QueueNotifier, B: DmaSegments, K, const N: usize> RequestQueue<D, B, K, N> {
    /// Takes a request. The device learns of it with the next [`notify`](Self::notify).
    ///
    /// A transfer that is larger than the device takes at once is split; it still completes as one. Everything is
    /// checked before anything reaches the ring.
    ///
    /// # Errors
    ///
    /// [`Rejected`] says why and returns the request. [`SubmitError::QueueFull`] is no failure: try again after a
    /// completion.
    // Always inlined: then the request goes from where it is made to its slot without lying in between, and what depends on its
    // operation is not there.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub fn submit(&mut self, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        if !crate::FRAMES {
            return self.submit_planned(request);
        }
        // Most requests are like one before: of the same direction, in one piece.
        if let Some((transfer, first)) = Transfer::of(request.operation)
            && let &[segment] = request.segments()
            && let Some(frame) = self.ring.frame(shape_of(transfer), segment, self.plain.most(transfer))
            && self.plain.allow_at(first, segment.len)
        {
            let slot = frame.slot();
            frame.submit(ChainToken::whole(request, segment.len / SECTOR_BYTES as u32));
            self.slots.restart(slot, first);
            return Ok(());
        }
        // Made anew, so that the one above need not lie in memory.
        self.submit_written(Request {
            operation: request.operation,
            buffer: request.buffer,
            token: request.token,
        })
    }

    /// Takes all of `requests`, one after the other, and notifies the device. Returns how many there were.
    ///
    /// The device learns of the first eight at once, and of the others 32 at a time. So it starts while the rest of the
    /// batch is being written. A device that is told of everything at the end goes to sleep meanwhile, and waking it can take longer
    /// than writing the whole batch. Once it is at work, it asks for no notification, so all further ones of the batch are mostly
    /// left out. A batch of up to eight requests is published once.
    ///
    /// Requests [submitted](Self::submit) before are published with the first of these.
    ///
    /// # Errors
    ///
    /// [`BatchStopped`] at the first request that is not taken. The requests before it are with the device, which is notified of them. The rest of
    /// `requests` was not asked for: give the iterator as `&mut` to go on with it, for instance after a completion.
    pub fn submit_all(&mut self, requests: impl IntoIterator<Item = Request<B, K>>) -> Result<u32, BatchStopped<B, K>> {
        let mut taken = 0;
        let mut pause = FIRST_OF_BATCH;
        for request in requests {
            if let Err(rejected) = self.submit(request) {
                self.notify();
                return Err(BatchStopped { taken, rejected });
            }
            taken += 1;
            if taken == pause {
                self.notify();
                pause += NEXT_OF_BATCH;
            }
        }
        self.notify();
        Ok(taken)
    }

    /// [`submit`](Self::submit) of a request in several pieces, or whose chain is not there yet.
    #[inline(never)]
    fn submit_written(&mut self, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        let segments = request.segments();
        let Some((transfer, first)) = Transfer::of(request.operation) else {
            return self.submit_planned(request);
        };
        let (shape, most) = (shape_of(transfer), self.plain.most(transfer));
        if segments.len() > usize::from(self.plain.segments) {
            return self.submit_planned(request);
        }
        if let Some(frame) = self.ring.list_frame(shape, segments, most)
            && self.plain.allow_together(first, frame.bytes())
        {
            let (slot, sectors) = (frame.slot(), frame.bytes() / SECTOR_BYTES as u32);
            frame.submit(ChainToken::whole(request, sectors));
            self.slots.restart(slot, first);
            return Ok(());
        }
        let Some(data) = Data::new(segments, most).filter(|data| self.plain.allow_together(first, data.bytes())) else {
            return self.submit_planned(request);
        };
        let header = transfer.header(first);
        let ends = |slot| [self.slots.start(slot, header), self.slots.status_segment(slot)];
        let sectors = data.bytes() / SECTOR_BYTES as u32;
        match self.ring.write_framed(shape, data, ends) {
            Ok(framed) => {
                framed.submit(ChainToken::whole(request, sectors));
                Ok(())
            }
            Err(error) => self.reject(submit_error(error), request),
        }
    }

    /// [`submit`](Self::submit) of any request.
    #[inline(never)]
    fn submit_planned(&mut self, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        let segments = request.segments();
        let planned = match self.plan(&request) {
            Err(_) if self.refresh_limits() => self.plan(&request),
            planned => planned,
        };
        let work = match planned {
            Ok(work) => work,
            Err(error) => return self.reject(error, request),
        };
        let mut chain = match self.ring.chain_of(work.chain_segments()) {
            Ok(chain) => chain,
            Err(error) => return self.reject(submit_error(error), request),
        };
        let (sectors, rest) = match work.put(&mut chain, segments, &self.limits, &mut self.slots) {
            Ok(put) => put,
            Err(error) => return self.reject(submit_error(error), request),
        };
        if !crate::SPLIT || rest.is_sent() {
            // Of a chain with a header, none is refused.
            let _ = chain.submit(ChainToken::whole(request, sectors));
            return Ok(());
        }
        let Some((number, place)) = self.splits.vacant() else {
            return self.reject(SubmitError::QueueFull, request);
        };
        *place = Some(SplitRequest::new(request, rest, self.slots.marks()));
        let _ = chain.submit(ChainToken::Part(Part::new(number, sectors)));
        self.send_rest(number);
        Ok(())
    }

    /// Whether a request could be taken, if there were room.
    #[cfg(feature = "queues")]
    pub(crate) fn check(&mut self, operation: Operation, segments: &[Segment]) -> Result<(), SubmitError> {
        if let Some(fault) = self.ring.fault() {
            return Err(SubmitError::Broken(fault));
        }
        if self.is_stopped() {
            return Err(SubmitError::Stopped);
        }
        let plan = |queue: &Self| Work::plan(operation, segments, &queue.limits).map(|_| ());
        match plan(self) {
            Err(_) if self.refresh_limits() => plan(self),
            planned => planned,
        }
    }

    /// What is to be done for a request, if it can be taken.
    fn plan(&self, request: &Request<B, K>) -> Result<Work, SubmitError> {
        if let Some(fault) = self.ring.fault() {
            return Err(SubmitError::Broken(fault));
        }
        if self.is_stopped() {
            return Err(SubmitError::Stopped);
        }
        let work = Work::plan(request.operation, request.segments(), &self.limits)?;
        if crate::SPLIT && self.waiting.is_some() {
            return Err(SubmitError::QueueFull);
        }
        Ok(work)
    }

    #[cold]
    fn reject(&mut self, error: SubmitError, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        self.counters.queue_full += u64::from(error == SubmitError::QueueFull);
        Err(Rejected { error, request })
    }

    /// What the header of a request of that class says besides.
    fn marks(&self, class: Class) -> HeaderMarks {
        HeaderMarks::of(class, self.identity.options.layout)
    }

    /// [`submit`](Self::submit) of a request of that class. A plain `submit` is for the foreground.
    ///
    /// Only a legacy device is told the class, by a driver with the feature `queues`, and most ignore it:
    /// [`ScheduledQueue`](crate::ScheduledQueue) treats classes differently on any device.
    ///
    /// # Errors
    ///
    /// Those of [`submit`](Self::submit).
    pub fn submit_as(&mut self, class: Class, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        let marks = self.marks(class);
        if marks == self.slots.marks() {
            self.submit(request)
        } else {
            self.submit_marked(marks, request)
        }
    }

    /// [`submit`](Self::submit) of a request that is a barrier: the device completes all requests of this queue ahead of it first,
    /// and starts those after it only when it is over (`LEG-N-18`). It makes nothing durable; that takes a flush.
    ///
    /// Only a legacy device with BARRIER can do it ([`Limits::barrier`]). On any other one, wait until nothing is in flight, submit
    /// the request alone, and wait for it.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Unsupported`] on a device without BARRIER; else those of [`submit`](Self::submit).
    pub fn submit_barrier(&mut self, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        if !self.limits.barrier {
            return self.reject(SubmitError::Unsupported, request);
        }
        self.submit_marked(self.slots.marks().barrier(), request)
    }

    /// [`submit`](Self::submit) of a request whose headers have other marks. Its chain is written and not used again.
    fn submit_marked(&mut self, marks: HeaderMarks, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        let before = self.slots.set_marks(marks);
        let answer = self.submit_planned(request);
        self.slots.set_marks(before);
        answer
    }

    /// [`submit`](Self::submit) of a request that is right for its zones, as far as `zones` knows them. Show the table every
    /// completion of such a request.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Zone`] if it breaks a rule for zones; else as [`submit`](Self::submit).
    pub fn submit_to_zones(&mut self, zones: &mut ZoneTable<'_>, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        if let Err(error) = zones.check(&request) {
            return Err(Rejected {
                error: error.into(),
                request,
            });
        }
        let (operation, bytes) = (request.operation(), request.data_bytes());
        self.submit(request)?;
        zones.submitted(operation, bytes);
        Ok(())
    }

    /// Sends parts of a request until all are sent or the queue is full.
    #[cold]
    #[inline(never)]
    pub(super) fn send_rest(&mut self, number: u16) {
        let waits = self.send_parts(number);
        self.set_waiting(waits.then_some(number));
    }

    /// Does that. Returns whether there are more to send.
    fn send_parts(&mut self, number: u16) -> bool {
        let Self {
            ring,
            slots,
            splits,
            limits,
            ..
        } = self;
        let Some(split) = splits.get_mut(number) else {
            return false;
        };
        while !split.work.is_sent() {
            if split.in_flight > 0 && split.work.waits_for_parts(limits) {
                return true;
            }
            match send_part(number, split, limits, ring, slots) {
                Ok(rest) => {
                    split.work = rest;
                    split.in_flight += 1;
                }
                Err(ChainError::QueueFull) if ring.in_flight() > 0 => return true,
                Err(_) => {
                    // The limits shrank under a request that was being sent. It ends when its parts are back.
                    split.error.get_or_insert(IoError::Aborted);
                    split.work = Work::Sent;
                }
            }
        }
        false
    }
}

/// The shape of the chain of a transfer.
#[inline]
const fn shape_of(transfer: Transfer) -> Shape {
    match transfer {
        Transfer::Read => READ,
        Transfer::Write => WRITE,
    }
}

/// Sends the next part of a request. Answers what is left after it.
fn send_part<B: DmaSegments, K, const N: usize>(
    number: u16,
    split: &SplitRequest<B, K>,
    limits: &Limits,
    ring: &mut VirtQueue<ChainToken<B, K>, N>,
    slots: &mut SlotMemory,
) -> Result<Work, ChainError> {
    let (work, segments) = (split.work, split.segments());
    if !work.fits(limits) {
        return Err(ChainError::TooLong);
    }
    let mut chain = ring.chain_of(work.chain_segments())?;
    let marks = slots.set_marks(split.marks);
    let put = work.put(&mut chain, segments, limits, slots);
    slots.set_marks(marks);
    let (sectors, rest) = put?;
    let token = ChainToken::Part(Part::new(number, sectors));
    chain.submit(token).map_err(|(error, _)| error)?;
    Ok(rest)
}

/// Why a request was not taken, if its chain was not.
fn submit_error(error: ChainError) -> SubmitError {
    match error {
        ChainError::QueueFull => SubmitError::QueueFull,
        ChainError::Broken(fault) => SubmitError::Broken(fault),
        ChainError::TooLong => SubmitError::BadSegment,
        // Planned against the same limits, so only a list of segments that changes its mind gets here.
        _ => SubmitError::TooScattered,
    }
}
