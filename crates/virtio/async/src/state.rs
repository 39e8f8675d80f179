//! What tasks and the interrupt handler share, under one lock.

use core::task::{Poll, Waker};

use heapless::Vec;
use virtio_blk::{Completion, ConfigChange, DeviceFault, Interrupt, Limits, Liveness, SubmitError};
use virtio_bounce::{BounceBlock, BounceOr, BouncePool};
use virtio_core::{ConfigError, DmaSegments, InterruptSource, Transport};

use crate::Error;
use crate::disk::BounceDisk;
use crate::slots::{Access, Done, SlotId, Slots};
use crate::wake::Registration;

pub(crate) struct State<T: Transport, const N: usize, const BLOCKS: usize, B> {
    /// Not there while the disk is stopped.
    disk: Option<BounceDisk<T, N, B>>,
    /// It is not there because it is being reset, and it comes back if that fails.
    is_stopping: bool,
    /// As the disk had them last.
    limits: Limits,
    pub(crate) pool: BouncePool<BLOCKS>,
    pub(crate) slots: Slots<B, N>,
    /// The task of the operation at the head of the line, if it waits for room.
    head: Option<Waker>,
    head_is_due: bool,
    /// Why nothing but a restart helps.
    end: Option<Error>,
    /// Interrupts are asked for.
    listens: bool,
}

/// What a request that was not taken leaves.
pub(crate) struct Refusal<B> {
    pub(crate) error: Error,
    pub(crate) buffer: Option<BounceOr<B>>,
}

impl<T: Transport, const N: usize, const BLOCKS: usize, B: DmaSegments> State<T, N, BLOCKS, B> {
    pub(crate) fn new(disk: BounceDisk<T, N, B>, pool: BouncePool<BLOCKS>) -> Self {
        Self {
            limits: *disk.limits(),
            disk: Some(disk),
            is_stopping: false,
            pool,
            slots: Slots::new(),
            head: None,
            head_is_due: false,
            end: None,
            listens: false,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.disk.as_ref().map_or(self.limits, |disk| *disk.limits())
    }

    /// Room for a request: a slot, and a bounce buffer if it `needs_block`, once nothing in flight is in its way. Only the operation at the
    /// head of the line asks, so what becomes free is for it.
    pub(crate) fn poll_room(
        &mut self,
        access: &Access,
        needs_block: bool,
        task: &mut Registration<'_>,
    ) -> Poll<Result<(SlotId, Option<BounceBlock>), Error>> {
        let room = self.room(access, needs_block);
        self.wait_at_head(room, task)
    }

    fn room(&mut self, access: &Access, needs_block: bool) -> Option<Result<(SlotId, Option<BounceBlock>), Error>> {
        if let Some(end) = self.end {
            return Some(Err(end));
        }
        if self.slots.is_all_late() {
            return Some(Err(Error::BufferWaiting));
        }
        if self.slots.conflicts(access) {
            return None;
        }
        if !needs_block {
            return Some(Ok((self.slots.take()?, None)));
        }
        let Some(block) = self.pool.take() else {
            // With no request anywhere, all blocks that there are were free.
            return self.slots.is_idle().then_some(Err(Error::NoBounceBuffer));
        };
        match self.slots.take() {
            Some(slot) => Some(Ok((slot, Some(block)))),
            None => {
                // It was just taken.
                let _ = self.pool.put_back(block);
                None
            }
        }
    }

    /// Whether everything that a request touches is free of what is in its way.
    pub(crate) fn poll_clear(&mut self, access: &Access, task: &mut Registration<'_>) -> Poll<Result<(), Error>> {
        let clear = match self.end {
            Some(end) => Some(Err(end)),
            None => (!self.slots.conflicts(access)).then_some(Ok(())),
        };
        self.wait_at_head(clear, task)
    }

    /// Submits the request that was prepared in `slot`. It waits at the head of the line if the ring has no room.
    pub(crate) fn poll_submit(&mut self, slot: SlotId, task: &mut Registration<'_>) -> Poll<Result<(), Refusal<B>>> {
        let submitted = self.submit(slot);
        self.wait_at_head(submitted, task)
    }

    fn submit(&mut self, slot: SlotId) -> Option<Result<(), Refusal<B>>> {
        // It was prepared by the operation that asks.
        let request = self.slots.depart(slot)?;
        let (error, request) = match (self.end, &mut self.disk) {
            (None, Some(disk)) => match disk.submit(request) {
                Ok(()) => return Some(Ok(())),
                Err(rejected) if rejected.error == SubmitError::QueueFull && disk.queue().in_flight() > 0 => {
                    self.slots.return_prepared(slot, rejected.request);
                    return None;
                }
                Err(rejected) => (rejected.error.into(), rejected.request),
            },
            (end, _) => (end.unwrap_or(Error::Refused(SubmitError::Stopped)), request),
        };
        self.slots.refuse(slot);
        let buffer = request.into_parts().0;
        Some(Err(Refusal { error, buffer }))
    }

    /// Has the task woken when anything changes that the head of the line can wait for.
    fn wait_at_head<R>(&mut self, answer: Option<R>, task: &mut Registration<'_>) -> Poll<R> {
        match answer {
            Some(answer) => {
                self.leave_head(task);
                Poll::Ready(answer)
            }
            None => {
                self.head_is_due = false;
                task.keep(&mut self.head);
                Poll::Pending
            }
        }
    }

    /// The operation at the head does not wait any more.
    pub(crate) fn leave_head(&mut self, task: &mut Registration<'_>) {
        self.head_is_due = false;
        task.clear(&mut self.head);
    }

    /// The operation at the head is dropped. Returns its waker, to be dropped.
    pub(crate) fn take_head(&mut self) -> Option<Waker> {
        self.head_is_due = false;
        self.head.take()
    }

    /// Lets the device know of what was submitted.
    pub(crate) fn notify(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.notify();
            if let Some(fault) = disk.queue().fault() {
                self.fail(fault.into());
            }
        }
    }

    /// How the request of `slot` has ended.
    pub(crate) fn poll_done(&mut self, slot: SlotId, task: &mut Registration<'_>) -> Poll<Result<Done<B>, Error>> {
        match (self.slots.take_done(slot, task), self.end) {
            (Some(done), _) => Poll::Ready(Ok(done)),
            (None, Some(end)) => Poll::Ready(Err(end)),
            (None, None) => Poll::Pending,
        }
    }

    /// The operation of `slot` is done with it, and with its block.
    pub(crate) fn finish(&mut self, slot: SlotId, buffer: Option<BounceOr<B>>) {
        if let Some(BounceOr::Bounce(block)) = buffer {
            // It is of this pool, as only this crate makes requests.
            let _ = self.pool.put_back(block);
        }
        self.slots.free(slot);
        self.room_has_changed();
    }

    /// The operation of `slot` was dropped. Returns its waker, to be dropped.
    pub(crate) fn let_go(&mut self, slot: SlotId) -> Option<Waker> {
        let waker = self.slots.let_go(slot, &mut self.pool);
        self.room_has_changed();
        waker
    }

    /// The operation at the head of the line looks again.
    pub(crate) fn room_has_changed(&mut self) {
        self.head_is_due = self.head.is_some();
    }

    /// Takes what the device is done with.
    pub(crate) fn poll(&mut self) -> Result<u32, Error> {
        let listens = self.listens;
        self.take(|disk, complete| {
            if listens {
                disk.drain(complete)
            } else {
                disk.poll(complete)
            }
        })
    }

    pub(crate) fn on_interrupt(&mut self, source: InterruptSource) -> Result<Interrupt, Error> {
        let seen = self.take(|disk, complete| disk.on_interrupt(source, complete))?;
        if let Some(change) = seen.config {
            self.after_config(Ok(change));
        }
        Ok(seen)
    }

    /// Takes requests that have come back, by `look`.
    fn take<R>(
        &mut self,
        look: impl FnOnce(
            &mut BounceDisk<T, N, B>,
            &mut dyn FnMut(Completion<BounceOr<B>, SlotId>),
        ) -> Result<R, DeviceFault>,
    ) -> Result<R, Error> {
        let Self { disk, slots, pool, .. } = self;
        let Some(disk) = disk else {
            return Err(Error::Refused(SubmitError::Stopped));
        };
        let before = disk.queue().returned();
        let seen = look(disk, &mut |done| slots.complete(done, pool));
        if disk.queue().returned() != before {
            self.room_has_changed();
        }
        seen.map_err(|fault| {
            self.fail(fault.into());
            fault.into()
        })
    }

    fn after_config(&mut self, read: Result<ConfigChange, ConfigError>) {
        match read {
            Ok(change) if change.needs_reset => self.fail(Error::NotLive(Liveness::NeedsReset)),
            Err(ConfigError::Gone) => self.fail(Error::NotLive(Liveness::Gone)),
            Ok(_) | Err(ConfigError::Unstable) => {}
        }
    }

    pub(crate) fn refresh_config(&mut self) -> Option<Result<ConfigChange, ConfigError>> {
        let read = self.disk.as_mut()?.refresh_config();
        self.after_config(read);
        Some(read)
    }

    pub(crate) fn liveness(&mut self) -> Option<Liveness> {
        let liveness = self.disk.as_ref()?.liveness();
        if !liveness.is_live() {
            self.fail(Error::NotLive(liveness));
        }
        Some(liveness)
    }

    pub(crate) fn listen(&mut self, listens: bool) -> Result<(), Error> {
        self.listens = listens;
        match &mut self.disk {
            Some(disk) if !listens => {
                disk.suppress_interrupts();
                Ok(())
            }
            Some(_) => self.poll().map(drop),
            None => Ok(()),
        }
    }

    /// Ends every operation with `error`, those to come as well, until the disk is started again.
    pub(crate) fn fail(&mut self, error: Error) {
        // The first is the cause.
        self.end.get_or_insert(error);
        self.slots.make_all_due();
        self.room_has_changed();
    }

    /// Takes the disk out, to be reset.
    pub(crate) fn take_disk(&mut self) -> Option<BounceDisk<T, N, B>> {
        let disk = self.disk.take()?;
        self.limits = *disk.limits();
        self.is_stopping = true;
        self.fail(Error::Refused(SubmitError::Stopped));
        Some(disk)
    }

    /// The reset is over. The disk comes back if it has failed.
    pub(crate) fn end_stop(&mut self, failed: Option<BounceDisk<T, N, B>>) {
        self.is_stopping = false;
        self.disk = failed;
    }

    /// The disk.
    pub(crate) fn disk(&self) -> Option<&BounceDisk<T, N, B>> {
        self.disk.as_ref()
    }

    /// Takes note of a request that came back from a reset.
    pub(crate) fn complete(&mut self, done: Completion<BounceOr<B>, SlotId>) {
        self.slots.complete(done, &mut self.pool);
    }

    /// Puts a disk in that was just started. It comes back if there is one, or one is being stopped.
    #[expect(
        clippy::result_large_err,
        reason = "the disk must not be lost, and there is no heap to box it on"
    )]
    pub(crate) fn resume(&mut self, disk: BounceDisk<T, N, B>) -> Result<(), BounceDisk<T, N, B>> {
        if self.disk.is_some() || self.is_stopping {
            return Err(disk);
        }
        self.disk = Some(disk);
        self.end = None;
        if self.listens {
            // A device that is broken already says so with the next look.
            let _ = self.poll();
        }
        Ok(())
    }

    pub(crate) fn has_due(&self) -> bool {
        self.head_is_due || self.slots.has_due()
    }

    /// Moves wakers that are to be called to `wakers`, as many as there is room for.
    pub(crate) fn take_due<const BATCH: usize>(&mut self, wakers: &mut Vec<Waker, BATCH>) {
        if core::mem::take(&mut self.head_is_due)
            && let Some(waker) = self.head.take()
        {
            let _ = wakers.push(waker);
        }
        self.slots.take_due(wakers);
    }
}
