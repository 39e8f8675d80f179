//! The load on one queue: every block of a part of the disk is written with its own mark and read back, again and again.

use alloc::format;
use alloc::vec::Vec;

use bare_image::disks::Transport;
use board_qemu_virt::{Ticks, Timebase, counters};
use guest_protocol::pattern;
use image_blk::options::SectorRange;
use virtio_blk::DeviceQueue;
use virtio_blk::proto::Sector;

use super::signal::Signal;
use crate::image::buffer::Buffer;
use crate::image::session::{CAPACITY, Completion, Failure, Request, taken_back};

/// Requests in flight at most.
const DEPTH: usize = 16;
/// Bytes of a request, if blocks are not larger.
const BYTES: u64 = 4096;
/// How long a completion may take.
const TIMEOUT_MILLIS: u64 = 10_000;

pub(super) type Queue = DeviceQueue<Transport, Buffer, usize, CAPACITY>;

/// A request that may be in flight.
struct Slot {
    /// `None` while the driver has it.
    buffer: Option<Buffer>,
    first: u64,
}

/// What a worker has done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) submitted: u64,
    /// Requests that came back with an answer.
    pub(super) completed: u64,
    /// The seed of the marks that the part holds. None: the part was not written to the end.
    pub(super) seed: Option<u64>,
}

/// The load on one queue.
pub(super) struct Worker {
    pub(super) queue: Queue,
    pub(super) signal: Signal,
    /// The sectors that this worker alone writes.
    pub(super) part: SectorRange,
    pub(super) done: Done,
    slots: Vec<Slot>,
    /// Sectors of a request.
    sectors: u64,
    timebase: Timebase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Write,
    Read,
}

impl Worker {
    pub(super) fn new(queue: Queue, signal: Signal, part: SectorRange, timebase: Timebase) -> Result<Self, Failure> {
        let sectors = sectors_of_request(queue.limits().block_sectors());
        let slot = |_| {
            let buffer = Buffer::allocate(sectors as usize * image_blk::SECTOR_BYTES)?;
            Ok(Slot {
                buffer: Some(buffer),
                first: 0,
            })
        };
        Ok(Self {
            slots: (0..DEPTH).map(slot).collect::<Result<_, Failure>>()?,
            queue,
            signal,
            part,
            done: Done::default(),
            sectors,
            timebase,
        })
    }

    /// Writes the part once and reads it back, and goes on with other marks until the deadline.
    pub(super) fn run(&mut self, seed: u64, deadline: Ticks) -> Result<(), Failure> {
        // Asks for an interrupt at the first completion. Nothing can have come yet.
        self.signal.start(&mut self.queue)?;
        for pass in 0.. {
            let seed = pattern::word(seed, pass, 0);
            self.done.seed = None;
            self.phase(Phase::Write, seed)?;
            self.done.seed = Some(seed);
            self.flush()?;
            self.phase(Phase::Read, seed)?;
            if counters::now() >= deadline {
                break;
            }
        }
        Ok(())
    }

    /// Does every request of the part once, many at a time.
    fn phase(&mut self, phase: Phase, seed: u64) -> Result<(), Failure> {
        let mut next = self.part.first;
        let mut in_flight = 0_usize;
        let mut free: Vec<usize> = (0..self.slots.len()).collect();
        while next < self.part.end() || in_flight > 0 {
            while next < self.part.end()
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
                self.queue.submit(request).map_err(|rejected| rejected.error)?;
                self.done.submitted += 1;
                in_flight += 1;
                next += self.sectors;
            }
            self.queue.notify();
            in_flight -= self.collect(phase, seed, &mut free)?;
        }
        Ok(())
    }

    /// Makes what was written durable. A device without a flush has no cache to flush.
    fn flush(&mut self) -> Result<(), Failure> {
        if !self.queue.limits().flush {
            return Ok(());
        }
        let deadline = counters::now().after(self.timebase.ticks_from_millis(TIMEOUT_MILLIS));
        self.queue
            .submit(Request::flush(0))
            .map_err(|rejected| rejected.error)?;
        self.done.submitted += 1;
        self.queue.notify();
        let mut done = None;
        while done.is_none() {
            self.signal
                .wait(&mut self.queue, deadline, |completion| done = Some(completion))?;
        }
        self.done.completed += 1;
        done.ok_or("no completion")?.result?;
        Ok(())
    }

    /// Waits for completions, and takes them. Returns how many there were, at least one.
    fn collect(&mut self, phase: Phase, seed: u64, free: &mut Vec<usize>) -> Result<usize, Failure> {
        let deadline = counters::now().after(self.timebase.ticks_from_millis(TIMEOUT_MILLIS));
        let (slots, bytes) = (&mut self.slots, self.sectors * image_blk::SECTOR_BYTES as u64);
        let mut wrong = None;
        let mut taken = 0;
        while taken == 0 {
            self.signal.wait(&mut self.queue, deadline, |completion| {
                taken += 1;
                match take_back(slots, completion, phase, seed, bytes) {
                    Ok(number) => free.push(number),
                    Err(failure) => wrong = Some(failure),
                }
            })?;
        }
        self.done.completed += taken as u64;
        wrong.map_or(Ok(taken), Err)
    }
}

/// Puts the buffer of a completed request back into its slot. Returns the number of the slot.
fn take_back(
    slots: &mut [Slot],
    completion: Completion,
    phase: Phase,
    seed: u64,
    bytes: u64,
) -> Result<usize, Failure> {
    let number = completion.token;
    let slot = slots.get_mut(number).ok_or("a completion without a request")?;
    if slot.buffer.is_some() {
        return Err(format!("the request of sector {} came back twice", slot.first).into());
    }
    let buffer = taken_back(completion, bytes)?;
    if phase == Phase::Read
        && let Err(byte) = pattern::check(seed, slot.first, &buffer.to_vec())
    {
        return Err(format!("byte {byte} after sector {} is not as it was written", slot.first).into());
    }
    slot.buffer = Some(buffer);
    Ok(number)
}

/// Sectors of each request. A part is a multiple of it.
pub(super) const fn sectors_of_request(block_sectors: u64) -> u64 {
    let sectors = BYTES / image_blk::SECTOR_BYTES as u64;
    if block_sectors > sectors {
        block_sectors
    } else {
        sectors
    }
}
