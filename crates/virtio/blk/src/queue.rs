//! The data half of the driver: requests into the ring, completions out of it.
//!
//! A queue knows nothing of registers but its own doorbell, so it can be given to another hart than the one that looks
//! after the device.

mod end;
#[cfg(feature = "queues")]
mod renewal;

use core::fmt;
use core::mem::ManuallyDrop;

use virtio_blk_proto::{SECTOR_BYTES, Status};
#[cfg(feature = "queues")]
use virtio_core::Segment;
use virtio_core::{ConfigError, DmaSegments, InterruptVector, QueueIndex, QueueNotifier};
use virtqueue::{ChainError, Data, DeviceFault, Found, Notification, QueueState, Shape, Used, UsedChain, VirtQueue};

use crate::chain_token::{ChainToken, Part};
use crate::class::HeaderMarks;
use crate::counters::Tally;
use crate::limits::PlainTransfers;
use crate::queue_parts::{QueueIdentity, QueueParts, Stage};
use crate::shared_config::News;
use crate::slot_memory::SlotMemory;
use crate::split_requests::{SplitRequest, SplitRequests};
use crate::transfer::Transfer;
use crate::work::Work;
use crate::zone_request::append_sector;
use crate::{
    Answer, BatchStopped, Class, Completion, ConfigChange, IoError, Limits, Operation, QueueCounters, Rejected,
    Request, SubmitError, ZoneTable,
};

/// Header, one segment that the device reads, and the status.
const WRITE: Shape = Shape::with_readable(1, 1).expect("1 is a number for a shape");
/// Header, one segment that the device fills, and the status.
const READ: Shape = Shape::with_writable(2, 1).expect("2 is a number for a shape");

/// The device is notified of a batch after so many requests of it.
const FIRST_OF_BATCH: u32 = 8;
/// After those, so many more requests of a batch are shown to the device at a time.
const NEXT_OF_BATCH: u32 = 32;

/// One request queue of a block device.
///
/// * `D` rings the doorbell, `B` is the type of data buffers, `K` of tokens, which can be anything;
/// * `N` is the capacity in descriptors and in requests, a power of two.
///
/// Submitting and notifying are two steps: submit any number of requests, then call [`notify`](Self::notify) once. For a long
/// batch, [`submit_all`](Self::submit_all) does both, and the device starts before the last request is there.
///
/// Dropping a queue whose device was not reset leaks its memory and the requests still in it, because the device may
/// be using them. [`Disk::shut_down`](crate::Disk::shut_down) is how to get everything back.
// In this order in memory: the table of the chains, which is long, comes last, so that the offset of a load or store reaches
// everything else.
// Aligned to cache lines, so that queues in one array share none.
#[repr(C)]
#[cfg_attr(feature = "queues", repr(align(64)))]
pub struct RequestQueue<D, B, K, const N: usize> {
    /// The request whose later parts wait for room, or for earlier parts.
    waiting: Option<u16>,
    doorbell: D,
    limits: Limits,
    plain: PlainTransfers,
    slots: SlotMemory,
    counters: QueueCounters,
    identity: QueueIdentity,
    // Not dropped, because the device may be using the buffers of the requests.
    ring: ManuallyDrop<VirtQueue<ChainToken<B, K>, N>>,
    splits: ManuallyDrop<SplitRequests<B, K>>,
}

impl<D: QueueNotifier, B: DmaSegments, K, const N: usize> RequestQueue<D, B, K, N> {
    /// Interrupts are suppressed at first.
    pub(crate) fn new(mut parts: QueueParts<D>, limits: &Limits) -> Self {
        let options = parts.identity.options;
        parts
            .slots
            .set_marks(HeaderMarks::of(Class::Foreground, options.layout));
        let mut ring = VirtQueue::with_memory(options, parts.ring);
        ring.suppress_interrupts();
        Self {
            waiting: None,
            doorbell: parts.doorbell,
            plain: PlainTransfers::new(limits),
            limits: *limits,
            slots: parts.slots,
            counters: QueueCounters::default(),
            ring: ManuallyDrop::new(ring),
            identity: parts.identity,
            splits: ManuallyDrop::new(SplitRequests::new()),
        }
    }

    /// What the header of a request of that class says besides.
    fn marks(&self, class: Class) -> HeaderMarks {
        HeaderMarks::of(class, self.identity.options.layout)
    }

    /// Which queue of the device it is.
    pub fn index(&self) -> QueueIndex {
        self.identity.index
    }

    /// The interrupt vector of the queue, if it has one.
    pub fn vector(&self) -> Option<InterruptVector> {
        self.identity.vector
    }

    /// The limits of the disk, as the queue has last seen them.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Looks whether the control half has seen a change of the configuration, and puts the new limits into force. Returns whether
    /// there were any. If the control half has seen that there is no device any more, the queue [stops](Self::device_gone). For a queue of [`DeviceControl::start`](crate::DeviceControl::start), which may be on another hart.
    ///
    /// There is no need to call this: the queue looks when it refuses a request, when a request fails, before it sends more of a
    /// transfer that waits, when a [`poll`](Self::poll) finds nothing, and in [`drain`](Self::drain). So a request is checked against old limits at most
    /// if the device would have refused it, and none is refused because of old ones. Submitting does not look, and takes no longer.
    #[cold]
    #[inline(never)]
    pub fn refresh_limits(&mut self) -> bool {
        let Some(view) = &mut self.identity.config else {
            return false;
        };
        match view.take_news() {
            None => false,
            Some(News::Config(config)) => {
                let limits = view.limits(&config, &self.limits);
                self.set_limits(limits);
                true
            }
            Some(News::Gone) => {
                self.device_gone();
                false
            }
        }
    }

    /// Whether a reset of the queue has begun after which the device has not taken it into use again.
    fn is_stopped(&self) -> bool {
        crate::QUEUES && self.identity.stage != Stage::InUse
    }

    /// Takes note of what its control half has found.
    pub(crate) fn take_config(&mut self, found: &Result<ConfigChange, ConfigError>) {
        match found {
            Ok(change) => self.set_limits(change.limits),
            Err(ConfigError::Gone) => self.device_gone(),
            // What was in force stays in force.
            Err(ConfigError::Unstable) => {}
        }
    }

    /// Puts new limits into force, after a change of the configuration.
    ///
    /// What the device has is not affected. A request of which parts are still to be sent goes on within the new
    /// limits; if it does not fit them any more, for instance because it reaches past the end of a disk that became
    /// smaller, it ends as [aborted](IoError::Aborted).
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.set_waiting(self.waiting);
    }

    /// Notes which request waits. As long as one does, no other is taken.
    fn set_waiting(&mut self, waiting: Option<u16>) {
        self.waiting = waiting;
        self.plain = match waiting {
            None if !self.is_stopped() => PlainTransfers::new(&self.limits),
            _ => PlainTransfers::NONE,
        };
    }

    /// Requests taken and not yet completed.
    pub fn in_flight(&self) -> u16 {
        let (splits, parts) = self.splits.requests_and_parts();
        self.ring.in_flight() - parts + splits
    }

    /// What was counted so far.
    pub fn counters(&self) -> QueueCounters {
        let mut counters = self.counters;
        counters.device_requests += self.ring.submitted();
        // The ring keeps answering a fault; it happened once. The end of a device breaks no rule.
        let is_lie = |fault| fault != DeviceFault::Gone;
        counters.faults += u64::from(self.ring.fault().is_some_and(is_lie));
        counters
    }

    /// The state of the ring, for a dump.
    pub fn ring_state(&self) -> QueueState {
        self.ring.state()
    }

    /// What the device did wrong, if it did; only a restart helps then.
    pub fn fault(&self) -> Option<DeviceFault> {
        self.ring.fault()
    }

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
    fn send_rest(&mut self, number: u16) {
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

    /// Publishes the submitted requests, and rings the doorbell if the device needs a notification. Returns whether it rang.
    ///
    /// A doorbell that finds no device any more does not ring. The next [`poll`](Self::poll) says so.
    #[inline]
    pub fn notify(&mut self) -> bool {
        match self.ring.publish() {
            Notification::Needed { next_available } => {
                if self.doorbell.notify(next_available).is_err() {
                    self.device_gone();
                    return false;
                }
                self.counters.notifies += 1;
                true
            }
            Notification::NotNeeded => false,
        }
    }

    /// Stops the queue, since there is no device any more. Requests that the device had finished are still handed over, no new ones
    /// are taken, and [`ResetDevice::release`](crate::ResetDevice::release) gives the others back.
    ///
    /// There is no need to call this when the control half has learned of it: the queue finds out as it does of
    /// [new limits](Self::refresh_limits).
    #[cold]
    pub fn device_gone(&mut self) {
        self.ring.device_gone();
    }

    /// Hands every finished request to `each`. Returns how many there were.
    ///
    /// This is polling: the device is not asked for interrupts. Parts of large requests that were waiting for room
    /// are sent on the way.
    ///
    /// # Errors
    ///
    /// [`DeviceFault`] if the device broke the rules of the ring, now or earlier, or is gone and all that it had finished was
    /// handed over. No request is lost: shut the device down to get them back.
    #[inline]
    pub fn poll(&mut self, mut each: impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        self.poll_each(&mut each)
    }

    /// Like [`poll`](Self::poll), and then asks the device for an interrupt at the next completion.
    ///
    /// A completion that slips in between is not lost: after asking, the ring is looked at again.
    ///
    /// # Errors
    ///
    /// Those of [`poll`](Self::poll).
    pub fn drain(&mut self, mut each: impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        // First of all, so that requests sent on the way keep to the new limits.
        self.refresh_limits();
        let mut count = 0u32;
        loop {
            count = count.wrapping_add(self.poll_each(&mut each)?);
            // What has slipped in is taken, and a device that moves its index to and fro is caught by `poll_each`.
            if !self.ring.arm_interrupts() {
                return Ok(count);
            }
        }
    }

    /// Follows up an interrupt by the [vector](Self::vector) of the queue: [drains](Self::drain) it, and counts.
    ///
    /// No register is read. An interrupt that brings nothing is counted as spurious, and harmless (`RING-D-16`).
    ///
    /// # Errors
    ///
    /// Those of [`poll`](Self::poll).
    pub fn on_interrupt(&mut self, each: impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        let returned = self.returned();
        let drained = self.drain(each);
        let is_idle = drained.is_ok() && self.returned() == returned;
        self.counters.interrupts.count(is_idle);
        drained
    }

    /// How many device requests have come back. A request that is longer than the device takes is several of them, so this tells
    /// that the device is at work on one that is not complete yet.
    pub fn returned(&self) -> u64 {
        let before = if crate::QUEUES { self.identity.returned } else { 0 };
        before + self.ring.returned()
    }

    /// Whether a [poll](Self::poll) may find or do anything; `false` is certain. A look at memory, for those who poll often.
    #[inline]
    pub fn needs_poll(&self) -> bool {
        self.ring.may_have_used() || self.waiting.is_some()
    }

    /// Asks the device not to interrupt, as for a driver that polls. A hint, nothing more.
    pub fn suppress_interrupts(&mut self) {
        self.ring.suppress_interrupts();
    }

    #[inline]
    fn poll_each(&mut self, each: &mut impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        // Mostly one transfer has gone well, or there is nothing yet. No call follows then, so nothing has to be kept over one.
        if crate::FRAMES && self.waiting.is_none() {
            match self.take_single(each) {
                Found::Taken => return Ok(1),
                Found::Nothing if self.identity.config.is_none() => return Ok(0),
                Found::Left(chain, status) => return self.take_other(chain, status, each).map(u32::from),
                Found::Nothing | Found::Others => {}
            }
        }
        self.poll_all(each)
    }

    /// Takes the only used chain, if there is one and it is a transfer gone well.
    #[inline]
    fn take_single(&mut self, each: &mut impl FnMut(Completion<B, K>)) -> Found<Status> {
        let counters = &mut self.counters;
        self.ring
            .take_single(self.slots.status_reader(), is_good_transfer, |token| {
                if let (Some(transfer), ChainToken::Whole(whole)) = (token.transfer(), token) {
                    counters.transferred(transfer, whole.sectors);
                    each(whole.complete(Ok(Answer::Done)));
                }
            })
    }

    /// [`poll`](Self::poll) of any number of requests, and of one that waits.
    #[cfg_attr(not(optimize_for_size), inline(never))]
    fn poll_all(&mut self, each: &mut impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        let count = self.take_used(each)?;
        match self.waiting.filter(|_| crate::SPLIT) {
            None => Ok(count),
            Some(number) => Ok(count.wrapping_add(u32::from(self.send_waiting(number, each)))),
        }
    }

    /// Sends more of the request that waits. Returns whether it is over, which it is only if it could not be sent any further.
    #[cold]
    #[inline(never)]
    fn send_waiting(&mut self, number: u16, each: &mut dyn FnMut(Completion<B, K>)) -> bool {
        if self.is_stopped() {
            return false;
        }
        self.refresh_limits();
        self.send_rest(number);
        self.notify();
        self.finish_split(number, each)
    }

    /// Takes used requests back, and sends no new ones.
    #[inline]
    fn take_used(&mut self, each: &mut impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        if !crate::FRAMES {
            return self.take_each(each);
        }
        let mut transfers = Tally::default();
        let others = self.take_announced(&mut transfers, each);
        self.counters.add_tally(&transfers);
        Ok(transfers.count() + others?)
    }

    /// [`take_used`](Self::take_used) in little code, for where it is not in a hurry.
    #[inline]
    fn take_each(&mut self, each: &mut impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        let mut count = 0;
        let mut take_all = || {
            if self.ring.has_used()? {
                while let Some(chain) = self.ring.next_used() {
                    let status = self.slots.status(chain.slot());
                    count += u32::from(self.take_other(chain, status, each)?);
                }
            } else if self.identity.config.is_some() {
                self.refresh_limits();
            }
            Ok(())
        };
        let taken: Result<(), DeviceFault> = take_all();
        taken.map(|()| count)
    }

    /// Takes the chains that the device is found to be done with, once it was looked at. Transfers gone well are noted in `tally`.
    /// Returns how many other requests are over.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    fn take_announced(
        &mut self,
        tally: &mut Tally,
        each: &mut impl FnMut(Completion<B, K>),
    ) -> Result<u32, DeviceFault> {
        let mut others = 0;
        if self.ring.has_used()? {
            while let Some((chain, status)) = self.take_transfers(tally, each) {
                others += u32::from(self.take_other(chain, status, each)?);
            }
        } else if self.identity.config.is_some() {
            self.refresh_limits();
        }
        Ok(others)
    }

    /// Takes those used chains that are transfers gone well. Stops at one that is something else, and returns it with its status.
    // The loop calls nothing but `each`, and that in one place, so that what it needs of the queue can stay in registers.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    fn take_transfers(
        &mut self,
        tally: &mut Tally,
        each: &mut impl FnMut(Completion<B, K>),
    ) -> Option<(UsedChain, Status)> {
        self.ring
            .take_while(self.slots.status_reader(), is_good_transfer, |token| {
                if let (Some(transfer), ChainToken::Whole(whole)) = (token.transfer(), token) {
                    tally.add(transfer, whole.sectors);
                    each(whole.complete(Ok(Answer::Done)));
                }
            })
    }

    /// Takes any used chain. Returns whether its request is over.
    #[cold]
    #[inline(never)]
    fn take_other(
        &mut self,
        chain: UsedChain,
        status: Status,
        each: &mut dyn FnMut(Completion<B, K>),
    ) -> Result<bool, DeviceFault> {
        let is_filled = self.ring.is_filled(&chain);
        let Used {
            token, slot, clipped, ..
        } = self.ring.take(chain)?;
        let outcome = status.check().map_err(IoError::Device);
        if outcome.is_err() {
            // The disk may have become smaller.
            self.refresh_limits();
        }
        let odd_length = clipped || !is_filled && outcome.is_ok();
        match token {
            ChainToken::Whole(whole) => {
                let operation = whole.operation;
                // Only the device knows how much it writes.
                let any_length = matches!(operation, Operation::ReportZones(_)) && !clipped;
                self.counters.odd_lengths += u64::from(odd_length && !any_length);
                let result = outcome.and_then(|()| self.answer(operation, slot, whole.sectors));
                self.hand_over(whole.complete(result), each);
                Ok(true)
            }
            ChainToken::Part(_) if !crate::SPLIT => Ok(false),
            ChainToken::Part(part) => {
                self.counters.odd_lengths += u64::from(odd_length);
                if let Some(split) = self.splits.get_mut(part.request()) {
                    split.in_flight -= 1;
                    match outcome {
                        // A device can claim to have more than 2^64 bytes, and a range request can be as large.
                        Ok(()) => split.bytes = split.bytes.wrapping_add(part.bytes()),
                        Err(error) => {
                            split.error.get_or_insert(error);
                            // The rest of the request is not sent any more.
                            split.work = Work::Sent;
                        }
                    }
                }
                Ok(self.finish_split(part.request(), each))
            }
        }
    }

    /// What the device has answered to a request that went well.
    fn answer(&self, operation: Operation, slot: u16, sectors: u32) -> Result<Answer, IoError> {
        match operation {
            Operation::Identify if crate::IDENTIFY => Ok(Answer::Id(self.slots.id(slot))),
            Operation::Lifetime if crate::LIFETIME => Ok(Answer::Lifetime(self.slots.lifetime(slot))),
            Operation::Append(zone) if crate::ZONED => {
                append_sector(zone, sectors, slot, &self.slots, &self.limits).map(Answer::Appended)
            }
            Operation::Append(_)
            | Operation::Identify
            | Operation::Lifetime
            | Operation::Read(_)
            | Operation::Write(_)
            | Operation::Flush
            | Operation::Discard(_)
            | Operation::WriteZeroes(_)
            | Operation::ZeroOrUnmap(_)
            | Operation::SecureErase(_)
            | Operation::ReportZones(_)
            | Operation::OpenZone(_)
            | Operation::CloseZone(_)
            | Operation::FinishZone(_)
            | Operation::ResetZone(_)
            | Operation::ResetAllZones => Ok(Answer::Done),
        }
    }

    /// Ends a split request if nothing of it is left to send or with the device. Returns whether it was so.
    fn finish_split(&mut self, number: u16, each: &mut dyn FnMut(Completion<B, K>)) -> bool {
        let Some(completion) = self.splits.take_if_over(number) else {
            return false;
        };
        if self.waiting == Some(number) {
            self.set_waiting(None);
        }
        self.hand_over(completion, each);
        true
    }

    fn hand_over(&mut self, completion: Completion<B, K>, each: &mut dyn FnMut(Completion<B, K>)) {
        let (kind, failed) = (completion.operation.kind(), completion.result.is_err());
        self.counters.completed(kind, completion.bytes, failed);
        each(completion);
    }
}

impl<D, B, K, const N: usize> fmt::Debug for RequestQueue<D, B, K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestQueue")
            .field("in_flight", &self.ring.in_flight())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Whether a chain is all of a transfer, and the device says that it went well.
#[inline]
fn is_good_transfer<B, K>(status: &Status, token: &ChainToken<B, K>) -> bool {
    token.transfer().is_some() && *status == Status::OK
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
