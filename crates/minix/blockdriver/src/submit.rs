//! Transfers become device requests: grants become addresses, or pass through staging memory.
//!
//! A transfer that one look-up of addresses covers reaches the device only if all of it has addresses. A longer one goes
//! piece by piece, each as long as the look-up and the device allow.

use minix_abi::kernel_call::{GrantedRange as _, MAX_RANGES};
use minix_abi::{Errno, Status};

use crate::bounds::block_bytes;
use crate::flights::{Cargo, Flights};
use crate::jobs::JobId;
use crate::ranges::{Mapped, cut_piece, map_rest};
use crate::schedule::Step;
use crate::transfer::{Direction, Durability};
use crate::write_back::Flusher;
use crate::{BlockDevice, BlockDriver, Data, DeviceRequest, DiskInfo, Kernel, Micros, Refusal, SECTOR_BYTES};

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Gives the device as much of a transfer as it takes.
    pub(crate) fn start(&mut self, kernel: &mut K, now: Micros, id: JobId) -> Step {
        if self.is_broken() {
            self.fail(kernel, now, id, Errno::EIO);
            return Step::Went;
        }
        let Some(disk) = self.device.info() else {
            return self.refused(kernel, now, id, Refusal::Broken);
        };
        let transfer = &self.jobs[id].transfer;
        if transfer.durability == Durability::Due {
            return self.start_durability(kernel, now, id);
        }
        if transfer.direction == Direction::Write {
            let is_first = self.flights.len() == 0;
            self.write_back.writes_to(disk.needs_flushes(), is_first);
        }
        if transfer.staged {
            self.start_staged(kernel, now, id, &disk)
        } else {
            self.start_mapped(kernel, now, id, &disk)
        }
    }

    /// A transfer had its turn.
    fn had_turn(&mut self, direction: Direction) {
        self.reads_in_a_row = match direction {
            Direction::Read if self.writes > 0 => self.reads_in_a_row.saturating_add(1),
            _ => 0,
        };
    }

    fn start_mapped(&mut self, kernel: &mut K, now: Micros, id: JobId, disk: &DiskInfo) -> Step {
        let limit = usize::from(disk.max_segments).clamp(1, MAX_RANGES);
        let mapped = match map_rest(kernel, &self.jobs, id, &mut self.ranges) {
            Ok(mapped) => mapped,
            Err(error) => {
                self.no_address(kernel, now, id, error);
                return Step::Went;
            }
        };
        if mapped.bytes == 0 {
            // Looking again would find nothing again.
            self.fail(kernel, now, id, Errno::EFAULT);
            return Step::Went;
        }
        let transfer = &self.jobs[id].transfer;
        if transfer.given == 0 && mapped.bytes == transfer.bytes && mapped.ranges <= limit {
            let ranges = self.add_neighbours(kernel, now, id, mapped.ranges, limit);
            self.submit_whole(kernel, now, id, ranges)
        } else {
            self.submit_pieces(kernel, now, id, mapped, limit, block_bytes(disk))
        }
    }

    /// Looks for transfers that go on where this one ends, and puts their addresses behind its own.
    fn add_neighbours(&mut self, kernel: &mut K, now: Micros, head: JobId, mut used: usize, limit: usize) -> usize {
        let (mut last, start) = (head, self.jobs[head].transfer.first);
        // Each round adds a range at least, answers a request, or is the last one.
        while used < limit {
            let Some(next) = self.neighbour(head, last) else { break };
            if self.jobs[next].transfer.end() - start > MERGED_BYTES {
                break;
            }
            match map_rest(kernel, &self.jobs, next, &mut self.ranges[used..limit]) {
                Ok(mapped) if mapped.bytes == self.jobs[next].transfer.bytes => {
                    self.jobs[last].merged = Some(next);
                    last = next;
                    used += mapped.ranges;
                }
                // It does not fit.
                Ok(_) => break,
                Err(error) => self.no_address(kernel, now, next, error),
            }
        }
        used
    }

    /// Gives the device a whole transfer, and those that are linked to it.
    fn submit_whole(&mut self, kernel: &mut K, now: Micros, head: JobId, ranges: usize) -> Step {
        let transfer = self.jobs[head].transfer;
        let cargo = Cargo::Transfer {
            job: head,
            offset: 0,
            bytes: transfer.bytes,
            staging: None,
        };
        let data = Data::Granted(&self.ranges[..ranges]);
        let request = data_request(transfer.direction, transfer.first, data);
        match offer(&mut self.device, &mut self.flights, request, cargo, now) {
            Ok(()) => {
                let mut next = Some(head);
                while let Some(id) = next {
                    let job = &mut self.jobs[id];
                    job.transfer.given = job.transfer.bytes;
                    job.transfer.outstanding = 1;
                    next = job.merged;
                    self.counters.merged += u64::from(next.is_some());
                }
                self.had_turn(transfer.direction);
                self.departed();
                Step::Went
            }
            Err(refusal) if self.jobs[head].merged.is_some() => {
                self.part(head, refusal != Refusal::Full || self.flights.len() == 0);
                if refusal == Refusal::Broken {
                    return self.refused(kernel, now, head, refusal);
                }
                if refusal == Refusal::Full && self.flights.len() > 0 {
                    return Step::Full;
                }
                Step::Went
            }
            Err(refusal) => self.refused(kernel, now, head, refusal),
        }
    }

    /// Transfers that were to share a device request go their own ways, for good if `alone`.
    pub(crate) fn part(&mut self, head: JobId, alone: bool) {
        let mut next = Some(head);
        while let Some(id) = next {
            let job = &mut self.jobs[id];
            job.transfer.alone |= alone;
            next = job.merged.take();
        }
    }

    /// Gives the device the ranges that were found, in as many requests as it takes.
    fn submit_pieces(
        &mut self,
        kernel: &mut K,
        now: Micros,
        id: JobId,
        mapped: Mapped,
        limit: usize,
        block: u64,
    ) -> Step {
        let mut from = 0;
        // Each round gives the device a range at least, or is the last one.
        while from < mapped.ranges {
            if self.flights.len() >= self.depth() {
                // It goes on once there are fewer.
                return Step::Went;
            }
            let piece = cut_piece(&mut self.ranges[from..mapped.ranges], limit, block);
            if piece.bytes == 0 {
                if from == 0 {
                    // One block is in more places than can be told.
                    self.no_address(kernel, now, id, Errno::EFAULT);
                }
                break;
            }
            let transfer = &self.jobs[id].transfer;
            let offset = transfer.given;
            let cargo = Cargo::Transfer {
                job: id,
                offset,
                bytes: piece.bytes,
                staging: None,
            };
            let data = Data::Granted(&self.ranges[from..from + piece.ranges]);
            let request = data_request(transfer.direction, transfer.first + u64::from(offset), data);
            if let Err(refusal) = offer(&mut self.device, &mut self.flights, request, cargo, now) {
                return self.refused(kernel, now, id, refusal);
            }
            self.gave(id, piece.bytes);
            from += piece.ranges;
            if piece.kept.bytes() > 0 {
                // The block that the cut went through starts in the last range.
                from -= 1;
                self.ranges[from] = piece.kept;
            }
        }
        Step::Went
    }

    fn start_durability(&mut self, kernel: &mut K, now: Micros, id: JobId) -> Step {
        match self.offer_flush(Cargo::Durability { job: id }, now) {
            Ok(()) => {
                self.jobs[id].transfer.durability = Durability::Flushing;
                Step::Went
            }
            Err(refusal) => self.refused(kernel, now, id, refusal),
        }
    }

    pub(crate) fn offer_flush(&mut self, cargo: Cargo, now: Micros) -> Result<(), Refusal> {
        offer(&mut self.device, &mut self.flights, DeviceRequest::Flush, cargo, now)?;
        self.write_back.flush_departed(match cargo {
            Cargo::Background => Flusher::Background,
            _ => Flusher::Client,
        });
        self.counters.flushes += 1;
        self.departed();
        Ok(())
    }

    /// The device took a part of a transfer.
    pub(crate) fn gave(&mut self, id: JobId, bytes: u32) {
        // The elements lie beside the job, so that both cannot be had at once otherwise.
        let mut transfer = self.jobs[id].transfer;
        if transfer.given == 0 {
            self.had_turn(transfer.direction);
        }
        transfer.advance(bytes, self.jobs.elements(id));
        transfer.outstanding += 1;
        self.counters.chunks += u64::from(bytes < transfer.bytes);
        self.jobs[id].transfer = transfer;
        self.departed();
    }

    /// The device took a request.
    pub(crate) fn departed(&mut self) {
        self.counters.device_requests += 1;
        self.counters.max_in_flight = self.counters.max_in_flight.max(self.flights.len() as u16);
        self.unannounced = true;
    }

    /// The device did not take the next part of a transfer.
    pub(crate) fn refused(&mut self, kernel: &mut K, now: Micros, id: JobId, refusal: Refusal) -> Step {
        let error = match refusal {
            Refusal::Full if self.flights.len() > 0 => return Step::Full,
            // It has no room although it has nothing to do: it will have none later either.
            Refusal::Full | Refusal::Broken => {
                self.jobs[id].transfer.blamed = true;
                self.recover(kernel, now, "takes no requests");
                return Step::Reset;
            }
            Refusal::Unreachable => {
                self.no_address(kernel, now, id, Errno::EFAULT);
                return Step::Went;
            }
            Refusal::Invalid => Errno::EIO,
            Refusal::Unsupported => Errno::ENOTSUP,
        };
        self.fail(kernel, now, id, error);
        Step::Went
    }

    /// There are no addresses to be had for the next part of a transfer. Memory that was never touched has none yet, and a
    /// copy brings it in; anything else is an error.
    fn no_address(&mut self, kernel: &mut K, now: Micros, id: JobId, error: Errno) {
        if error == Errno::EFAULT && self.staging.exists() {
            self.jobs[id].transfer.staged = true;
        } else {
            self.fail(kernel, now, id, error);
        }
    }

    /// A transfer has failed; the first error is the one that counts. What the device still has of it has to come back
    /// before the answer.
    pub(crate) fn fail(&mut self, kernel: &mut K, now: Micros, id: JobId, error: Errno) {
        let beyond = self.is_beyond(id, error);
        let transfer = &mut self.jobs[id].transfer;
        if !beyond {
            transfer.error.get_or_insert(error);
        }
        if transfer.outstanding > 0 {
            return;
        }
        match transfer.error {
            Some(error) => self.answer(kernel, now, id, Status::from(error)),
            None => self.cut_to_disk(kernel, now, id),
        }
    }
}

/// Transfers that share a device request are not longer together.
pub(crate) const MERGED_BYTES: u64 = 1 << 20;

/// Offers the device a request, and notes what it is for.
pub(crate) fn offer<D: BlockDevice, const N: usize>(
    device: &mut D,
    flights: &mut Flights<N>,
    request: DeviceRequest<'_, D::Range>,
    cargo: Cargo,
    now: Micros,
) -> Result<(), Refusal> {
    let tag = flights.next_tag().ok_or(Refusal::Full)?;
    device.submit(request, tag)?;
    flights.depart(cargo, now);
    Ok(())
}

pub(crate) fn data_request<R>(direction: Direction, first_byte: u64, data: Data<'_, R>) -> DeviceRequest<'_, R> {
    let first = first_byte / SECTOR_BYTES;
    match direction {
        Direction::Read => DeviceRequest::Read { first, data },
        Direction::Write => DeviceRequest::Write { first, data },
    }
}
