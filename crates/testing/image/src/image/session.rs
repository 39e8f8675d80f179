//! The disk in use: submitting, waiting with a limit, and starting over when the device has failed.

use core::fmt;

use board_qemu_virt::{DmaPool, Interrupts, Source, Ticks, Timebase, Wake, counters, println};
use heapless::Vec;
use image_blk::options::Completion as Mode;
use virtio_blk::proto::Sector;
use virtio_blk::{Answer, DeviceFault, Disk, DiskCounters, DiskOptions, InitError, IoError, SubmitError};
use virtio_core::{Dma, DmaBuffer, DmaError, DmaSlice};
use virtio_mmio::{MmioTransport, MmioWindow};

use super::buffer::{Buffer, VectorPlace};
use super::report::stop;

/// The largest queue the image has room for, in descriptors.
pub(crate) const CAPACITY: usize = 1024;

/// How long a completion may take. A virtual disk on a busy host can be slow; ten seconds is a hang.
const PATIENCE_MILLIS: u64 = 10_000;

pub(crate) type Transport = MmioTransport<MmioWindow>;
pub(crate) type BlkDisk = Disk<Transport, Buffer, u32, CAPACITY>;
pub(crate) type Request = virtio_blk::Request<Buffer, u32>;
pub(crate) type Rejected = virtio_blk::Rejected<Buffer, u32>;
pub(crate) type Completion = virtio_blk::Completion<Buffer, u32>;

/// How the session learns of completions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) timebase: Timebase,
    pub(crate) interrupts: Interrupts,
    /// The device's source; `None` to poll.
    pub(crate) source: Option<Source>,
}

impl Waiting {
    pub(crate) fn mode(&self) -> Mode {
        match self.source {
            Some(_) => Mode::Interrupts,
            None => Mode::Polled,
        }
    }

    fn deadline(&self) -> Ticks {
        counters::now().after(self.timebase.ticks_from_millis(PATIENCE_MILLIS))
    }
}

/// Why a request did not come to a good end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It was not taken.
    Submit(SubmitError),
    /// It was taken and failed.
    Io(IoError),
    /// It succeeded with another number of bytes than were asked for.
    Bytes { expected: u64, done: u64 },
    /// No completion came in time.
    TimedOut,
    /// The device broke the rules of the ring.
    Fault(DeviceFault),
    /// There is no memory for a buffer.
    Memory(DmaError),
    /// A completion came without its buffer, or with another one than it was submitted with.
    WrongBuffer,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submit(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Bytes { expected, done } => write!(f, "{done} of {expected} bytes were transferred"),
            Self::TimedOut => write!(f, "no completion within {} s", PATIENCE_MILLIS / 1000),
            Self::Fault(fault) => write!(f, "the device broke the rules: {fault}"),
            Self::Memory(error) => error.fmt(f),
            Self::WrongBuffer => f.write_str("a request came back without its buffer"),
        }
    }
}

impl From<DeviceFault> for Failure {
    fn from(fault: DeviceFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<DmaError> for Failure {
    fn from(error: DmaError) -> Self {
        Self::Memory(error)
    }
}

/// A live disk and everything needed to use it.
pub(crate) struct Session {
    /// `None` only while the device is being started again.
    disk: Option<BlkDisk>,
    options: DiskOptions,
    waiting: Waiting,
    dma: DmaPool,
    /// Free bytes before the disk was started.
    free_at_start: u64,
    /// Where the scattered buffer lies; `None` while a request uses it.
    pub(crate) vector: Option<&'static mut VectorPlace>,
}

impl Session {
    /// Starts the disk behind `transport`.
    pub(crate) fn start(
        transport: Transport,
        mut dma: DmaPool,
        options: DiskOptions,
        waiting: Waiting,
        vector: &'static mut VectorPlace,
    ) -> Result<Self, InitError> {
        let free_at_start = dma.free_bytes();
        let disk = BlkDisk::start(transport, &mut dma, &options).map_err(|failed| failed.error)?;
        let mut session = Self {
            disk: Some(disk),
            options,
            waiting,
            dma,
            free_at_start,
            vector: Some(vector),
        };
        session.arm();
        Ok(session)
    }

    /// With interrupts: asks for one at the next completion.
    fn arm(&mut self) {
        if let Some(source) = self.waiting.source {
            if self.waiting.interrupts.enable(source).is_err() {
                stop("init", "no-interrupt", &"the interrupt controller has no such source");
            }
            // Nothing was submitted, so nothing can come; a fault will be seen by the first request.
            let _ = self.disk().drain(|_| ());
        }
    }

    pub(crate) fn disk(&mut self) -> &mut BlkDisk {
        match &mut self.disk {
            Some(disk) => disk,
            None => stop("run", "no-disk", &"the disk is not started"),
        }
    }

    pub(crate) fn counters(&mut self) -> DiskCounters {
        self.disk().counters()
    }

    pub(crate) fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// Bytes of a block of the disk.
    pub(crate) fn block_bytes(&mut self) -> usize {
        self.disk().limits().block_bytes as usize
    }

    pub(crate) fn capacity(&mut self) -> u64 {
        self.disk().limits().capacity.get()
    }

    /// A buffer of `bytes` bytes at the start of a cache line.
    pub(crate) fn allocate(&mut self, bytes: usize) -> Result<DmaSlice, Failure> {
        self.allocate_at(0, bytes)
    }

    /// A buffer of `bytes` bytes, `offset` bytes behind the start of a cache line.
    pub(crate) fn allocate_at(&mut self, offset: usize, bytes: usize) -> Result<DmaSlice, Failure> {
        let all = offset.saturating_add(bytes);
        let buffer = DmaBuffer::allocate(&mut self.dma, all, 64)?;
        buffer.slice(offset, bytes).map_err(|buffer| {
            self.dma.release(buffer.into_region());
            Failure::Memory(DmaError::UnsupportedLayout)
        })
    }

    pub(crate) fn release(&mut self, slice: DmaSlice) {
        self.dma.release(slice.into_buffer().into_region());
    }

    /// Takes whatever buffer apart and frees it.
    pub(crate) fn discard_buffer(&mut self, buffer: Buffer) {
        match buffer {
            Buffer::One(slice) => self.release(slice),
            Buffer::Scattered(place) => {
                if let Some(vector) = place.take() {
                    vector.into_pieces().into_iter().for_each(|piece| self.release(piece));
                }
                self.vector = Some(place);
            }
        }
    }

    /// Waits until something is completed and hands it to `each`, with a limit on the waiting.
    pub(crate) fn wait(&mut self, mut each: impl FnMut(Completion)) -> Result<(), Failure> {
        let waiting = self.waiting;
        let deadline = waiting.deadline();
        let disk = self.disk();
        loop {
            let completions = match waiting.source {
                Some(source) => {
                    if waiting.interrupts.wait(source, Some(deadline)) == Wake::TimedOut {
                        return Err(Failure::TimedOut);
                    }
                    let seen = disk.on_interrupt(&mut each);
                    waiting.interrupts.unmask(source);
                    seen?.completions
                }
                None => {
                    let completions = disk.poll(&mut each)?;
                    if completions == 0 && counters::now() >= deadline {
                        return Err(Failure::TimedOut);
                    }
                    completions
                }
            };
            if completions > 0 {
                return Ok(());
            }
            core::hint::spin_loop();
        }
    }

    /// Follows up an interrupt that nobody is waiting for, such as one that announces a change of the disk's size.
    /// Whether there was one to tell of.
    pub(crate) fn attend(&mut self) -> bool {
        let waiting = self.waiting;
        let Some(source) = waiting.source.filter(|&source| waiting.interrupts.take(source)) else {
            return false;
        };
        let mut told = false;
        // Nothing is in flight here, so nothing can be completed; a fault is seen by the next request.
        if let Ok(seen) = self.disk().on_interrupt(|_| ())
            && let Some(change) = seen.config
            && let Some(before) = change.resized_from
        {
            println!(
                "\nthe disk has changed from {before} to {} sectors",
                change.limits.capacity
            );
            told = true;
        }
        waiting.interrupts.unmask(source);
        told
    }

    /// Does one request and waits for it. The buffer comes back if the request got that far.
    pub(crate) fn run(&mut self, request: Request) -> Result<Completion, Failure> {
        if let Err(rejected) = self.disk().submit(request) {
            return Err(self.rejected(rejected));
        }
        self.disk().notify();
        let mut done = None;
        while done.is_none() {
            self.wait(|completion| done = Some(completion))?;
        }
        match done {
            Some(completion) => Ok(completion),
            None => Err(Failure::TimedOut),
        }
    }

    /// Frees what a rejected request brought back.
    pub(crate) fn rejected(&mut self, rejected: Rejected) -> Failure {
        if let (Some(buffer), _) = rejected.request.into_parts() {
            self.discard_buffer(buffer);
        }
        Failure::Submit(rejected.error)
    }

    /// Does one request that carries data, and checks that all of it was transferred.
    pub(crate) fn transfer(&mut self, request: Request, bytes: u64) -> Result<Buffer, Failure> {
        let done = self.run(request)?;
        let outcome = check(&done, bytes);
        match (done.buffer, outcome) {
            (Some(buffer), Ok(())) => Ok(buffer),
            (Some(buffer), Err(failure)) => {
                self.discard_buffer(buffer);
                Err(failure)
            }
            (None, outcome) => Err(outcome.err().unwrap_or(Failure::WrongBuffer)),
        }
    }

    /// Fills `slice` from `first` on.
    pub(crate) fn read(&mut self, first: u64, slice: DmaSlice) -> Result<DmaSlice, Failure> {
        let bytes = slice.len() as u64;
        let request = Request::read(Sector(first), Buffer::One(slice), 0);
        let buffer = self.transfer(request, bytes)?;
        self.one(buffer)
    }

    /// Writes `slice` to `first` and after it.
    pub(crate) fn write(&mut self, first: u64, slice: DmaSlice) -> Result<DmaSlice, Failure> {
        let bytes = slice.len() as u64;
        let request = Request::write(Sector(first), Buffer::One(slice), 0);
        let buffer = self.transfer(request, bytes)?;
        self.one(buffer)
    }

    /// The slice of a buffer that is one.
    pub(crate) fn one(&mut self, buffer: Buffer) -> Result<DmaSlice, Failure> {
        match buffer {
            Buffer::One(slice) => Ok(slice),
            other => {
                self.discard_buffer(other);
                Err(Failure::WrongBuffer)
            }
        }
    }

    /// Does one request without data.
    pub(crate) fn command(&mut self, request: Request) -> Result<Answer, Failure> {
        self.run(request)?.result.map_err(Failure::Io)
    }

    /// Makes everything written so far durable. A device without a flush has no cache to flush.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        match self.command(Request::flush(0)) {
            Ok(_) | Err(Failure::Submit(SubmitError::Unsupported)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Starts the device again if it is in a state that only this ends: requests that never came back, or a fault. Tells
    /// of it, and returns whether it was so.
    pub(crate) fn recover(&mut self) -> bool {
        let queue = self.disk().queue();
        if queue.in_flight() == 0 && queue.fault().is_none() {
            return false;
        }
        println!("the device is stuck; its state:");
        self.dump();
        let aborted = self.restart();
        println!("the device was started again, {aborted} requests were aborted, counting starts anew");
        true
    }

    /// Shuts the device down and starts it again. Returns how many requests came back aborted.
    ///
    /// The run ends here if the device does not come up again.
    pub(crate) fn restart(&mut self) -> usize {
        let Some(disk) = self.disk.take() else { return 0 };
        let (transport, aborted) = self.stop_disk(disk);
        match BlkDisk::start(transport, &mut self.dma, &self.options) {
            Ok(disk) => self.disk = Some(disk),
            Err(failed) => stop("run", "no-restart", &failed.error),
        }
        self.arm();
        aborted
    }

    fn stop_disk(&mut self, disk: BlkDisk) -> (Transport, usize) {
        let mut aborted: Vec<Buffer, CAPACITY> = Vec::new();
        let mut requests = 0;
        let outcome = disk.shut_down(&mut self.dma, |completion| {
            requests += usize::from(completion.result == Err(IoError::Aborted));
            if let Some(buffer) = completion.buffer {
                // There are never more requests than the queue has places.
                let _ = aborted.push(buffer);
            }
        });
        aborted.into_iter().for_each(|buffer| self.discard_buffer(buffer));
        match outcome {
            Ok((transport, _)) => (transport, requests),
            Err((timeout, _)) => stop("run", "no-reset", &timeout),
        }
    }

    /// Shuts the disk down for good. Returns how many requests were still out, and how many bytes of DMA memory did not
    /// come back.
    pub(crate) fn shut_down(&mut self) -> (usize, u64) {
        let aborted = match self.disk.take() {
            Some(disk) => self.stop_disk(disk).1,
            None => 0,
        };
        if let Some(source) = self.waiting.source {
            self.waiting.interrupts.disable(source);
        }
        (aborted, self.free_at_start.saturating_sub(self.dma.free_bytes()))
    }

    /// Prints registers and queue state.
    fn dump(&mut self) {
        println!("{}", self.disk().dump());
    }
}

/// Whether a completion is a success that transferred `bytes`.
pub(crate) fn check(done: &Completion, bytes: u64) -> Result<(), Failure> {
    done.result.map_err(Failure::Io)?;
    if done.bytes == bytes {
        Ok(())
    } else {
        Err(Failure::Bytes {
            expected: bytes,
            done: done.bytes,
        })
    }
}
