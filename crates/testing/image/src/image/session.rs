//! The disk in use: submitting, waiting with a limit, and starting over when the device has failed.

use alloc::boxed::Box;
use alloc::format;
use core::error::Error;

use board_qemu_virt::{Interrupts, Source, Timebase, counters, println};
use virtio_blk::proto::Sector;
use virtio_blk::{Answer, Disk, DiskCounters, DiskOptions, InitError, IoError, Limits};
use virtio_mmio::{MmioTransport, MmioWindow};

use super::buffer::Buffer;
use bare_image::memory::DmaMemory;
use bare_image::report::stop;
use virtio_core::{InterruptSource, PollLimit};

/// The largest queue the image has room for, in descriptors.
pub(crate) const CAPACITY: usize = 1024;

/// How long a completion may take. A virtual disk on a busy host can be slow; ten seconds is a hang.
const TIMEOUT_MILLIS: u64 = 10_000;

pub(crate) type Transport = MmioTransport<MmioWindow>;
pub(crate) type BlkDisk = Disk<Transport, Buffer, usize, CAPACITY>;
pub(crate) type Request = virtio_blk::Request<Buffer, usize>;
pub(crate) type Completion = virtio_blk::Completion<Buffer, usize>;

/// Why a request or a test did not come to a good end.
pub(crate) type Failure = Box<dyn Error>;

/// How the session learns of completions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) timebase: Timebase,
    pub(crate) interrupts: Interrupts,
    /// The device's source; `None` to poll.
    pub(crate) source: Option<Source>,
}

/// A live disk and everything needed to use it.
pub(crate) struct Session {
    /// `None` only while the device is being started again, and after shutdown.
    disk: Option<Box<BlkDisk>>,
    options: DiskOptions,
    pub(crate) waiting: Waiting,
}

impl Session {
    /// Starts the disk on `transport`.
    pub(crate) fn start(transport: Transport, options: DiskOptions, waiting: Waiting) -> Result<Self, InitError> {
        let mut session = Self {
            disk: Some(start_disk(transport, &options)?),
            options,
            waiting,
        };
        session.enable_interrupt();
        Ok(session)
    }

    /// With interrupts: asks for one at the next completion.
    fn enable_interrupt(&mut self) {
        if let Some(source) = self.waiting.source {
            if !self.waiting.interrupts.enable(source) {
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

    pub(crate) fn limits(&mut self) -> Limits {
        *self.disk().limits()
    }

    pub(crate) fn block_bytes(&mut self) -> usize {
        self.limits().block_bytes as usize
    }

    pub(crate) fn counters(&mut self) -> DiskCounters {
        self.disk().counters()
    }

    /// Waits until at least one request is completed, with a limit on the waiting.
    pub(crate) fn wait(&mut self, mut each: impl FnMut(Completion)) -> Result<(), Failure> {
        let Waiting {
            timebase,
            interrupts,
            source,
        } = self.waiting;
        let deadline = counters::now().after(timebase.ticks_from_millis(TIMEOUT_MILLIS));
        let disk = self.disk();
        loop {
            let completions = match source {
                Some(source) => {
                    if !interrupts.wait(source, deadline) {
                        break;
                    }
                    let seen = disk.on_interrupt(InterruptSource::Line, &mut each);
                    interrupts.unmask(source);
                    seen?.completions
                }
                None => disk.poll(&mut each)?,
            };
            if completions > 0 {
                return Ok(());
            }
            if counters::now() >= deadline {
                break;
            }
        }
        Err(format!("no completion within {} s", TIMEOUT_MILLIS / 1000).into())
    }

    /// Serves an interrupt while no request is in flight, such as one that announces a change of the disk's size. Returns whether
    /// something was printed.
    pub(crate) fn serve_config_change(&mut self) -> bool {
        let interrupts = self.waiting.interrupts;
        let Some(source) = self.waiting.source.filter(|&source| interrupts.take(source)) else {
            return false;
        };
        // A fault is seen by the next request.
        let seen = self
            .disk()
            .on_interrupt(InterruptSource::Line, |_| ())
            .unwrap_or_default();
        interrupts.unmask(source);
        let Some((change, before)) = seen.config.and_then(|change| Some((change, change.resized_from?))) else {
            return false;
        };
        println!(
            "\nthe disk has changed from {before} to {} sectors",
            change.limits.capacity
        );
        true
    }

    /// Does one request and waits for it.
    pub(crate) fn run(&mut self, request: Request) -> Result<Completion, Failure> {
        self.disk().submit(request).map_err(|rejected| rejected.error)?;
        self.disk().notify();
        let mut done = None;
        while done.is_none() {
            self.wait(|completion| done = Some(completion))?;
        }
        done.ok_or_else(|| "no completion".into())
    }

    /// Fills `buffer` from `first` on.
    pub(crate) fn read(&mut self, first: u64, buffer: Buffer) -> Result<Buffer, Failure> {
        let bytes = buffer.len() as u64;
        taken_back(self.run(Request::read(Sector(first), buffer, 0))?, bytes)
    }

    /// Writes `buffer` to `first` and after it.
    pub(crate) fn write(&mut self, first: u64, buffer: Buffer) -> Result<Buffer, Failure> {
        let bytes = buffer.len() as u64;
        taken_back(self.run(Request::write(Sector(first), buffer, 0))?, bytes)
    }

    /// Does one request without data.
    pub(crate) fn command(&mut self, request: Request) -> Result<Answer, Failure> {
        Ok(self.run(request)?.result?)
    }

    /// Makes everything written so far durable. A device without a flush has no cache to flush.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        if self.limits().flush {
            self.command(Request::flush(0))?;
        }
        Ok(())
    }

    /// Starts the device again if it is in a state that only this ends: requests that never came back, or a fault. Returns
    /// whether it was so.
    pub(crate) fn recover(&mut self) -> bool {
        let queue = self.disk().queue();
        if queue.in_flight() == 0 && queue.fault().is_none() {
            return false;
        }
        println!("the device is stuck; its state:\n{}", self.disk().dump());
        let aborted = self.restart();
        println!("the device was started again, {aborted} requests were aborted, counting starts anew");
        true
    }

    /// Shuts the device down and starts it again. Returns how many requests were aborted. The run ends here if the device
    /// does not come up again.
    pub(crate) fn restart(&mut self) -> usize {
        let Some(disk) = self.disk.take() else { return 0 };
        let (transport, aborted) = stop_disk(disk);
        match start_disk(transport, &self.options) {
            Ok(disk) => self.disk = Some(disk),
            Err(error) => stop("run", "no-restart", &error),
        }
        self.enable_interrupt();
        aborted
    }

    /// Shuts the disk down for good. Returns how many requests were aborted.
    pub(crate) fn shut_down(&mut self) -> usize {
        let aborted = self.disk.take().map_or(0, |disk| stop_disk(disk).1);
        if let Some(source) = self.waiting.source {
            self.waiting.interrupts.disable(source);
        }
        aborted
    }
}

/// A disk has room for a thousand requests and is moved by value as it comes up and goes down. These two functions have the copies
/// on the stack for no longer than they run.
#[inline(never)]
fn start_disk(transport: Transport, options: &DiskOptions) -> Result<Box<BlkDisk>, InitError> {
    let disk =
        BlkDisk::start(transport, &mut DmaMemory, options, &mut PollLimit::default()).map_err(|failed| failed.error)?;
    Ok(Box::new(disk))
}

#[inline(never)]
fn stop_disk(disk: Box<BlkDisk>) -> (Transport, usize) {
    let mut aborted = 0;
    let outcome = disk.shut_down(&mut DmaMemory, &mut PollLimit::default(), |completion| {
        aborted += usize::from(completion.result == Err(IoError::Aborted));
    });
    match outcome {
        Ok((transport, _)) => (transport, aborted),
        Err((timeout, _)) => stop("run", "no-reset", &timeout),
    }
}

/// The buffer of a request that succeeded and transferred `bytes`.
pub(crate) fn taken_back(done: Completion, bytes: u64) -> Result<Buffer, Failure> {
    done.result?;
    if done.bytes != bytes {
        return Err(format!("{} of {bytes} bytes were transferred", done.bytes).into());
    }
    done.buffer
        .filter(|buffer| buffer.len() as u64 == bytes)
        .ok_or_else(|| "a request came back without its buffer".into())
}
