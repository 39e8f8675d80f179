//! Flushes: in the background, for a barrier, for a forced write; and what clients are told when one fails.

use crate::log_line;
use minix_abi::disk_control::{Event, EventKind, ResetReason};
use minix_abi::minor::Minor;
use minix_abi::{Errno, Instant, Status};

use super::in_flight::Purpose;
use super::write_back::Flusher;
use crate::device::{BlockDevice, DeviceError, DeviceRequest, Refusal};
use crate::driver::BlockDriver;
use crate::kernel::Kernel;
use crate::protocol::request::Kind;

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Takes it that an earlier driver of the device may have completed writes that are not flushed yet, as one does that
    /// crashes. They are flushed in the background. It is not known whether there are any, so no close waits for that, and
    /// no client is told if it fails.
    pub fn inherit_writes(&mut self, now: Instant) {
        let info = self.device.info();
        if info.is_some_and(|disk| !disk.read_only && disk.needs_flushes()) {
            self.write_back.inherit(now);
        }
    }

    /// Whether a write that is just completed is in a volatile cache. It was one when the write was submitted, or is one
    /// now; what a device reports that is not live does not count.
    #[inline]
    pub(crate) fn is_cached(&self) -> bool {
        self.write_back.goes_to_cache() || self.device.limits().is_some_and(|limits| limits.needs_flushes)
    }

    /// Offers the device a flush.
    pub(crate) fn offer_flush(&mut self, purpose: Purpose, now: Instant) -> Result<(), Refusal> {
        self.in_flight
            .submit(&mut self.device, DeviceRequest::Flush, purpose, now)?;
        let flusher = match purpose {
            Purpose::BackgroundFlush => Flusher::Background,
            _ => Flusher::Client,
        };
        self.write_back.flush_submitted(flusher, now);
        self.counters.flushes += 1;
        self.scheduler.submitted();
        Ok(())
    }

    /// When the background flush is to be sent, if that is possible.
    pub(crate) fn flush_due(&self) -> Option<Instant> {
        let due = self.write_back.due(self.options.flush_after, self.terminating)?;
        // A barrier that is about to flush does it for all.
        let held = self
            .intake
            .running()
            .is_some_and(|running| running.task.holds_flushes());
        (!held).then_some(due)
    }

    /// Sends the background flush if it is time, and the device takes it.
    #[cold]
    #[inline(never)]
    pub(crate) fn flush_in_time(&mut self, kernel: &mut K, now: Instant) {
        let is_due = self.flush_due().is_some_and(|due| due <= now);
        if !is_due || self.scheduler.is_device_full() || !self.health.is_good() {
            return;
        }
        if self.in_flight.len() >= usize::from(self.health.pace.full_depth()) {
            self.scheduler.device_is_full();
            return;
        }
        match self.offer_flush(Purpose::BackgroundFlush, now) {
            Ok(()) => self.counters.background_flushes += 1,
            Err(Refusal::Full) if self.in_flight.len() > 0 => self.note_full(),
            Err(refusal) => {
                let breaks = matches!(refusal, Refusal::Full | Refusal::Broken);
                if !breaks {
                    self.tell_of_background(now);
                }
                self.background_failed(now);
                if breaks {
                    self.recover(kernel, now, ResetReason::TAKES_NO_FLUSH);
                    // One reset is enough for one call.
                    self.scheduler.leave_rest();
                }
            }
        }
    }

    /// The device is done with the background flush.
    #[cold]
    pub(crate) fn background_completed(&mut self, now: Instant, result: Result<(), DeviceError>) {
        self.write_back.flush_completed(Flusher::Background, result.is_ok());
        if result.is_err() {
            self.tell_of_background(now);
            self.background_failed(now);
        }
    }

    /// The device has failed the background flush. One that was lost in a reset is only tried again.
    fn tell_of_background(&mut self, now: Instant) {
        if self.write_back.has_failed() {
            // It was logged before, and nothing was written since.
            self.note_failure(None);
        } else {
            self.flush_failed(now, None);
        }
    }

    /// The background flush came to nothing, or could not be sent.
    pub(crate) fn background_failed(&mut self, now: Instant) {
        self.write_back.background_failed(now);
        self.counters.failed_flushes += 1;
    }

    /// A flush has failed: what was written before it may never be durable. Each minor that is open is told once, but for the
    /// one that asked for the flush.
    #[cold]
    pub(crate) fn flush_failed(&mut self, now: Instant, asker: Option<Minor>) {
        let waited = self.write_back.waited(now).as_millis() as u64;
        log_line!(
            Warn,
            "a flush has failed: writes of the last {waited} ms may not be durable"
        );
        self.record_failed_flush(now);
        self.note_failure(asker);
    }

    fn record_failed_flush(&mut self, now: Instant) {
        let event = Event {
            first: self.write_back.waited(now).as_millis() as u64,
            ..Event::new(EventKind::FLUSH_FAILED)
        };
        self.events.record(now, event);
    }

    /// The device is given up. If completed writes are not flushed, each minor that is open is told, as of a flush that fails.
    #[cold]
    pub(crate) fn give_up_flushes(&mut self, now: Instant) {
        if self.write_back.is_owed() {
            log_line!(Error, "completed writes that were not flushed may not be durable");
            self.record_failed_flush(now);
            self.note_failure(None);
        }
    }

    /// Each minor that is open is to be told once, but for `asker`. One whose close waits for a flush counts as open.
    fn note_failure(&mut self, asker: Option<Minor>) {
        if self.write_back.is_inherited() {
            return;
        }
        let running = self.intake.running().map(|running| &self.intake[running.job]);
        let closing = running.filter(|job| job.kind == Kind::Close);
        let closing = closing.map(|job| job.minor);
        self.partitions.flush_failed(asker, closing);
    }
}

/// The answer to a flush, or to a switch of the write cache.
pub(crate) fn flush_status(result: Result<(), DeviceError>) -> Status {
    match result {
        Ok(()) => Status::OK,
        Err(DeviceError::Io) => Errno::EIO.into(),
        Err(DeviceError::Unsupported) => Errno::EOPNOTSUPP.into(),
    }
}
