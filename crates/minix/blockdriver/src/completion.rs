//! What the device has finished finds its way back to who asked for it.

use minix_abi::{Errno, Status};

use crate::exclusive::flushed;
use crate::flights::Cargo;
use crate::jobs::JobId;
use crate::recovery::Health;
use crate::transfer::{Direction, Durability};
use crate::write_back::Flusher;
use crate::{BlockDevice, BlockDriver, DeviceError, Kernel, Micros};

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Takes what the device has finished. Returns how many of its requests that were.
    pub(crate) fn collect(&mut self, kernel: &mut K, now: Micros) -> u32 {
        if !matches!(self.health, Health::Good) {
            return 0;
        }
        let (flights, counters) = (&mut self.flights, &mut self.counters);
        let polled = self.device.poll(&mut |tag, result| {
            if !flights.arrive(tag, result) {
                counters.stray_completions += 1;
            }
        });
        self.pace.look_at_parts(self.device.parts_finished(), now);
        let finished = self.land(kernel, now);
        if finished > 0 {
            self.resets.fruitless = 0;
        }
        if polled.is_err() {
            self.blame(|_| true);
            self.recover(kernel, now, "breaks rules or asks for a reset");
        }
        finished
    }

    /// Takes what has come back from the device to who asked for it. Returns how many device requests that were.
    pub(crate) fn land(&mut self, kernel: &mut K, now: Micros) -> u32 {
        let mut finished = 0;
        while let Some((cargo, since, result)) = self.flights.take_finished() {
            finished += 1;
            self.device_full = false;
            self.busy = true;
            self.pace.completed(since, now, self.request_timeout);
            self.landed(kernel, now, cargo, result);
        }
        finished
    }

    fn landed(&mut self, kernel: &mut K, now: Micros, cargo: Cargo, result: Result<(), DeviceError>) {
        match cargo {
            Cargo::None => {}
            Cargo::Background => self.background_landed(now, result),
            Cargo::Exclusive => self.exclusive_landed(kernel, now, result),
            Cargo::Durability { job } => {
                self.write_back.flush_landed(Flusher::Client, result.is_ok());
                let status = match result {
                    Ok(()) => self.forced(job),
                    Err(_) => {
                        self.flush_failed(now, Some(self.jobs[job].request.minor));
                        flushed(result)
                    }
                };
                self.answer(kernel, now, job, status);
            }
            Cargo::Transfer { job, .. } if result.is_err() && self.jobs[job].merged.is_some() => {
                // Whose part it was that failed is not known. Alone, each gets to know its own.
                self.rewind_chain(job);
            }
            Cargo::Transfer {
                job,
                offset,
                bytes,
                staging,
            } => {
                if result.is_ok() && self.jobs[job].transfer.direction == Direction::Write {
                    self.note_write(now);
                }
                let mut result = result.map_err(errno);
                if let Some(block) = staging {
                    if result.is_ok() && self.jobs[job].transfer.direction == Direction::Read {
                        result = self.unstage(kernel, job, offset, bytes, block);
                    }
                    self.staging.give_back(block);
                }
                let mut next = Some(job);
                while let Some(id) = next {
                    next = self.jobs[id].merged.take();
                    self.part_landed(kernel, now, id, result);
                }
            }
        }
    }

    /// Transfers that shared a device request start over, each for itself.
    pub(crate) fn rewind_chain(&mut self, head: JobId) {
        let mut next = Some(head);
        while let Some(id) = next {
            let job = &mut self.jobs[id];
            job.transfer.rewind();
            next = job.merged;
        }
        self.part(head, true);
    }

    /// A device request for a transfer is over.
    fn part_landed(&mut self, kernel: &mut K, now: Micros, id: JobId, result: Result<(), Errno>) {
        let transfer = &mut self.jobs[id].transfer;
        transfer.outstanding = transfer.outstanding.saturating_sub(1);
        if let Err(error) = result
            && !self.is_beyond(id, error)
        {
            self.jobs[id].transfer.error.get_or_insert(error);
        }
        let lingers = result.is_ok() && self.write_lingers();
        let transfer = &mut self.jobs[id].transfer;
        transfer.lingers |= lingers;
        if transfer.outstanding > 0 {
            return;
        }
        transfer.blamed = false;
        let status = match transfer.error {
            Some(error) => error.into(),
            None if transfer.beyond => return self.cut_to_disk(kernel, now, id),
            None if transfer.rest() > 0 => return,
            None if transfer.durability == Durability::Wanted && transfer.lingers => {
                transfer.durability = Durability::Due;
                return;
            }
            None if transfer.durability == Durability::Wanted => self.forced(id),
            None => Status(transfer.bytes as i32),
        };
        self.answer(kernel, now, id, status);
    }

    /// The answer to a write that is on the medium. If a flush has failed before, it says so.
    fn forced(&mut self, id: JobId) -> Status {
        let (minor, bytes) = (self.jobs[id].request.minor, self.jobs[id].transfer.bytes);
        if self.opens.take_failure(minor) {
            Errno::EIO.into()
        } else {
            Status(bytes as i32)
        }
    }
}

fn errno(error: DeviceError) -> Errno {
    match error {
        DeviceError::Io => Errno::EIO,
        DeviceError::Unsupported => Errno::ENOTSUP,
    }
}
