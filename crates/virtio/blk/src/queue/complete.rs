//! Completions out of the ring.

use virtio_blk_proto::Status;
use virtio_core::{DmaSegments, QueueNotifier};
use virtqueue::{DeviceFault, Found, Used, UsedChain};

use crate::chain_token::ChainToken;
use crate::counters::Tally;
use crate::work::Work;
use crate::zone_request::append_sector;
use crate::{Answer, Completion, IoError, Operation, RequestQueue};
impl<D: QueueNotifier, B: DmaSegments, K, const N: usize> RequestQueue<D, B, K, N> {
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
    pub(super) fn take_each(&mut self, each: &mut impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
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

/// Whether a chain is all of a transfer, and the device says that it went well.
#[inline]
fn is_good_transfer<B, K>(status: &Status, token: &ChainToken<B, K>) -> bool {
    token.transfer().is_some() && *status == Status::OK
}
