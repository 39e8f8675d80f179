//! A device that is too late or broken is reset, and given again what it had.
//!
//! A transfer that was lost in a reset starts over: its client has not been answered, so the memory is still lent, and
//! doing a part of it twice changes nothing, as whatever overlaps it still waits. Who was lost too often is answered with
//! `EIO`; when the device does not come back at all, everybody is.

use minix_abi::Errno;

use crate::flights::Cargo;
use crate::jobs::{JobId, Stage};
use crate::transfer::Durability;
use crate::{BlockDevice, BlockDriver, Kernel, Micros};

/// Whether the device can be worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Yes.
    Good,
    /// It did not come back from a reset yet.
    Resetting {
        /// Attempts so far.
        attempts: u8,
        /// When to try again.
        again: Micros,
    },
    /// It is given up.
    Dead,
}

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Does what is due by now.
    pub(crate) fn check_time(&mut self, kernel: &mut K, now: Micros) {
        match self.health {
            Health::Dead => {}
            Health::Resetting { attempts, again } if again <= now => self.reset(kernel, now, attempts),
            Health::Resetting { .. } => {}
            Health::Good => {
                if !self.is_late(self.flights.oldest(), now) {
                    return;
                }
                // It may be the driver that is late.
                self.collect(kernel, now);
                let oldest = self.flights.find_oldest();
                if self.is_late(oldest, now) {
                    self.counters.timeouts += 1;
                    warn!("the device took longer than {} microseconds", self.request_timeout);
                    let timeout = self.request_timeout;
                    self.blame(|since| since.after(timeout) <= now);
                    self.recover(kernel, now);
                }
            }
        }
    }

    fn is_late(&self, since: Option<Micros>, now: Micros) -> bool {
        since.is_some_and(|since| since.after(self.request_timeout) <= now)
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
                        if let Some(running) = &mut self.running {
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

    /// Resets the device.
    pub(crate) fn recover(&mut self, kernel: &mut K, now: Micros) {
        if matches!(self.health, Health::Good) {
            self.reset(kernel, now, 0);
        }
    }

    fn reset(&mut self, kernel: &mut K, now: Micros, attempts: u8) {
        match self.device.reset() {
            Ok(()) => {
                self.counters.resets += 1;
                warn!("the device was reset with {} requests in it", self.flights.len());
                self.health = Health::Good;
                self.start_over(kernel, now);
            }
            Err(_) => {
                self.counters.failed_resets += 1;
                let attempts = attempts.saturating_add(1);
                if attempts < self.options.reset_attempts {
                    let again = now.after(self.options.reset_pause);
                    self.health = Health::Resetting { attempts, again };
                } else {
                    warn!("the device did not come back after {} resets", attempts);
                    self.health = Health::Dead;
                    self.start_over(kernel, now);
                }
            }
        }
    }

    /// The device has nothing any more; what it had is to be given to it again. If it is dead, that ends with an error.
    fn start_over(&mut self, kernel: &mut K, now: Micros) {
        self.flights.forget();
        if core::mem::take(&mut self.flush_blamed) {
            self.background_failed(now);
        }
        self.write_back.forget_flushes();
        self.staging.reset();
        self.device_full = false;
        self.unannounced = false;
        self.busy = true;
        let mut next = self.jobs.first();
        while let Some(id) = next {
            next = self.jobs.after(id);
            match self.jobs[id].stage {
                Stage::Transfer => self.start_transfer_over(kernel, now, id),
                Stage::Exclusive => self.start_exclusive_over(kernel, now, id),
                Stage::Free | Stage::Waiting => break,
            }
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
            None if dead || transfer.replays > self.options.replays => Errno::EIO,
            None => {
                transfer.rewind();
                self.counters.replayed += 1;
                return;
            }
        };
        self.answer(kernel, now, id, error.into());
    }

    fn start_exclusive_over(&mut self, kernel: &mut K, now: Micros, id: JobId) {
        let Some(running) = &mut self.running else { return };
        let lost = core::mem::take(&mut running.submitted);
        let blamed = core::mem::take(&mut running.blamed);
        running.replays = running.replays.saturating_add(blamed.into());
        running.forget_staging();
        if self.health == Health::Dead || running.replays > self.options.replays {
            self.answer(kernel, now, id, Errno::EIO.into());
        } else if lost {
            self.counters.replayed += 1;
        }
    }
}
