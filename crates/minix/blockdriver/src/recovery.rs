//! A device that is stuck or broken is reset, and given again what it had.
//!
//! A transfer that was lost in a reset starts over: its client has not been answered, so the memory is still lent, and
//! doing a part of it twice changes nothing, as whatever overlaps it still waits. Who was lost too often is answered with
//! `EIO`; when the device does not come back at all, everybody is.
//!
//! A reset that worked is no sign of health, a completed request is. Without one the next reset comes after a pause, and
//! after some of them the device is given up.

use core::fmt;

use minix_abi::Errno;

use crate::exclusive::Task;
use crate::flights::Cargo;
use crate::jobs::{JobId, Stage};
use crate::pace::OVERTAKEN_TIMEOUTS;
use crate::transfer::{Direction, Durability};
use crate::{BlockDevice, BlockDriver, Kernel, Micros, SECTOR_BYTES};

/// Whether the device can be worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Yes, as far as is known.
    Good,
    /// It is to be reset.
    Resetting {
        /// When.
        again: Micros,
    },
    /// It is given up.
    Dead,
}

/// What resets were good for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resets {
    /// How many in a row did not bring the device back.
    failed: u8,
    /// How many there were since the device last completed a request.
    pub(crate) fruitless: u8,
    /// When the last of them was.
    last: Micros,
}

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// When the device is to be looked at, since it has something to do.
    pub(crate) fn look_due(&self) -> Option<Micros> {
        let oldest = self.flights.oldest()?;
        Some(self.pace.look_due(oldest, self.request_timeout))
    }

    /// Does what is due by now.
    pub(crate) fn check_time(&mut self, kernel: &mut K, now: Micros) {
        match self.health {
            Health::Resetting { again } if again <= now => self.reset(kernel, now),
            Health::Good if self.look_due().is_some_and(|due| due <= now) => {
                // It may be the driver that is late.
                self.collect(kernel, now);
                if self.health == Health::Good {
                    self.look(kernel, now);
                }
            }
            _ => {}
        }
    }

    /// Looks whether the device still works on its requests.
    fn look(&mut self, kernel: &mut K, now: Micros) {
        let Some(oldest) = self.flights.find_oldest() else {
            return;
        };
        let timeout = self.request_timeout;
        self.pace.look(now);
        if self.pace.quiet_since(oldest).after(timeout) <= now {
            self.time_out(kernel, now, |since| since.after(timeout) <= now, "completes nothing");
        } else if let Some((_, lost)) = self.flights.overtaken(now, timeout.saturating_mul(OVERTAKEN_TIMEOUTS)) {
            self.time_out(kernel, now, |since| since == lost, "has lost a request");
        } else if self.pace.is_quiet(oldest, now, timeout) && !self.device.is_alive() {
            self.blame(|_| true);
            self.recover(kernel, now, "asks for a reset, without an interrupt");
        }
    }

    /// Requests are late.
    #[cold]
    fn time_out(&mut self, kernel: &mut K, now: Micros, is_late: impl Fn(Micros) -> bool, why: &'static str) {
        self.counters.timeouts += 1;
        let mut late = 0_u32;
        for (cargo, since) in self.flights.all().filter(|&(_, since)| is_late(since)) {
            late += 1;
            if late == 1 {
                let what = self.describe(cargo);
                let attempt = u32::from(self.replays(cargo)) + 1;
                let millis = now.since(since) / 1000;
                warn!("timed out: {} after {} ms, attempt {}", what, millis, attempt);
            }
        }
        if late > 1 {
            warn!("timed out: {} more requests", late - 1);
        }
        self.blame(is_late);
        self.recover(kernel, now, why);
    }

    /// What a device request is.
    fn describe(&self, cargo: Cargo) -> What {
        match cargo {
            Cargo::Transfer { job, offset, bytes, .. } => {
                let transfer = &self.jobs[job].transfer;
                What::part(
                    name(transfer.direction),
                    transfer.first + u64::from(offset),
                    bytes.into(),
                )
            }
            Cargo::Exclusive => self
                .barrier
                .running()
                .map_or(What::FLUSH, |running| What::task(&running.task)),
            Cargo::None | Cargo::Background | Cargo::Durability { .. } => What::FLUSH,
        }
    }

    /// How often it was tried before.
    fn replays(&self, cargo: Cargo) -> u8 {
        match cargo {
            Cargo::Transfer { job, .. } | Cargo::Durability { job } => self.jobs[job].transfer.replays,
            Cargo::Exclusive => self.barrier.running().map_or(0, |running| running.replays),
            Cargo::None | Cargo::Background => 0,
        }
    }

    /// Notes which requests the device failed to do. Innocent ones are given to it again as often as it takes; as all of
    /// them are given anew at the same time, none stays innocent for ever.
    pub(crate) fn blame(&mut self, is_guilty: impl Fn(Micros) -> bool) {
        for place in 0..JOBS {
            match self.flights.at(place) {
                Some((cargo, since)) if is_guilty(since) => match cargo {
                    Cargo::None => {}
                    Cargo::Background => self.flush_blamed = true,
                    Cargo::Exclusive => {
                        if let Some(running) = self.barrier.running_mut() {
                            running.blamed = true;
                        }
                    }
                    Cargo::Durability { job } | Cargo::Transfer { job, .. } => {
                        let mut next = Some(job);
                        while let Some(id) = next {
                            let job = &mut self.jobs[id];
                            job.transfer.blamed = true;
                            next = job.merged;
                        }
                    }
                },
                _ => {}
            }
        }
    }

    /// Resets the device, because it does something (`why`). If it has completed nothing since the last reset, that is after a
    /// pause.
    #[cold]
    pub(crate) fn recover(&mut self, kernel: &mut K, now: Micros, why: &'static str) {
        if self.health != Health::Good {
            return;
        }
        warn!(
            "the device {}: it is reset, with {} requests in it",
            why,
            self.flights.len()
        );
        let resets = &mut self.resets;
        if self.jobs.len() == 0 && resets.last.after(self.request_timeout) <= now {
            // It was well for a while, and had nothing to do.
            resets.fruitless = 0;
        }
        let again = resets.last.after(self.options.reset_pause);
        if resets.fruitless > 0 && again > now {
            self.health = Health::Resetting { again };
        } else {
            self.reset(kernel, now);
        }
    }

    fn reset(&mut self, kernel: &mut K, now: Micros) {
        let (flights, counters) = (&mut self.flights, &mut self.counters);
        let mut handed_over = 0_u32;
        let result = self.device.reset(&mut |tag, result| {
            if flights.arrive(tag, result) {
                handed_over += 1;
            } else {
                counters.stray_completions += 1;
            }
        });
        let resets = &mut self.resets;
        resets.last = now;
        resets.fruitless = if handed_over > 0 {
            1
        } else {
            resets.fruitless.saturating_add(1)
        };
        if result.is_ok() {
            counters.resets += 1;
            resets.failed = 0;
        } else {
            counters.failed_resets += 1;
            resets.failed = resets.failed.saturating_add(1);
        }
        let again = now.after(self.options.reset_pause);
        self.health =
            if resets.failed >= self.options.reset_attempts || resets.fruitless > self.options.fruitless_resets {
                let (fruitless, failed) = (resets.fruitless, resets.failed);
                error!(
                    "the device is given up after {} resets without a use, of which the last {} failed",
                    fruitless, failed
                );
                Health::Dead
            } else if result.is_ok() {
                Health::Good
            } else {
                warn!("reset {} of {} has failed", resets.failed, self.options.reset_attempts);
                Health::Resetting { again }
            };
        // What it had finished is no different from what a poll finds.
        self.land(kernel, now);
        if !matches!(self.health, Health::Resetting { .. }) {
            self.start_over(kernel, now);
        }
    }

    /// The device has nothing any more; what it had is to be given to it again. If it is dead, that ends with an error.
    fn start_over(&mut self, kernel: &mut K, now: Micros) {
        let lost = self.flights.len();
        self.flights.forget();
        if core::mem::take(&mut self.flush_blamed) {
            self.background_failed(now);
        }
        self.write_back.forget_flushes();
        if self.is_broken() {
            self.give_up_flushes();
        }
        self.staging.reset();
        self.device_full = false;
        self.unannounced = false;
        self.busy = true;
        let before = self.counters.errors;
        let mut next = self.jobs.first();
        while let Some(id) = next {
            next = self.jobs.after(id);
            match self.jobs[id].stage {
                Stage::Transfer => self.start_transfer_over(kernel, now, id),
                Stage::Exclusive => self.start_exclusive_over(kernel, now, id),
                Stage::Free | Stage::Waiting => break,
            }
        }
        if lost > 0 && self.is_broken() {
            warn!("{} device requests were lost: their clients get an error", lost);
        } else if lost > 0 {
            let failed = self.counters.errors - before;
            warn!(
                "{} device requests were lost: {} clients get an error, the others are tried again",
                lost, failed
            );
        }
    }

    fn start_transfer_over(&mut self, kernel: &mut K, now: Micros, id: JobId) {
        let dead = self.is_broken();
        let job = &mut self.jobs[id];
        let transfer = &mut job.transfer;
        let lost = transfer.outstanding > 0 || transfer.durability == Durability::Flushing;
        if !lost && !transfer.blamed {
            return;
        }
        // Whoever shared a device request may be why it was lost.
        let shared = job.merged.take().is_some();
        transfer.alone |= shared;
        let blamed = core::mem::take(&mut transfer.blamed);
        transfer.replays = transfer.replays.saturating_add(blamed.into());
        let error = match transfer.error {
            Some(error) => error,
            // That the device is given up was said.
            None if dead => Errno::EIO,
            None if transfer.replays > self.options.replays => {
                let what = What::part(name(transfer.direction), transfer.first, transfer.bytes.into());
                error!("given up: {}, lost {} times", what, transfer.replays);
                Errno::EIO
            }
            None => {
                transfer.rewind();
                self.counters.replayed += 1;
                return;
            }
        };
        self.answer(kernel, now, id, error.into());
    }

    fn start_exclusive_over(&mut self, kernel: &mut K, now: Micros, id: JobId) {
        let dead = self.is_broken();
        let Some(running) = self.barrier.running_mut() else {
            return;
        };
        let lost = core::mem::take(&mut running.submitted);
        let blamed = core::mem::take(&mut running.blamed);
        running.replays = running.replays.saturating_add(blamed.into());
        running.forget_staging();
        if dead || running.replays > self.options.replays {
            let (replays, task) = (running.replays, running.task);
            if !dead {
                error!("given up: {}, lost {} times", What::task(&task), replays);
            }
            if task.is_flush() {
                self.flush_failed(now, Some(self.jobs[id].request.minor));
            }
            self.answer(kernel, now, id, Errno::EIO.into());
        } else if lost {
            self.counters.replayed += 1;
        }
    }
}

/// What was asked of the device, for people.
#[derive(Clone, Copy, Debug)]
struct What {
    operation: &'static str,
    /// In sectors. No sectors: it has no place.
    first: u64,
    sectors: u64,
}

impl What {
    const FLUSH: Self = Self::part("flush", 0, 0);

    const fn part(operation: &'static str, first_byte: u64, bytes: u64) -> Self {
        Self {
            operation,
            first: first_byte / SECTOR_BYTES,
            sectors: bytes / SECTOR_BYTES,
        }
    }

    const fn task(task: &Task) -> Self {
        match task {
            Task::Flush | Task::FlushBeforeCacheOff => Self::FLUSH,
            Task::SwitchCache { .. } => Self::part("switch of the write cache", 0, 0),
            Task::Scan { read, .. } => Self::part("read of a partition table", read.first_byte, read.bytes as u64),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation)?;
        if self.sectors > 0 {
            write!(f, " of {} sectors from {}", self.sectors, self.first)?;
        }
        Ok(())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for What {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "{=str} of {=u64} sectors from {=u64}",
            self.operation,
            self.sectors,
            self.first
        );
    }
}

const fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Read => "read",
        Direction::Write => "write",
    }
}
