//! The data half of the driver: requests into the ring, completions out of it.
//!
//! A queue knows nothing of registers but its own doorbell, so it can be given to another hart than the one that looks
//! after the device.

use core::fmt;
use core::mem::ManuallyDrop;

use virtio_blk_proto::SECTOR_BYTES;
use virtio_core::{Dma, DmaSegments, QueueNotifier, Transport};
use virtqueue::{ChainError, DeviceFault, Notification, QueueState, Used, VirtQueue};

use crate::bring_up::QueueParts;
use crate::part_token::{PartToken, Sent};
use crate::records::{RequestRecords, ReservedRecord};
use crate::slot_memory::SlotMemory;
use crate::work::Work;
use crate::zone_request::append_sector;
use crate::{
    Answer, Completion, DeviceControl, IoError, Limits, Operation, QueueCounters, Rejected, Request, SubmitError,
    ZoneTable,
};

/// One request queue of a block device.
///
/// * `D` rings the doorbell, `B` is the type of data buffers, `K` of tokens, which can be anything;
/// * `N` is the capacity in descriptors and in requests, a power of two.
///
/// Submitting and notifying are two steps: submit any number of requests, then call [`notify`](Self::notify) once.
///
/// Dropping a queue whose device was not reset leaks its memory and the requests still in it, because the device may
/// be using them. [`Disk::shut_down`](crate::Disk::shut_down) is how to get everything back.
pub struct RequestQueue<D, B, K, const N: usize> {
    ring: VirtQueue<PartToken, N>,
    slots: SlotMemory,
    records: ManuallyDrop<RequestRecords<B, K, N>>,
    /// The request whose later parts wait for room, or for earlier parts.
    waiting: Option<u16>,
    doorbell: D,
    limits: Limits,
    /// Device requests that have come back.
    returned: u64,
    counters: QueueCounters,
}

impl<D: QueueNotifier, B: DmaSegments, K, const N: usize> RequestQueue<D, B, K, N> {
    /// Interrupts are suppressed at first.
    pub(crate) fn new<T: Transport>(parts: QueueParts<D>, control: &DeviceControl<T>) -> Self {
        let mut queue = Self {
            ring: VirtQueue::with_memory(parts.options, parts.ring),
            slots: parts.slots,
            records: ManuallyDrop::new(RequestRecords::new()),
            waiting: None,
            doorbell: parts.doorbell,
            limits: *control.limits(),
            returned: 0,
            counters: QueueCounters::default(),
        };
        queue.suppress_interrupts();
        queue
    }

    /// The limits of the disk.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Puts new limits into force, after the device half has seen a change of the configuration.
    ///
    /// What the device has is not affected. A request of which parts are still to be sent goes on within the new
    /// limits; if it does not fit them any more, for instance because it reaches past the end of a disk that became
    /// smaller, it ends as [aborted](IoError::Aborted).
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Requests taken and not yet completed.
    pub fn in_flight(&self) -> u16 {
        self.records.len()
    }

    /// What was counted so far.
    pub fn counters(&self) -> &QueueCounters {
        &self.counters
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
    #[inline]
    pub fn submit(&mut self, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        match self.try_submit(&request) {
            Ok((record, work)) => {
                let all_sent = work.is_sent();
                let id = self.records.fill(record, request, work);
                if !all_sent {
                    self.send_rest(id);
                }
                Ok(())
            }
            Err(error) => {
                if error == SubmitError::QueueFull {
                    self.counters.queue_full += 1;
                }
                Err(Rejected { error, request })
            }
        }
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

    /// Checks a request, reserves a record for it and sends its first part.
    #[inline]
    fn try_submit(&mut self, request: &Request<B, K>) -> Result<(ReservedRecord, Work), SubmitError> {
        if let Some(fault) = self.ring.fault() {
            return Err(SubmitError::Broken(fault));
        }
        let segments = request.segments();
        let mut work = Work::plan(request.operation, segments, &self.limits)?;
        if self.waiting.is_some() {
            return Err(SubmitError::QueueFull);
        }
        let record = self.records.reserve().ok_or(SubmitError::QueueFull)?;
        let sent = work.send(record.id(), segments, &self.limits, &mut self.ring, &mut self.slots);
        sent.map_err(|error| match error {
            ChainError::QueueFull => SubmitError::QueueFull,
            ChainError::Broken(fault) => SubmitError::Broken(fault),
            // Planned against the same limits, so only a list of segments that changes its mind gets here.
            _ => SubmitError::TooScattered,
        })?;
        self.counters.device_requests += 1;
        Ok((record, work))
    }

    /// Sends parts of a request until all are sent or the queue is full.
    fn send_rest(&mut self, id: u16) {
        while let Some(record) = self.records.get_mut(id)
            && !record.work.is_sent()
        {
            if record.in_flight > 0 && record.work.waits_for_parts(&self.limits) {
                self.waiting = Some(id);
                return;
            }
            let mut work = record.work;
            let (ring, slots) = (&mut self.ring, &mut self.slots);
            let sent = if work.fits(&self.limits) {
                work.send_part(id, record.segments(), &self.limits, ring, slots)
            } else {
                Err(ChainError::TooLong)
            };
            record.work = work;
            match sent {
                Ok(()) => {
                    record.in_flight += 1;
                    self.counters.device_requests += 1;
                }
                Err(ChainError::QueueFull) if self.ring.in_flight() > 0 => {
                    self.waiting = Some(id);
                    return;
                }
                Err(_) => {
                    // The limits shrank under a request that was being sent. It ends when its parts are back.
                    record.error.get_or_insert(IoError::Aborted);
                    record.work = Work::Sent;
                }
            }
        }
        self.waiting = None;
    }

    /// Publishes the submitted requests, and rings the doorbell if the device needs a notification. Returns whether it rang.
    #[inline]
    pub fn notify(&mut self) -> bool {
        match self.ring.publish() {
            Notification::Needed { next_available } => {
                self.counters.notifies += 1;
                self.doorbell.notify(next_available);
                true
            }
            Notification::NotNeeded => false,
        }
    }

    /// Hands every finished request to `each`. Returns how many there were.
    ///
    /// This is polling: the device is not asked for interrupts. Parts of large requests that were waiting for room
    /// are sent on the way.
    ///
    /// # Errors
    ///
    /// [`DeviceFault`] if the device broke the rules of the ring, now or earlier. No request is lost: shut the device
    /// down to get them back.
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
        let mut count = 0u32;
        loop {
            count = count.wrapping_add(self.poll_each(&mut each)?);
            // What has slipped in is taken, and a device that moves its index to and fro is caught by `poll_each`.
            if !self.ring.arm_interrupts() {
                return Ok(count);
            }
        }
    }

    /// How many device requests have come back. A request that is longer than the device takes is several of them, so this tells
    /// that the device is at work on one that is not complete yet.
    pub fn returned(&self) -> u64 {
        self.returned
    }

    /// Asks the device not to interrupt, as for a driver that polls. A hint, nothing more.
    pub fn suppress_interrupts(&mut self) {
        self.ring.suppress_interrupts();
    }

    fn poll_each(&mut self, each: &mut impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        let mut count = self.take_used(each)?;
        if let Some(id) = self.waiting {
            self.send_rest(id);
            self.notify();
            // Only a request that could not be sent any further is over without a part coming back.
            if let Some(completion) = self.finish_if_over(id, Answer::Done) {
                count = count.wrapping_add(1);
                each(completion);
            }
        }
        Ok(count)
    }

    /// Takes used requests back, and sends no new ones.
    fn take_used(&mut self, each: &mut impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        let mut count = 0u32;
        // The ring keeps answering a fault; it happened once.
        while let Some(used) = self.ring.pop_used().inspect_err(|_| self.counters.faults = 1)? {
            if let Some(completion) = self.part_done(used) {
                count = count.wrapping_add(1);
                each(completion);
            }
        }
        Ok(count)
    }

    /// Notes one part; the completion if it was the last one of its request.
    #[inline]
    fn part_done(&mut self, used: Used<PartToken>) -> Option<Completion<B, K>> {
        self.returned += 1;
        let PartToken { record: id, sent } = used.token;
        let mut outcome = self.slots.status(used.slot).check().map_err(IoError::Device);
        self.note_length(&used, outcome.is_ok());
        let record = self.records.get_mut(id)?;
        record.in_flight -= 1;
        // Of a request that failed, the answer is not looked at.
        let answer = match record.operation {
            Operation::Identify => Answer::Id(self.slots.id(used.slot)),
            Operation::Lifetime => Answer::Lifetime(self.slots.lifetime(used.slot)),
            Operation::Append(_) if !crate::ZONED => Answer::Done,
            Operation::Append(zone) => {
                let place = append_sector(zone, sent.sectors, used.slot, &self.slots, &self.limits);
                outcome = outcome.and(place.map(drop));
                Answer::Appended(place.unwrap_or_default())
            }
            Operation::Read(_)
            | Operation::Write(_)
            | Operation::Flush
            | Operation::Discard(_)
            | Operation::WriteZeroes { .. }
            | Operation::SecureErase(_)
            | Operation::ReportZones(_)
            | Operation::OpenZone(_)
            | Operation::CloseZone(_)
            | Operation::FinishZone(_)
            | Operation::ResetZone(_)
            | Operation::ResetAllZones => Answer::Done,
        };
        match outcome {
            // A device can claim to have more than 2^64 bytes, and a range request can be as large.
            Ok(()) => record.bytes = record.bytes.wrapping_add(u64::from(sent.sectors) * SECTOR_BYTES),
            Err(error) => {
                record.error.get_or_insert(error);
                // The rest of the request is not sent any more.
                record.work = Work::Sent;
            }
        }
        self.finish_if_over(id, answer)
    }

    /// Takes a request out of the table if nothing of it is left to send or with the device.
    #[inline]
    fn finish_if_over(&mut self, id: u16, answer: Answer) -> Option<Completion<B, K>> {
        let record = self.records.get_mut(id)?;
        if record.in_flight > 0 || !record.work.is_sent() {
            return None;
        }
        if self.waiting == Some(id) {
            self.waiting = None;
        }
        let completion = self.records.remove(id, answer)?;
        self.counters.completed(
            completion.operation.kind(),
            completion.bytes,
            completion.result.is_err(),
        );
        Some(completion)
    }

    /// Counts a used length that is not the right one, and does nothing else about it.
    ///
    /// The verdict is the status byte, which was preset to a value that no device writes. kvmtool, bhyve, libvmm, semu and
    /// others report 0, 1 or the data alone for requests that they have carried out, so a length that is too short says
    /// nothing about the data, although `RING-D-17` and `RING-D-18` would have it so. On failure a device may report
    /// any length within the buffer (`RING-N-09`).
    #[inline]
    fn note_length(&mut self, used: &Used<PartToken>, done: bool) {
        let answer = used.token.sent.answer;
        // Room for the status was made beside every answer, so this cannot overflow.
        let right = answer.saturating_add(1);
        let is_odd = |written| written != right && answer != Sent::ANY_LENGTH;
        let odd = used.clipped || done && used.written.is_some_and(is_odd);
        self.counters.odd_lengths += u64::from(odd);
    }

    /// Takes the queue apart after the device was reset: every request that was still in it goes to `each`, and the memory
    /// back to `dma`, where it came from.
    ///
    /// First come those that the device had finished and no poll had taken yet, with their own results, checked like any
    /// completion. The others follow as aborted, in the order in which they were submitted, so that a caller who submits
    /// them [again](Completion::into_request) as they come keeps the order. A transfer of which parts had not been sent is
    /// aborted, also if all parts that had been sent were done.
    ///
    /// For a queue that was [separated](crate::Disk::into_parts) from its device;
    /// [`Disk::shut_down`](crate::Disk::shut_down) does all of it in one safe step.
    ///
    /// # Safety
    ///
    /// The device this queue was started on has [finished a reset](crate::DeviceControl::reset) since.
    pub unsafe fn abort(mut self, dma: &mut impl Dma, mut each: impl FnMut(Completion<B, K>)) -> QueueCounters {
        // After a lie nothing more of the ring is believed; it has been counted, and the rest is aborted.
        let _ = self.take_used(&mut each);
        let mut counters = self.counters;
        self.records.abort_all(|completion| {
            counters.completed(completion.operation.kind(), completion.bytes, true);
            each(completion);
        });
        // The tokens only name the records that have just been returned.
        dma.release(self.ring.into_region(|_| {}));
        dma.release(self.slots.into_region());
        counters
    }
}

impl<D, B, K, const N: usize> fmt::Debug for RequestQueue<D, B, K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestQueue")
            .field("in_flight", &self.records.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
