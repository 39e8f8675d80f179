//! Time-outs and resets: a device that is stuck or broken is reset, and its requests are submitted again.
//!
//! A transfer that was lost in a reset starts over: its client has not been answered, so the memory is still granted, and
//! doing a part of it twice changes nothing, as transfers that overlap it still wait. A request that was lost too often is answered
//! with `EIO`; when the device does not come back at all, every request is.

use crate::log_line;
use core::fmt;

use minix_abi::disk_control::{Event, EventKind, Kind, ResetReason};
use minix_abi::{Errno, Instant, Message};

use super::barrier::Task;
use super::health::DeviceState;
use super::in_flight::Purpose;
use super::job::{JobId, Stage};
use super::pace::Look;
use crate::device::{BlockDevice, Direction, RangeOperation, SECTOR_BYTES};
use crate::driver::BlockDriver;
use crate::kernel::Kernel;

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// When the device is to be looked at, since it has something to do.
    pub(crate) fn look_due(&self) -> Option<Instant> {
        let oldest = self.in_flight.oldest()?;
        Some(self.health.pace.look_due(oldest))
    }

    /// Looks at a device that has completed nothing for a while, or has lost a request, and carries recovery on.
    pub fn on_time(&mut self, kernel: &mut K, now: Instant) {
        match self.health.state() {
            DeviceState::Resetting(again) if again <= now => self.reset(kernel, now),
            DeviceState::Good if self.look_due().is_some_and(|due| due <= now) => {
                // It may be the driver that is late.
                self.collect(kernel, now, false);
                if self.health.is_good() {
                    self.look(kernel, now);
                }
            }
            _ => {}
        }
        self.settle(kernel, now);
    }

    /// Looks whether the device still works on its requests.
    fn look(&mut self, kernel: &mut K, now: Instant) {
        let Some(oldest) = self.in_flight.find_oldest() else {
            return;
        };
        let pace = &mut self.health.pace;
        match pace.look(oldest, now) {
            Look::TimedOut => {
                let late = (Instant::START, now.before(pace.timeout()));
                self.time_out(kernel, now, late, ResetReason::QUIET);
            }
            look => {
                if let Some(lost) = self.in_flight.overtaken(now, pace.overtaken()) {
                    self.time_out(kernel, now, (lost, lost), ResetReason::LOST_REQUEST);
                } else if look == Look::IsQuiet && !self.device.is_alive() {
                    self.suspect_all();
                    self.recover(kernel, now, ResetReason::NOT_ALIVE);
                }
            }
        }
    }

    /// The requests that the device was given from one time to another are late.
    #[cold]
    fn time_out(&mut self, kernel: &mut K, now: Instant, (from, to): (Instant, Instant), why: ResetReason) {
        self.counters.timeouts += 1;
        let mut count = 0_u32;
        let mut first = None;
        for (purpose, since) in self.in_flight.between(from, to) {
            count += 1;
            if count == 1 {
                let (what, replays) = self.describe(purpose);
                let (millis, attempt) = (now.since(since).as_millis() as u64, u32::from(replays) + 1);
                log_line!(Warn, "timed out: {what} after {millis} ms, attempt {attempt}");
                first = Some(what.event(EventKind::TIMED_OUT, replays.into()));
            }
        }
        if let Some(event) = first {
            self.events.record(now, event);
        }
        if count > 1 {
            let event = Event {
                count: count - 1,
                ..Event::new(EventKind::MORE_TIMED_OUT)
            };
            self.events.record(now, event);
            log_line!(Warn, "timed out: {} more requests", count - 1);
        }
        self.suspect((from, to));
        self.recover(kernel, now, why);
    }

    /// A message came that is no request.
    #[cold]
    pub(crate) fn note_refused(&mut self, now: Instant, message: &Message) {
        let event = Event {
            first: message.kind.0.cast_unsigned().into(),
            count: message.source.0.cast_unsigned(),
            ..Event::new(EventKind::REFUSED)
        };
        self.events.record(now, event);
    }

    /// An interrupt was found lost, so many times in all.
    #[cold]
    pub(crate) fn note_lost_interrupt(&mut self, now: Instant, losses: u64) {
        self.lost_interrupts = losses;
        self.events.record(now, Event::new(EventKind::INTERRUPT_LOST));
    }

    /// Interrupts come again. So many requests were found completed without.
    #[cold]
    pub(crate) fn note_interrupts_again(&mut self, now: Instant, found: u64) {
        let event = Event {
            first: found,
            ..Event::new(EventKind::INTERRUPTS_AGAIN)
        };
        self.events.record(now, event);
    }

    /// Records what the device has seen that only it can see.
    #[cold]
    pub(crate) fn take_events(&mut self, now: Instant) {
        while let Some(event) = self.device.take_event() {
            self.events.record(now, event);
        }
    }

    /// A device request, for people, and how often it was tried before.
    pub(crate) fn describe(&self, purpose: Purpose) -> (Description, u8) {
        match purpose {
            Purpose::Transfer { job, offset, bytes, .. } => {
                let transfer = &self.intake[job].transfer;
                let first = transfer.first + u64::from(offset);
                let part = Description::of(transfer.direction.into(), first, bytes.into());
                (part, transfer.replays())
            }
            Purpose::ForcedFlush { job } => (Description::FLUSH, self.intake[job].transfer.replays()),
            Purpose::BackgroundFlush => (Description::FLUSH, 0),
            Purpose::Barrier => self.intake.running().map_or((Description::FLUSH, 0), |running| {
                (Description::of_task(&running.task), running.replays())
            }),
        }
    }

    /// Notes that the device failed to complete its requests.
    pub(crate) fn suspect_all(&mut self) {
        self.suspect((Instant::START, Instant::END));
    }

    /// Notes that the device failed to complete the requests submitted in a span of time. Other requests may be submitted again
    /// without a limit. All are submitted again at the same time, so each becomes a suspect in the end.
    fn suspect(&mut self, (from, to): (Instant, Instant)) {
        for (purpose, _) in self.in_flight.between(from, to) {
            match purpose {
                Purpose::BackgroundFlush => self.write_back.suspected(),
                Purpose::Barrier => {
                    if let Some(running) = self.intake.running_mut() {
                        running.suspected();
                    }
                }
                Purpose::ForcedFlush { job } | Purpose::Transfer { job, .. } => {
                    self.intake.for_each_merged(job, |job| job.transfer.suspected());
                }
            }
        }
    }

    /// Resets the device, because of something it does (`why`). If it has completed nothing since the last reset, that is after
    /// a pause.
    #[cold]
    pub(crate) fn recover(&mut self, kernel: &mut K, now: Instant, why: ResetReason) {
        if !self.health.is_good() {
            return;
        }
        let count = self.in_flight.len();
        log_line!(
            Warn,
            "the device {}: it is reset, with {count} requests in it",
            text(why)
        );
        self.take_events(now);
        let event = Event {
            code: why.0,
            count: count as u32,
            ..Event::new(EventKind::RESET)
        };
        self.events.record(now, event);
        if self.health.wants_reset(self.is_idle(), self.options.reset_pause, now) {
            self.reset(kernel, now);
        }
    }

    fn reset(&mut self, kernel: &mut K, now: Instant) {
        let (handed_over, result) = self.in_flight.reset(&mut self.device);
        if result.is_ok() {
            self.counters.resets += 1;
        } else {
            self.counters.failed_resets += 1;
        }
        let lost = self.in_flight.len().saturating_sub(handed_over);
        self.take_events(now);
        let event = self
            .health
            .was_reset(result.is_ok(), handed_over > 0, &self.options, now);
        self.events.record(
            now,
            event.unwrap_or(Event {
                count: lost as u32,
                ..Event::new(EventKind::RESET_WORKED)
            }),
        );
        // Its earlier completions are handled like those of a poll.
        self.take_completed_before_reset(kernel, now);
        if !matches!(self.health.state(), DeviceState::Resetting(_)) {
            self.start_over(kernel, now);
        }
    }

    /// The device has no request any more: all are to be submitted again. If it is dead, they end with an error.
    fn start_over(&mut self, kernel: &mut K, now: Instant) {
        let lost = self.in_flight.len();
        self.in_flight.forget();
        if self.write_back.take_suspect() {
            self.background_failed(now);
        }
        self.write_back.forget_flushes();
        if self.is_broken() {
            self.give_up_flushes(now);
        }
        self.bounce.reset();
        self.scheduler.device_is_empty();
        let unanswered = self.intake.len();
        let mut next = self.intake.first();
        while let Some(id) = next {
            next = self.intake.after(id);
            match self.intake[id].stage {
                Stage::Transfer => self.start_transfer_over(kernel, now, id),
                Stage::Barrier => self.start_barrier_over(kernel, now, id),
                Stage::Free | Stage::Waiting => break,
            }
        }
        if lost > 0 && self.is_broken() {
            log_line!(Warn, "{lost} device requests were lost: their clients get an error");
        } else if lost > 0 {
            let failed = unanswered - self.intake.len();
            log_line!(
                Warn,
                "{lost} device requests were lost: {failed} clients get an error, the others are tried again"
            );
        }
    }

    fn start_transfer_over(&mut self, kernel: &mut K, now: Instant, id: JobId) {
        let dead = self.is_broken();
        let Some(error) = self.intake[id].transfer.lost() else {
            return;
        };
        let shared = self.intake.unlink(id).is_some();
        let transfer = &mut self.intake[id].transfer;
        if shared {
            // Any of those that shared a device request may be why it was lost.
            transfer.set_alone();
        }
        let error = match error {
            Some(error) => error,
            // That the device is given up was logged.
            None if dead => Errno::EIO,
            None if transfer.replays() > self.options.replays => {
                let what = Description::of(transfer.direction.into(), transfer.first, transfer.bytes.into());
                let times = transfer.replays();
                log_line!(Error, "given up: {what}, lost {times} times");
                self.events
                    .record(now, what.event(EventKind::REQUEST_GIVEN_UP, times.into()));
                Errno::EIO
            }
            None => {
                transfer.rewind();
                self.scheduler.changed(&self.intake, id);
                self.counters.replayed += 1;
                return;
            }
        };
        self.answer(kernel, now, id, error.into());
    }

    fn start_barrier_over(&mut self, kernel: &mut K, now: Instant, id: JobId) {
        let dead = self.is_broken();
        let Some(running) = self.intake.running_mut() else {
            return;
        };
        let lost = running.lost();
        let (replays, task) = (running.replays(), running.task);
        if dead || replays > self.options.replays {
            if !dead {
                let what = Description::of_task(&task);
                log_line!(Error, "given up: {what}, lost {replays} times");
                self.events
                    .record(now, what.event(EventKind::REQUEST_GIVEN_UP, replays.into()));
            }
            if task.is_flush() {
                self.flush_failed(now, Some(self.intake[id].minor));
            }
            self.give_up_barrier(kernel, now, id, task);
        } else if lost {
            self.counters.replayed += 1;
        }
    }
}

/// What was asked of the device, for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Description {
    pub(crate) kind: Kind,
    /// In sectors. No sectors: it has no place.
    pub(crate) first: u64,
    pub(crate) sectors: u64,
}

impl Description {
    const FLUSH: Self = Self::of(Kind::FLUSH, 0, 0);

    const fn of(kind: Kind, first_byte: u64, bytes: u64) -> Self {
        Self {
            kind,
            first: first_byte / SECTOR_BYTES,
            sectors: bytes / SECTOR_BYTES,
        }
    }

    fn of_task(task: &Task) -> Self {
        match task {
            Task::Flush | Task::FlushBeforeCacheOff | Task::FlushBeforeRange(_) => Self::FLUSH,
            Task::SwitchCache { .. } => Self::of(Kind::SWITCH, 0, 0),
            Task::Scan(read) => Self::of(Kind::SCAN, read.first_byte, read.bytes as u64),
            Task::Range(work) => Self {
                kind: work.operation.into(),
                first: work.first,
                sectors: work.sectors,
            },
            Task::Identify | Task::AskLifetime => Self::of(Kind::IDENTIFY, 0, 0),
        }
    }

    /// The event that something happened to it, and how often it had happened before.
    const fn event(&self, kind: EventKind, count: u32) -> Event {
        Event {
            first: self.first,
            second: self.sectors,
            code: self.kind.0 as u16,
            count,
            ..Event::new(kind)
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::READ => "read",
            Kind::WRITE => "write",
            Kind::FLUSH => "flush",
            Kind::DISCARD => "discard",
            Kind::ZERO => "write of zeroes",
            Kind::ERASE => "secure erase",
            Kind::SCAN => "read of a partition table",
            Kind::SWITCH => "switch of the write cache",
            _ => "question for the id",
        })?;
        if self.sectors > 0 {
            write!(f, " of {} sectors from {}", self.sectors, self.first)?;
        }
        Ok(())
    }
}

impl From<Direction> for Kind {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Read => Self::READ,
            Direction::Write => Self::WRITE,
        }
    }
}

impl From<RangeOperation> for Kind {
    fn from(operation: RangeOperation) -> Self {
        match operation {
            RangeOperation::Discard => Self::DISCARD,
            RangeOperation::WriteZeroes { .. } => Self::ZERO,
            RangeOperation::Erase => Self::ERASE,
        }
    }
}

/// Why the device is reset, as a line tells it.
const fn text(why: ResetReason) -> &'static str {
    match why {
        ResetReason::QUIET => "completes nothing",
        ResetReason::LOST_REQUEST => "has lost a request",
        ResetReason::BROKEN => "breaks rules or asks for a reset",
        ResetReason::NOT_ALIVE => "asks for a reset, without an interrupt",
        ResetReason::TAKES_NO_FLUSH => "takes no flush",
        _ => "takes no requests",
    }
}
