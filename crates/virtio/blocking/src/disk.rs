//! A disk on which each operation ends before the call returns.

use core::fmt;

use virtio_blk::{ConfigChange, DiskCounters, IoError, Limits, Request};
use virtio_bounce::{BounceOr, BouncePool};
use virtio_core::{ConfigError, Dma, DmaBuffer, DmaSegments, ResetError, Transport, Wait};

use crate::engine::{Done, Engine};
use crate::transfer::Memory;
use crate::{BlockIo, BounceDisk, BufferError, Completions, Error, Place, Sector, SectorRange, WaitHook};

/// A disk that is read and written by calls which return when it is done: see [`BlockIo`].
///
/// * `T` is the transport, `W` the [hook](WaitHook) that waits;
/// * `N` is the capacity of the queue, as of [`Disk`](virtio_blk::Disk), and `BLOCKS` that of the pool. A transfer that is larger than a
///   bounce buffer is several requests, as many of them in flight as there are bounce buffers;
/// * `B` is the type of DMA memory for transfers without a copy.
///
/// An operation that is not answered in time leaves its requests with the device. They have bounce buffers, or a
/// buffer that was given away, and so nothing that the caller gets back. The next operation waits until they are back, so that no late
/// write overtakes it, and is not answered in time itself if they do not come. [`stop`](Self::stop) gets them back in any case.
///
/// A disk that is dropped leaks its memory, because the device may be using it.
pub struct BlockingDisk<T: Transport, W, const N: usize, const BLOCKS: usize, B = DmaBuffer> {
    pub(crate) engine: Engine<T, W, B, N>,
    pub(crate) pool: BouncePool<BLOCKS>,
    /// A buffer of the caller that came back after its operation.
    late: Option<B>,
}

/// What a stopped disk was made of, to start it again or to release.
pub struct Stopped<T, W, const BLOCKS: usize, B = DmaBuffer> {
    /// The transport, on which a disk can be started again.
    pub transport: T,
    /// All bounce buffers.
    pub pool: BouncePool<BLOCKS>,
    /// The hook.
    pub hook: W,
    /// What was counted.
    pub counters: DiskCounters,
    /// The buffer of an operation that was not answered in time.
    pub late_buffer: Option<B>,
}

impl<T: Transport, W: WaitHook, const N: usize, const BLOCKS: usize> BlockingDisk<T, W, N, BLOCKS> {
    /// Makes one of a disk that was just started and a pool of bounce buffers. It is polled at first.
    ///
    /// A bounce buffer has at least one block of the disk. Two of them keep the device busy while the CPU copies.
    pub fn new(disk: BounceDisk<T, N>, pool: BouncePool<BLOCKS>, hook: W) -> Self {
        Self::with_buffers(disk, pool, hook)
    }
}

impl<T: Transport, W: WaitHook, const N: usize, const BLOCKS: usize, B: DmaSegments> BlockingDisk<T, W, N, BLOCKS, B> {
    /// [`new`](BlockingDisk::new) with another type of DMA memory for transfers without a copy.
    pub fn with_buffers(disk: BounceDisk<T, N, B>, pool: BouncePool<BLOCKS>, hook: W) -> Self {
        Self {
            engine: Engine {
                disk,
                hook,
                completions: Completions::Polled,
            },
            pool,
            late: None,
        }
    }

    /// The disk below, to look at.
    pub fn disk(&self) -> &BounceDisk<T, N, B> {
        &self.engine.disk
    }

    /// The hook.
    pub fn hook_mut(&mut self) -> &mut W {
        &mut self.engine.hook
    }

    /// Chooses how completions are found.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`]; the choice is made all the same.
    pub fn set_completions(&mut self, completions: Completions) -> Result<(), Error> {
        self.engine.completions = completions;
        let Self { engine, pool, late } = self;
        match completions {
            Completions::Polled => engine.disk.suppress_interrupts(),
            Completions::Interrupts(_) => {
                engine.disk.drain(|done| put_away(done, pool, late))?;
            }
        }
        Ok(())
    }

    /// Reads the configuration again, as after the host has resized the disk. With [interrupts](Completions::Interrupts) that happens by
    /// itself.
    ///
    /// # Errors
    ///
    /// See [`Disk::refresh_config`](virtio_blk::Disk::refresh_config).
    pub fn refresh_config(&mut self) -> Result<ConfigChange, ConfigError> {
        self.engine.disk.refresh_config()
    }

    /// Reads into `buffer` from sector `first` on, without a copy. Its length is whole blocks.
    ///
    /// # Errors
    ///
    /// [`BufferError`] with the buffer, unless the device still has it.
    pub fn read_buffer(&mut self, first: Sector, buffer: B) -> Result<B, BufferError<B>> {
        self.run_buffer(buffer, |buffer| Request::read(first, buffer, Place::NONE))
    }

    /// Writes `buffer` to sector `first` and after it, without a copy. Its length is whole blocks.
    ///
    /// # Errors
    ///
    /// [`BufferError`] with the buffer, unless the device still has it.
    pub fn write_buffer(&mut self, first: Sector, buffer: B) -> Result<B, BufferError<B>> {
        self.run_buffer(buffer, |buffer| Request::write(first, buffer, Place::NONE))
    }

    fn run_buffer(
        &mut self,
        buffer: B,
        request: impl FnOnce(BounceOr<B>) -> Request<BounceOr<B>, Place>,
    ) -> Result<B, BufferError<B>> {
        if let Err(error) = self.settle() {
            return Err(BufferError::new(error, Some(buffer)));
        }
        // There is room for one.
        if self.late.is_some() {
            return Err(BufferError::new(Error::BufferWaiting, Some(buffer)));
        }
        let own = |buffer| match buffer {
            Some(BounceOr::Direct(buffer)) => Some(buffer),
            Some(BounceOr::Bounce(_)) | None => None,
        };
        match self.engine.run(request(BounceOr::Direct(buffer))) {
            Ok(done) => match (own(done.buffer), done.result) {
                (Some(buffer), Ok(_)) => Ok(buffer),
                (buffer, result) => Err(BufferError::new(result.err().unwrap_or(IoError::Aborted), buffer)),
            },
            Err(failed) => Err(BufferError::new(failed.error, own(failed.buffer))),
        }
    }

    /// The buffer of an operation that was not answered in time, once the device is done with it. Looks at the device, and does not wait.
    pub fn take_late_buffer(&mut self) -> Option<B> {
        let Self { engine, pool, late } = self;
        // If the device is broken, `stop` gets it.
        let _ = engine.disk.poll(|done| put_away(done, pool, late));
        late.take()
    }

    /// Whether the device still has requests of an operation that was not answered in time.
    pub fn is_settled(&self) -> bool {
        self.engine.is_idle()
    }

    /// Begins an operation: waits until the device has no requests of earlier ones.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::step`].
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        let Self { engine, pool, late } = self;
        engine.hook.begin();
        let mut watch = engine.watch();
        while !engine.is_idle() {
            engine.step(&mut watch, &mut |done| put_away(done, pool, late))?;
        }
        Ok(())
    }

    /// Carries out one request without data.
    fn run_plain(&mut self, request: Request<BounceOr<B>, Place>) -> Result<(), Error> {
        self.settle()?;
        let done = self.engine.run(request)?;
        done.result?;
        Ok(())
    }

    /// Resets the device, gets everything back, and takes the disk apart. The memory of the queue goes to `dma`, where it came from; that of
    /// the pool is for the next start, or for [`BouncePool::release`].
    ///
    /// `wait` is asked between two looks at the status, as for [`Disk::shut_down`](virtio_blk::Disk::shut_down).
    ///
    /// # Errors
    ///
    /// [`ResetError::TimedOut`] with the disk, if `wait` gave up: the device may still be using the memory. Try again later.
    #[expect(
        clippy::result_large_err,
        reason = "the disk must not be lost, and there is no heap to box it on"
    )]
    pub fn stop(
        self,
        dma: &mut (impl Dma + ?Sized),
        wait: &mut dyn Wait,
    ) -> Result<Stopped<T, W, BLOCKS, B>, (ResetError, Self)> {
        let Self {
            engine,
            mut pool,
            mut late,
        } = self;
        let Engine {
            disk,
            hook,
            completions,
        } = engine;
        match disk.shut_down(dma, wait, |done| put_away(done, &mut pool, &mut late)) {
            Ok((transport, counters)) => Ok(Stopped {
                transport,
                pool,
                hook,
                counters,
                late_buffer: late,
            }),
            Err((error, disk)) => {
                let engine = Engine {
                    disk,
                    hook,
                    completions,
                };
                Err((error, Self { engine, pool, late }))
            }
        }
    }
}

/// Takes back what a request had whose operation is over.
fn put_away<B, const BLOCKS: usize>(done: Done<B>, pool: &mut BouncePool<BLOCKS>, late: &mut Option<B>) {
    match done.buffer {
        // It is of this pool, as only this crate makes requests.
        Some(BounceOr::Bounce(block)) => drop(pool.put_back(block)),
        // Only one is given away at a time.
        Some(BounceOr::Direct(buffer)) => *late = Some(buffer),
        None => {}
    }
}

impl<T, W, const N: usize, const BLOCKS: usize, B> BlockIo for BlockingDisk<T, W, N, BLOCKS, B>
where
    T: Transport,
    W: WaitHook,
    B: DmaSegments,
{
    fn limits(&self) -> &Limits {
        self.engine.disk.limits()
    }

    fn read(&mut self, first: Sector, memory: &mut [u8]) -> Result<(), Error> {
        self.transfer_blocks(first, Memory::Read(memory))
    }

    fn write(&mut self, first: Sector, memory: &[u8]) -> Result<(), Error> {
        self.transfer_blocks(first, Memory::Write(memory))
    }

    fn read_bytes(&mut self, offset: u64, memory: &mut [u8]) -> Result<(), Error> {
        self.read_any(offset, memory)
    }

    fn write_bytes(&mut self, offset: u64, memory: &[u8]) -> Result<(), Error> {
        self.change_bytes(offset, memory)
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.limits().flush {
            self.run_plain(Request::flush(Place::NONE))
        } else {
            // Late writes count, too.
            self.settle()
        }
    }

    fn discard(&mut self, range: SectorRange) -> Result<(), Error> {
        self.run_plain(Request::discard(range, Place::NONE))
    }

    fn write_zeroes(&mut self, range: SectorRange, may_unmap: bool) -> Result<(), Error> {
        self.run_plain(Request::write_zeroes(range, may_unmap, Place::NONE))
    }
}

impl<T: Transport, W, const N: usize, const BLOCKS: usize, B> fmt::Debug for BlockingDisk<T, W, N, BLOCKS, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingDisk")
            .field("disk", &self.engine.disk)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
