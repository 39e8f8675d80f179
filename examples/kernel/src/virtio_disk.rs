//! The driver: a disk behind a lock. Each hart has a slot with a buffer, so as many requests are in flight as harts wait for theirs.

use support::harts::{self, HARTS};
use virtio_blk::proto::Sector;
use virtio_blk::{Completion, DeviceFault, Disk, DiskOptions, InitError, Request};
use virtio_core::{Dma, DmaBuffer, DmaSlice, InterruptSource, PollLimit};
use virtio_mmio::{MmioTransport, MmioWindow};

use crate::block::{BlockDevice, Error};
use crate::lock::Lock;

/// Bytes of the buffer of a slot. More is several requests, one after the other.
const BUFFER_BYTES: usize = 4096;
const BUFFER_SECTORS: usize = BUFFER_BYTES / 512;

/// The token of a request is the number of its slot, which is that of the hart that waits for it.
type Inner = Disk<MmioTransport<MmioWindow>, DmaSlice, usize, 16>;

pub(crate) struct VirtioDisk {
    line: u32,
    sectors: u64,
    state: Lock<State>,
}

struct State {
    disk: Inner,
    slots: [Slot; HARTS],
    /// Nothing comes back any more. The device may keep the memory of requests in flight.
    fault: Option<DeviceFault>,
}

/// What a hart has of the disk.
#[derive(Default)]
struct Slot {
    /// `None` while a request has it.
    buffer: Option<DmaSlice>,
    /// The answer that the hart waits for.
    done: Option<Completion<DmaSlice, usize>>,
}

impl VirtioDisk {
    /// Starts a disk, which from then on interrupts by its line.
    pub(crate) fn start(device: MmioTransport<MmioWindow>, line: u32, dma: &mut impl Dma) -> Result<Self, InitError> {
        let (options, mut wait) = (DiskOptions::default(), PollLimit::default());
        let disk = Inner::start(device, dma, &options, &mut wait).map_err(|failed| failed.error)?;
        let mut state = State {
            disk,
            slots: Default::default(),
            fault: None,
        };
        for slot in &mut state.slots {
            slot.buffer = DmaBuffer::allocate(dma, BUFFER_BYTES, 512)?.slice(0, BUFFER_BYTES).ok();
        }
        state.fault = state.disk.drain(drop).err();
        Ok(Self {
            line,
            sectors: state.disk.limits().capacity.get(),
            state: Lock::new(state),
        })
    }

    /// Takes the buffer of this hart for so many bytes. The calls of a hart come one after the other, so it is there, unless a device that
    /// is broken has kept it.
    fn take_buffer(&self, bytes: usize) -> Result<DmaSlice, Error> {
        let buffer = self.state.with(|state| state.slots[harts::this_hart()].buffer.take());
        let mut buffer = buffer.ok_or(Error::NoBuffer)?;
        buffer.reslice(0, bytes);
        Ok(buffer)
    }

    fn give_buffer_back(&self, buffer: Option<DmaSlice>) {
        self.state.with(|state| state.slots[harts::this_hart()].buffer = buffer);
    }

    /// Carries out a request of this hart, which sleeps until it is done. Returns its buffer, too.
    fn run(&self, request: Request<DmaSlice, usize>) -> (Option<DmaSlice>, Result<(), Error>) {
        let submitted = self.state.with(|state| {
            let submitted = state.disk.submit(request);
            state.disk.notify();
            submitted
        });
        if let Err(rejected) = submitted {
            return (rejected.request.into_parts().0, Err(rejected.error.into()));
        }
        loop {
            // Interrupts are off for the look and the sleep, so no wake-up is lost between them.
            let answer = riscv::interrupt::free(|| {
                let answer =
                    self.state.with(
                        |state| match (state.slots[harts::this_hart()].done.take(), state.fault) {
                            (Some(done), _) => Some((done.buffer, done.result.map(drop).map_err(Error::from))),
                            (None, Some(fault)) => Some((None, Err(fault.into()))),
                            (None, None) => None,
                        },
                    );
                if answer.is_none() {
                    harts::sleep();
                }
                answer
            });
            if let Some(answer) = answer {
                return answer;
            }
        }
    }
}

impl BlockDevice for VirtioDisk {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&self, sector: u64, memory: &mut [u8]) -> Result<(), Error> {
        for (place, part) in (sector..).step_by(BUFFER_SECTORS).zip(memory.chunks_mut(BUFFER_BYTES)) {
            let buffer = self.take_buffer(part.len())?;
            let (buffer, result) = self.run(Request::read(Sector(place), buffer, harts::this_hart()));
            if let (Some(buffer), Ok(())) = (&buffer, &result) {
                part.copy_from_slice(buffer);
            }
            self.give_buffer_back(buffer);
            result?;
        }
        Ok(())
    }

    fn write(&self, sector: u64, memory: &[u8]) -> Result<(), Error> {
        for (place, part) in (sector..).step_by(BUFFER_SECTORS).zip(memory.chunks(BUFFER_BYTES)) {
            let mut buffer = self.take_buffer(part.len())?;
            buffer.copy_from_slice(part);
            let (buffer, result) = self.run(Request::write(Sector(place), buffer, harts::this_hart()));
            self.give_buffer_back(buffer);
            result?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        self.run(Request::flush(harts::this_hart())).1
    }

    fn on_interrupt(&self, line: u32) {
        if line != self.line {
            return;
        }
        self.state.with(|state| {
            let State { disk, slots, fault } = state;
            let seen = disk.on_interrupt(InterruptSource::Line, |done| {
                let hart = done.token;
                slots[hart].done = Some(done);
                harts::wake(hart);
            });
            if let Err(error) = seen {
                *fault = Some(error);
                (0..HARTS).for_each(harts::wake);
            }
        });
    }
}
