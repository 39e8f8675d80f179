//! A disk that many tasks share.

use core::fmt;
use core::task::Waker;

use heapless::Vec;
use maitake_sync::Mutex as Line;
use mutex::{BlockingMutex, ConstInit, ScopedRawMutex};
use virtio_blk::{ConfigChange, Disk, DiskCounters, Interrupt, Limits, Liveness, Request};
use virtio_bounce::{BounceOr, BouncePool};
use virtio_core::{ConfigError, Dma, DmaBuffer, DmaSegments, InterruptSource, ResetError, Transport, Wait};

use crate::slots::SlotId;
use crate::state::State;
use crate::{AsyncBlockIo, Error, Sector, SectorRange};

/// The disk below an [`AsyncDisk`], to be started as any other.
pub type BounceDisk<T, const N: usize, B = DmaBuffer> = Disk<T, BounceOr<B>, SlotId, N>;

/// How many wakers are called between two looks at what is shared.
const WAKERS: usize = 8;

/// A disk that is read and written by `async fn`s, of any executor and by any number of tasks: see [`AsyncBlockIo`].
///
/// * `M` is the lock: [`CriticalSectionRawMutex`](mutex::raw_impls::cs::CriticalSectionRawMutex) where an interrupt handler shares the
///   disk, [`LocalRawMutex`](mutex::raw_impls::local::LocalRawMutex) on one thread, or one of the system by
///   [`ScopedRawMutex`]. It is held for as long as a request is put into the ring or taken out of it, and not while data
///   is copied, a waker called or a device reset;
/// * `T` is the transport;
/// * `N` is the capacity of the queue, as of [`Disk`], and `BLOCKS` that of the pool. A transfer that is larger than a bounce buffer is
///   several requests, as many of them in flight as there are bounce buffers;
/// * `B` is the type of DMA memory for transfers without a copy.
///
/// # Completions
///
/// Something has to look at the device: [`on_interrupt`](Self::on_interrupt) from the interrupt handler, or [`poll`](Self::poll) now and
/// then. Either wakes the tasks whose requests are done, and the one that waits for room.
///
/// # Fairness
///
/// Operations that need a slot, a bounce buffer or room in the ring wait in a line, and the first to come is the first to be served. A
/// large transfer goes to the end of the line after it has sent what there was room for.
///
/// An operation that has begun has to be polled when its task is woken, or dropped. One that is kept and not polled any more keeps its place
/// and its bounce buffers, for which others may wait.
///
/// # Dropping an operation
///
/// The device never gets memory that the caller gets back. A bounce buffer that it still has goes to the pool when it is done, a buffer that
/// was given away to [`take_late_buffer`](Self::take_late_buffer). A dropped write may still be carried out, all of it, a part or nothing;
/// operations on the same sectors that come later wait until the device is done with it, so it does not overtake them.
///
/// A disk that is dropped leaks its memory, because the device may be using it.
pub struct AsyncDisk<M: ScopedRawMutex, T: Transport, const N: usize, const BLOCKS: usize, B = DmaBuffer> {
    state: BlockingMutex<M, State<T, N, BLOCKS, B>>,
    /// The line of operations that submit.
    pub(crate) line: Line<(), M>,
    /// Bytes of a bounce buffer.
    pub(crate) block_bytes: usize,
}

impl<M: ScopedRawMutex + ConstInit, T: Transport, const N: usize, const BLOCKS: usize> AsyncDisk<M, T, N, BLOCKS> {
    /// Makes one of a disk that was just started and a pool of bounce buffers. It is polled at first.
    ///
    /// A bounce buffer has at least one block of the disk. Two of them keep the device busy while the CPU copies.
    pub fn new(disk: BounceDisk<T, N>, pool: BouncePool<BLOCKS>) -> Self {
        Self::with_buffers(disk, pool)
    }
}

impl<M: ScopedRawMutex, T: Transport, const N: usize, const BLOCKS: usize, B: DmaSegments>
    AsyncDisk<M, T, N, BLOCKS, B>
{
    /// [`new`](AsyncDisk::new) with another type of DMA memory for transfers without a copy.
    pub fn with_buffers(disk: BounceDisk<T, N, B>, pool: BouncePool<BLOCKS>) -> Self
    where
        M: ConstInit,
    {
        Self {
            block_bytes: pool.block_bytes(),
            state: BlockingMutex::new(State::new(disk, pool)),
            line: Line::new_with_raw_mutex((), M::INIT),
        }
    }

    /// Works on what is shared, and wakes those whose turn it is then.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut State<T, N, BLOCKS, B>) -> R) -> R {
        let (answer, mut is_due) = self.state.with_lock(|state| (work(state), state.has_due()));
        while is_due {
            let mut wakers = Vec::<_, WAKERS>::new();
            is_due = self.state.with_lock(|state| {
                state.take_due(&mut wakers);
                state.has_due()
            });
            wakers.into_iter().for_each(Waker::wake);
        }
        answer
    }

    /// Has the device interrupt when requests are done. Call [`on_interrupt`](Self::on_interrupt) in the handler.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`]; interrupts are asked for all the same.
    pub fn listen(&self) -> Result<(), Error> {
        self.with(|state| state.listen(true))
    }

    /// Asks the device not to interrupt any more.
    pub fn stop_listening(&self) {
        // Looks at nothing that can fail.
        let _ = self.with(|state| state.listen(false));
    }

    /// Follows an interrupt by `source` up: wakes the tasks whose requests are done, takes note of changes of the configuration,
    /// acknowledges.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`] if the device broke the rules of the ring or is gone: every operation ends with it. [`Error::needs_restart`] of a
    /// stopped disk: nothing was done, and the interrupt is not acknowledged.
    pub fn on_interrupt(&self, source: InterruptSource) -> Result<Interrupt, Error> {
        self.with(|state| state.on_interrupt(source))
    }

    /// Looks whether requests are done, and wakes their tasks. Returns how many there were. For a device that is polled.
    ///
    /// # Errors
    ///
    /// Those of [`on_interrupt`](Self::on_interrupt).
    pub fn poll(&self) -> Result<u32, Error> {
        self.with(State::poll)
    }

    /// Whether the device is still alive, by one register read; `None` if the disk is stopped. If it is not, every operation ends with
    /// [`Error::NotLive`].
    ///
    /// A device that dies may neither answer nor interrupt, so ask after a time-out.
    pub fn liveness(&self) -> Option<Liveness> {
        self.with(State::liveness)
    }

    /// Reads the configuration again, as after the host has resized the disk; `None` if the disk is stopped. With interrupts that
    /// happens by itself.
    ///
    /// # Errors
    ///
    /// See [`Disk::refresh_config`].
    pub fn refresh_config(&self) -> Option<Result<ConfigChange, ConfigError>> {
        self.with(State::refresh_config)
    }

    /// Looks at the disk below, for instance at its counters; `None` if the disk is stopped. The lock is held meanwhile.
    pub fn inspect<R>(&self, look: impl FnOnce(&BounceDisk<T, N, B>) -> R) -> Option<R> {
        self.state.with_lock(|state| state.disk().map(look))
    }

    /// Reads into the buffer in `place` from sector `first` on, without a copy. Its length is whole blocks.
    ///
    /// The buffer is taken out when its request is made, and is there again when the operation is over. If the operation is dropped
    /// or the device dies in between, the device has it, `place` is empty, and [`take_late_buffer`](Self::take_late_buffer)
    /// gives it later.
    ///
    /// # Errors
    ///
    /// See [`Error`]. What is in the buffer then is undefined. An empty `place` is nothing to transfer.
    pub async fn read_buffer(&self, first: Sector, place: &mut Option<B>) -> Result<(), Error> {
        self.run_buffer(first, place, Request::read, false).await
    }

    /// Writes the buffer in `place` to sector `first` and after it, without a copy, as [`read_buffer`](Self::read_buffer).
    ///
    /// # Errors
    ///
    /// Those of [`read_buffer`](Self::read_buffer).
    pub async fn write_buffer(&self, first: Sector, place: &mut Option<B>) -> Result<(), Error> {
        self.run_buffer(first, place, Request::write, true).await
    }

    /// The buffer of an operation that was dropped or ended before the device was done with it, once it is. Looks at the device, and does
    /// not wait.
    ///
    /// A late buffer keeps a slot until it is taken. If all slots are kept like that, operations end with [`Error::BufferWaiting`].
    pub fn take_late_buffer(&self) -> Option<B> {
        self.with(|state| {
            // If the device is broken, `stop` gets it.
            let _ = state.poll();
            let late = state.slots.take_late();
            if late.is_some() {
                state.room_has_changed();
            }
            late
        })
    }

    /// Resets the device and gets everything back from it. Operations end with an error, and those to come as well, until the disk is
    /// [started again](Self::resume). Returns the transport, on which a disk can be started, and the counters; or `None`, if the
    /// disk is stopped already, or another call is stopping it.
    ///
    /// `wait` is asked between two looks at the status, as for [`Disk::shut_down`]. The lock is not held meanwhile. Keep the interrupt of the
    /// device away from its handler until the reset is over, at the interrupt controller: a disk in reset cannot acknowledge it.
    ///
    /// # Errors
    ///
    /// [`ResetError::TimedOut`] if `wait` gave up. The device may still be using its memory, and nothing is lost. Try again later.
    pub fn stop(
        &self,
        dma: &mut (impl Dma + ?Sized),
        wait: &mut dyn Wait,
    ) -> Result<Option<(T, DiskCounters)>, ResetError> {
        let Some(disk) = self.with(State::take_disk) else {
            return Ok(None);
        };
        let complete = |done| self.with(|state| state.complete(done));
        match disk.shut_down(dma, wait, complete) {
            Ok(parts) => {
                self.with(|state| state.end_stop(None));
                Ok(Some(parts))
            }
            Err((error, disk)) => {
                self.with(|state| state.end_stop(Some(disk)));
                Err(error)
            }
        }
    }

    /// Goes on with a disk that was just started, after a [`stop`](Self::stop). Interrupts are asked for if they were before.
    ///
    /// # Errors
    ///
    /// The disk comes back if this one was not stopped, or its reset is not over.
    #[expect(
        clippy::result_large_err,
        reason = "the disk must not be lost, and there is no heap to box it on"
    )]
    pub fn resume(&self, disk: BounceDisk<T, N, B>) -> Result<(), BounceDisk<T, N, B>> {
        self.with(|state| state.resume(disk))
    }

    /// The pool of a disk that is [stopped](Self::stop), for instance to [release](BouncePool::release) it.
    ///
    /// # Errors
    ///
    /// The disk comes back if it is not stopped, or if there are late buffers.
    #[expect(
        clippy::result_large_err,
        reason = "the disk must not be lost, and there is no heap to box it on"
    )]
    pub fn into_pool(self) -> Result<BouncePool<BLOCKS>, Self> {
        if self
            .state
            .with_lock(|state| state.disk().is_some() || state.slots.has_late())
        {
            return Err(self);
        }
        Ok(self.state.into_inner().pool)
    }

    pub(crate) fn limits_now(&self) -> Limits {
        self.state.with_lock(|state| state.limits())
    }
}

impl<M, T, const N: usize, const BLOCKS: usize, B> AsyncBlockIo for AsyncDisk<M, T, N, BLOCKS, B>
where
    M: ScopedRawMutex,
    T: Transport,
    B: DmaSegments,
{
    fn limits(&self) -> Limits {
        self.limits_now()
    }

    async fn read(&self, first: Sector, memory: &mut [u8]) -> Result<(), Error> {
        self.transfer_blocks(first, crate::transfer::Memory::Read(memory)).await
    }

    async fn write(&self, first: Sector, memory: &[u8]) -> Result<(), Error> {
        self.transfer_blocks(first, crate::transfer::Memory::Write(memory))
            .await
    }

    async fn read_bytes(&self, offset: u64, memory: &mut [u8]) -> Result<(), Error> {
        let spans = self.spans(&self.limits_now(), offset, memory.len())?;
        self.transfer(spans, crate::transfer::Memory::Read(memory)).await
    }

    async fn write_bytes(&self, offset: u64, memory: &[u8]) -> Result<(), Error> {
        self.change_bytes(offset, memory).await
    }

    async fn flush(&self) -> Result<(), Error> {
        self.run_flush().await
    }

    async fn discard(&self, range: SectorRange) -> Result<(), Error> {
        self.run_discard(range).await
    }

    async fn write_zeroes(&self, range: SectorRange, may_unmap: bool) -> Result<(), Error> {
        self.run_write_zeroes(range, may_unmap).await
    }
}

impl<M: ScopedRawMutex, T: Transport, const N: usize, const BLOCKS: usize, B> fmt::Debug
    for AsyncDisk<M, T, N, BLOCKS, B>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncDisk")
            .field("block_bytes", &self.block_bytes)
            .finish_non_exhaustive()
    }
}
