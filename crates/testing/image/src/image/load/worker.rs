//! The load on one queue: every block of a part of the disk is written with its own mark and read back, again and again.

use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bare_image::disks::Transport;
use board_qemu_virt::{Ticks, Timebase, counters};
use guest_protocol::pattern;
use image_blk::SECTOR_BYTES;
use image_blk::options::SectorRange;
use virtio_blk::proto::Sector;
use virtio_blk::{DeviceQueue, SubmitError};

use super::marks::Marks;
use super::signal::Signal;
use crate::image::buffer::Buffer;
use crate::image::session::{CAPACITY, Completion, Failure, Request, taken_back};

/// Requests in flight at most.
const DEPTH: usize = 16;
/// Bytes of a request, if blocks are not larger.
const BYTES: u64 = 4096;
/// How long a completion may take.
const TIMEOUT_MILLIS: u64 = 10_000;
/// How often a worker whose disk may go looks whether it has.
const LOOK_MILLIS: u64 = 20;

pub(super) type Queue = DeviceQueue<Transport, Buffer, usize, CAPACITY>;

/// What all workers together have submitted and got back, for the hart that watches them.
pub(super) static SUBMITTED: AtomicU64 = AtomicU64::new(0);
pub(super) static COMPLETED: AtomicU64 = AtomicU64::new(0);

/// The disk is gone: the workers whose disk may go come to their end.
pub(super) static GONE: AtomicBool = AtomicBool::new(false);

/// A request that may be in flight.
struct Slot {
    /// `None` while the driver has it.
    buffer: Option<Buffer>,
    first: u64,
}

/// How long a worker works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Until its part is done after this time. A request that fails is a failure.
    After(Ticks),
    /// Until the disk is gone. Requests may fail then, and are left with the queue.
    Gone,
}

/// The load on one queue.
pub(super) struct Worker {
    pub(super) queue: Queue,
    pub(super) signal: Signal,
    /// The content of the part that this worker alone writes.
    pub(super) marks: Marks,
    pub(super) submitted: u64,
    /// Requests that came back with an answer.
    pub(super) completed: u64,
    slots: Vec<Slot>,
    end: End,
    timebase: Timebase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Write,
    Read,
}

impl Worker {
    pub(super) fn new(
        queue: Queue,
        signal: Signal,
        part: SectorRange,
        end: End,
        timebase: Timebase,
    ) -> Result<Self, Failure> {
        let sectors = sectors_of_request(queue.limits().block_sectors());
        // Without indirect tables a request takes three descriptors.
        let depth = DEPTH.min(usize::from(queue.ring_state().size / 3)).max(1);
        let slot = |_| {
            let buffer = Buffer::allocate(sectors as usize * SECTOR_BYTES)?;
            Ok(Slot {
                buffer: Some(buffer),
                first: 0,
            })
        };
        Ok(Self {
            slots: (0..depth).map(slot).collect::<Result<_, Failure>>()?,
            queue,
            signal,
            marks: Marks::new(part, sectors),
            submitted: 0,
            completed: 0,
            end,
            timebase,
        })
    }

    /// Writes the part and reads it back, and goes on with other marks until the end.
    pub(super) fn run(&mut self, seed: u64) -> Result<(), Failure> {
        // Asks for an interrupt at the first completion. Nothing can have come yet.
        self.signal.start(&mut self.queue)?;
        for pass in 0.. {
            let seed = pattern::word(seed, pass, 0);
            let outcome = self.phase(Phase::Write, seed).and_then(|()| {
                self.flush()?;
                self.phase(Phase::Read, seed)
            });
            let is_over = match self.end {
                End::After(deadline) => counters::now() >= deadline,
                End::Gone => GONE.load(Ordering::Acquire),
            };
            match outcome {
                Err(_) if self.end == End::Gone && is_over => return Ok(()),
                Err(failure) => return Err(failure),
                Ok(()) if is_over => return Ok(()),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Does every request of the part once, many at a time.
    fn phase(&mut self, phase: Phase, seed: u64) -> Result<(), Failure> {
        let (part, sectors) = (self.marks.part(), self.marks.sectors());
        let mut next = part.first;
        let mut in_flight = 0_usize;
        let mut free: Vec<usize> = (0..self.slots.len()).collect();
        while next < part.end() || in_flight > 0 {
            while next < part.end()
                && let Some(number) = free.pop()
            {
                let slot = &mut self.slots[number];
                let mut buffer = slot.buffer.take().ok_or("a free slot has no buffer")?;
                slot.first = next;
                let request = match phase {
                    Phase::Write => {
                        buffer.fill_with_pattern(seed, next);
                        Request::write(Sector(next), buffer, number)
                    }
                    Phase::Read => Request::read(Sector(next), buffer, number),
                };
                if let Err(rejected) = self.queue.submit(request) {
                    if rejected.error != SubmitError::QueueFull || in_flight == 0 {
                        return Err(rejected.error.into());
                    }
                    // Later. The queue is smaller than what a worker has in flight elsewhere.
                    self.slots[number].buffer = rejected.request.into_parts().0;
                    free.push(number);
                    break;
                }
                if phase == Phase::Write {
                    self.marks.writing(next);
                }
                self.count_submitted();
                in_flight += 1;
                next += sectors;
            }
            self.queue.notify();
            in_flight -= self.collect(|worker, completion| {
                free.push(worker.take_back(completion, phase, seed)?);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Makes what was written durable. A device without a flush has no cache to flush.
    fn flush(&mut self) -> Result<(), Failure> {
        if self.queue.limits().flush {
            self.queue
                .submit(Request::flush(0))
                .map_err(|rejected| rejected.error)?;
            self.count_submitted();
            self.queue.notify();
            self.collect(|_, completion| Ok(completion.result.map(drop)?))?;
        }
        Ok(())
    }

    fn count_submitted(&mut self) {
        self.submitted += 1;
        SUBMITTED.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for completions, and takes them. Returns how many there were, at least one.
    fn collect(
        &mut self,
        mut each: impl FnMut(&mut Self, Completion) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let limit = counters::now().after(self.timebase.ticks_from_millis(TIMEOUT_MILLIS));
        let mut done = Vec::new();
        while done.is_empty() {
            let look = match self.end {
                End::After(_) => limit,
                End::Gone => counters::now().after(self.timebase.ticks_from_millis(LOOK_MILLIS)),
            };
            let each = |completion| done.push(completion);
            if let Err(failure) = self.signal.wait(&mut self.queue, look, each) {
                if done.is_empty() {
                    return Err(failure.into());
                }
                // The device had finished these before the fault, which the next look finds again.
                break;
            }
            let is_over = match self.end {
                End::After(_) => counters::now() >= limit,
                End::Gone => GONE.load(Ordering::Acquire),
            };
            if is_over && done.is_empty() {
                let state = self.queue.ring_state();
                let count = self.signal.count();
                return Err(format!("no completion came, after {count} interrupts: {state:?}").into());
            }
            if is_over && matches!(self.end, End::After(_)) {
                let (state, count) = (self.queue.ring_state(), self.signal.count());
                return Err(
                    format!("completions came without an interrupt, after {count} interrupts: {state:?}").into(),
                );
            }
        }
        let count = done.len();
        self.completed += count as u64;
        COMPLETED.fetch_add(count as u64, Ordering::Relaxed);
        done.into_iter().try_for_each(|completion| each(self, completion))?;
        Ok(count)
    }

    /// Puts the buffer of a completed request back into its slot. Returns the number of the slot.
    fn take_back(&mut self, completion: Completion, phase: Phase, seed: u64) -> Result<usize, Failure> {
        let number = completion.token;
        let slot = self.slots.get_mut(number).ok_or("a completion without a request")?;
        if slot.buffer.is_some() {
            return Err(format!("the request of sector {} came back twice", slot.first).into());
        }
        let buffer = taken_back(completion, self.marks.sectors() * SECTOR_BYTES as u64)?;
        match phase {
            Phase::Write => self.marks.written(slot.first, seed),
            Phase::Read => {
                if let Err(byte) = pattern::check(seed, slot.first, &buffer.to_vec()) {
                    return Err(format!("byte {byte} after sector {} is not as it was written", slot.first).into());
                }
            }
        }
        slot.buffer = Some(buffer);
        Ok(number)
    }
}

/// Sectors of each request. A part is a multiple of it.
pub(super) const fn sectors_of_request(block_sectors: u64) -> u64 {
    let sectors = BYTES / SECTOR_BYTES as u64;
    if block_sectors > sectors {
        block_sectors
    } else {
        sectors
    }
}
