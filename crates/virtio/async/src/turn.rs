//! What an operation holds: the head of the line, and slots. All of it is given back when the operation is dropped.

use core::future::poll_fn;
use core::mem;
use core::task::{Context, Poll};

use maitake_sync::mutex::MutexGuard;
use mutex::ScopedRawMutex;
use virtio_bounce::{BounceBlock, BounceOr};
use virtio_core::{DmaSegments, Transport};

use crate::slots::{Access, Done, SlotId, SlotRequest};
use crate::state::{Refusal, State};
use crate::wake::Registration;
use crate::{AsyncDisk, Error};

/// The head of the line of operations that submit. Others wait behind it, in the order in which they came.
pub(crate) struct Turn<'d, M, T, const N: usize, const BLOCKS: usize, B>
where
    M: ScopedRawMutex,
    T: Transport,
    B: DmaSegments,
{
    disk: &'d AsyncDisk<M, T, N, BLOCKS, B>,
    /// The task may be the one that is woken when there is room.
    waits: bool,
    // The next one in the line gets it when this is dropped.
    _place: MutexGuard<'d, (), M>,
}

impl<'d, M, T, const N: usize, const BLOCKS: usize, B> Turn<'d, M, T, N, BLOCKS, B>
where
    M: ScopedRawMutex,
    T: Transport,
    B: DmaSegments,
{
    pub(crate) fn new(disk: &'d AsyncDisk<M, T, N, BLOCKS, B>, place: MutexGuard<'d, (), M>) -> Self {
        Self {
            disk,
            waits: false,
            _place: place,
        }
    }

    fn poll<R>(
        &mut self,
        task: &mut Registration<'_>,
        look: impl FnOnce(&mut State<T, N, BLOCKS, B>, &mut Registration<'_>) -> Poll<R>,
    ) -> Poll<R> {
        task.prepare();
        let answer = self.disk.with(|state| look(state, task));
        self.waits = answer.is_pending();
        answer
    }

    /// A slot, and a bounce buffer if it `needs_block`.
    pub(crate) fn poll_room(
        &mut self,
        access: &Access,
        needs_block: bool,
        task: &mut Registration<'_>,
    ) -> Poll<Result<Room<'d, M, T, N, BLOCKS, B>, Error>> {
        let disk = self.disk;
        let room = self.poll(task, |state, task| state.poll_room(access, needs_block, task));
        room.map_ok(|(id, block)| (Slot { disk, id }, block))
    }

    /// Submits what was prepared in `slot`.
    pub(crate) fn poll_submit(
        &mut self,
        slot: &Slot<'d, M, T, N, BLOCKS, B>,
        task: &mut Registration<'_>,
    ) -> Poll<Result<(), Refusal<B>>> {
        self.poll(task, |state, task| state.poll_submit(slot.id, task))
    }

    /// Waits until nothing in flight is in the way of `access`.
    pub(crate) async fn clear(&mut self, access: &Access) -> Result<(), Error> {
        poll_fn(|context| self.poll(&mut registration(context), |state, task| state.poll_clear(access, task))).await
    }

    /// [`poll_room`](Self::poll_room), waiting.
    pub(crate) async fn room(
        &mut self,
        access: &Access,
        needs_block: bool,
    ) -> Result<Room<'d, M, T, N, BLOCKS, B>, Error> {
        poll_fn(|context| self.poll_room(access, needs_block, &mut registration(context))).await
    }

    /// Sends what was prepared in `slot`.
    pub(crate) async fn send(&mut self, slot: &Slot<'d, M, T, N, BLOCKS, B>) -> Result<(), Refusal<B>> {
        poll_fn(|context| self.poll_submit(slot, &mut registration(context))).await?;
        self.disk.with(State::notify);
        Ok(())
    }
}

fn registration<'c>(context: &'c Context<'_>) -> Registration<'c> {
    Registration::new(context.waker())
}

impl<M, T, const N: usize, const BLOCKS: usize, B> Drop for Turn<'_, M, T, N, BLOCKS, B>
where
    M: ScopedRawMutex,
    T: Transport,
    B: DmaSegments,
{
    fn drop(&mut self) {
        if self.waits {
            drop(self.disk.with(State::take_head));
        }
    }
}

/// A slot, and a bounce buffer for it.
pub(crate) type Room<'d, M, T, const N: usize, const BLOCKS: usize, B> =
    (Slot<'d, M, T, N, BLOCKS, B>, Option<BounceBlock>);

/// A slot of an operation. If it is dropped while the device has the request, the buffer stays with the driver.
pub(crate) struct Slot<'d, M, T, const N: usize, const BLOCKS: usize, B>
where
    M: ScopedRawMutex,
    T: Transport,
    B: DmaSegments,
{
    disk: &'d AsyncDisk<M, T, N, BLOCKS, B>,
    id: SlotId,
}

impl<M, T, const N: usize, const BLOCKS: usize, B> Slot<'_, M, T, N, BLOCKS, B>
where
    M: ScopedRawMutex,
    T: Transport,
    B: DmaSegments,
{
    /// Puts a request there, to be submitted.
    pub(crate) fn prepare(&self, access: Access, request: impl FnOnce(SlotId) -> SlotRequest<B>) {
        let request = request(self.id);
        self.disk.with(|state| state.slots.prepare(self.id, request, access));
    }

    /// How the request has ended.
    pub(crate) fn poll_done(&self, task: &mut Registration<'_>) -> Poll<Result<Done<B>, Error>> {
        task.prepare();
        self.disk.with(|state| state.poll_done(self.id, task))
    }

    /// [`poll_done`](Self::poll_done), waiting.
    pub(crate) async fn done(&self) -> Result<Done<B>, Error> {
        poll_fn(|context| self.poll_done(&mut registration(context))).await
    }

    /// The operation needs neither the slot nor its bounce buffer any more.
    pub(crate) fn finish(self, buffer: Option<BounceOr<B>>) {
        self.disk.with(|state| state.finish(self.id, buffer));
        // Nothing is left to let go of.
        mem::forget(self);
    }
}

impl<M, T, const N: usize, const BLOCKS: usize, B> Drop for Slot<'_, M, T, N, BLOCKS, B>
where
    M: ScopedRawMutex,
    T: Transport,
    B: DmaSegments,
{
    fn drop(&mut self) {
        drop(self.disk.with(|state| state.let_go(self.id)));
    }
}
