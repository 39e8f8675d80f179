//! The slots: one for each request, from the operation that makes it to the one that takes its result.

use core::mem;
use core::ops::Range;
use core::task::Waker;

use heapless::Vec;
use virtio_blk::{Completion, IoError, Request};
use virtio_bounce::{BounceOr, BouncePool};
use virtio_core::DmaSegments;

use crate::wake::Registration;

/// Names the slot of a request: the token of the requests of this crate, which nothing else can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SlotId(u16);

/// What a request touches.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// From the first sector to the one after the last.
    pub(crate) sectors: Range<u64>,
    /// It writes to them, or discards them.
    pub(crate) changes: bool,
    /// It is a part of a change of less than a block, beside which nothing else may change that block.
    pub(crate) exclusive: bool,
}

impl Access {
    const NONE: Self = Self {
        sectors: 0..0,
        changes: false,
        exclusive: false,
    };

    fn overlaps(&self, other: &Self) -> bool {
        self.sectors.start < other.sectors.end && other.sectors.start < self.sectors.end
    }
}

/// A request with its buffer and its slot.
pub(crate) type SlotRequest<B> = Request<BounceOr<B>, SlotId>;

/// How a request has ended.
pub(crate) struct Done<B> {
    pub(crate) buffer: Option<BounceOr<B>>,
    pub(crate) result: Result<(), IoError>,
}

enum Phase<B> {
    Free,
    /// An operation has it, and the device has nothing.
    Taken,
    /// The request is ready and waits for room in the ring.
    Prepared(SlotRequest<B>),
    InFlight,
    /// In flight, and its operation was dropped.
    Abandoned,
    Done(Done<B>),
    /// The buffer of a dropped operation.
    Late(B),
}

struct Slot<B> {
    phase: Phase<B>,
    /// What the request touches, while the device has it.
    access: Access,
    waker: Option<Waker>,
    /// The waker is to be called.
    is_due: bool,
}

impl<B> Slot<B> {
    /// Whether no request that touches the same sectors may be sent.
    fn is_guarded(&self) -> bool {
        match self.phase {
            Phase::InFlight => self.access.exclusive,
            Phase::Abandoned => self.access.changes,
            Phase::Free | Phase::Taken | Phase::Prepared(_) | Phase::Done(_) | Phase::Late(_) => false,
        }
    }

    fn is_in_flight(&self) -> bool {
        matches!(self.phase, Phase::InFlight | Phase::Abandoned)
    }
}

/// All slots of a disk: as many as its queue can have requests in flight.
pub(crate) struct Slots<B, const N: usize> {
    slots: [Slot<B>; N],
    free: Vec<u16, N>,
    /// How many are guarded, late, and due.
    guarded: u16,
    late: u16,
    due: u16,
}

impl<B: DmaSegments, const N: usize> Slots<B, N> {
    pub(crate) fn new() -> Self {
        let slots = core::array::from_fn(|_| Slot {
            phase: Phase::Free,
            access: Access::NONE,
            waker: None,
            is_due: false,
        });
        // The lowest numbers are taken first.
        let free = (0..N).rev().filter_map(|number| u16::try_from(number).ok()).collect();
        Self {
            slots,
            free,
            guarded: 0,
            late: 0,
            due: 0,
        }
    }

    fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot<B>> {
        self.slots.get_mut(usize::from(id.0))
    }

    /// Changes the phase of a slot. Returns the former one.
    fn enter(&mut self, id: SlotId, phase: Phase<B>) -> Option<Phase<B>> {
        let slot = self.get_mut(id)?;
        let (was_guarded, was_late) = (slot.is_guarded(), matches!(slot.phase, Phase::Late(_)));
        let former = mem::replace(&mut slot.phase, phase);
        let (is_guarded, is_late) = (slot.is_guarded(), matches!(slot.phase, Phase::Late(_)));
        let is_free = matches!(slot.phase, Phase::Free);
        self.guarded = self.guarded + u16::from(is_guarded) - u16::from(was_guarded);
        self.late = self.late + u16::from(is_late) - u16::from(was_late);
        if is_free && !matches!(former, Phase::Free) {
            // There is room for all.
            let _ = self.free.push(id.0);
        }
        Some(former)
    }

    /// A slot for an operation.
    pub(crate) fn take(&mut self) -> Option<SlotId> {
        let id = SlotId(self.free.pop()?);
        self.enter(id, Phase::Taken);
        Some(id)
    }

    /// Gives a slot back whose request is over.
    pub(crate) fn free(&mut self, id: SlotId) {
        self.enter(id, Phase::Free);
    }

    /// Keeps the request of a slot until it can be submitted.
    pub(crate) fn prepare(&mut self, id: SlotId, request: SlotRequest<B>, access: Access) {
        if let Some(slot) = self.get_mut(id) {
            slot.access = access;
        }
        self.enter(id, Phase::Prepared(request));
    }

    /// The request of a slot, to be submitted. The slot counts as in flight.
    pub(crate) fn depart(&mut self, id: SlotId) -> Option<SlotRequest<B>> {
        match self.enter(id, Phase::InFlight) {
            Some(Phase::Prepared(request)) => Some(request),
            _ => None,
        }
    }

    /// The request was not taken, and waits.
    pub(crate) fn return_prepared(&mut self, id: SlotId, request: SlotRequest<B>) {
        self.enter(id, Phase::Prepared(request));
    }

    /// The request was refused: its operation has the slot, and the buffer.
    pub(crate) fn refuse(&mut self, id: SlotId) {
        self.enter(id, Phase::Taken);
    }

    /// Takes note of what the device is done with. What has no operation any more goes to the pool, or waits for the caller.
    pub(crate) fn complete<const BLOCKS: usize>(
        &mut self,
        done: Completion<BounceOr<B>, SlotId>,
        pool: &mut BouncePool<BLOCKS>,
    ) {
        let id = done.token;
        let is_abandoned = self
            .get_mut(id)
            .is_some_and(|slot| matches!(slot.phase, Phase::Abandoned));
        if is_abandoned {
            self.put_away(id, done.buffer, pool);
        } else {
            let (buffer, result) = (done.buffer, done.result.map(drop));
            self.enter(id, Phase::Done(Done { buffer, result }));
            self.make_due(id);
        }
    }

    /// Ends a slot that no operation waits for.
    fn put_away<const BLOCKS: usize>(
        &mut self,
        id: SlotId,
        buffer: Option<BounceOr<B>>,
        pool: &mut BouncePool<BLOCKS>,
    ) {
        match buffer {
            Some(BounceOr::Direct(buffer)) => self.enter(id, Phase::Late(buffer)),
            Some(BounceOr::Bounce(block)) => {
                // It is of this pool, as only this crate makes requests.
                let _ = pool.put_back(block);
                self.enter(id, Phase::Free)
            }
            None => self.enter(id, Phase::Free),
        };
    }

    /// How a request has ended, for its operation, which has the slot then; or nothing, and the task is woken when it has.
    pub(crate) fn take_done(&mut self, id: SlotId, task: &mut Registration<'_>) -> Option<Done<B>> {
        let slot = self.get_mut(id)?;
        if !matches!(slot.phase, Phase::Done(_)) {
            task.keep(&mut slot.waker);
            return None;
        }
        task.clear(&mut slot.waker);
        self.is_not_due(id);
        match self.enter(id, Phase::Taken) {
            Some(Phase::Done(done)) => Some(done),
            _ => None,
        }
    }

    /// The operation is dropped. What the device has stays with it. Returns the waker, to be dropped.
    pub(crate) fn let_go<const BLOCKS: usize>(&mut self, id: SlotId, pool: &mut BouncePool<BLOCKS>) -> Option<Waker> {
        let waker = self.get_mut(id)?.waker.take();
        self.is_not_due(id);
        match self.enter(id, Phase::Taken)? {
            Phase::InFlight => drop(self.enter(id, Phase::Abandoned)),
            Phase::Prepared(request) => self.put_away(id, request.into_parts().0, pool),
            Phase::Done(done) => self.put_away(id, done.buffer, pool),
            Phase::Taken => self.free(id),
            // No operation has it.
            former @ (Phase::Free | Phase::Abandoned | Phase::Late(_)) => drop(self.enter(id, former)),
        }
        waker
    }

    /// The buffer of a dropped operation with which the device is done.
    pub(crate) fn take_late(&mut self) -> Option<B> {
        if self.late == 0 {
            return None;
        }
        let place = self
            .slots
            .iter()
            .position(|slot| matches!(slot.phase, Phase::Late(_)))?;
        match self.enter(SlotId(u16::try_from(place).ok()?), Phase::Free)? {
            Phase::Late(buffer) => Some(buffer),
            _ => None,
        }
    }

    /// Whether every slot has a late buffer, so that there is no room before one is taken.
    pub(crate) fn is_all_late(&self) -> bool {
        usize::from(self.late) == N
    }

    /// Whether no operation has a slot, and the device has no request.
    pub(crate) fn is_idle(&self) -> bool {
        self.free.len() + usize::from(self.late) == N
    }

    /// Whether late buffers are there.
    pub(crate) fn has_late(&self) -> bool {
        self.late > 0
    }

    /// Whether a request that touches `access` has to wait for one in flight.
    pub(crate) fn conflicts(&self, access: &Access) -> bool {
        if self.guarded == 0 && !access.exclusive {
            return false;
        }
        self.slots.iter().any(|slot| {
            let is_against = slot.is_guarded() || access.exclusive && slot.access.changes && slot.is_in_flight();
            is_against && access.overlaps(&slot.access)
        })
    }

    fn make_due(&mut self, id: SlotId) {
        if let Some(slot) = self.get_mut(id)
            && slot.waker.is_some()
            && !mem::replace(&mut slot.is_due, true)
        {
            self.due += 1;
        }
    }

    fn is_not_due(&mut self, id: SlotId) {
        if let Some(slot) = self.get_mut(id)
            && mem::take(&mut slot.is_due)
        {
            self.due -= 1;
        }
    }

    /// Has every operation woken that waits for a request.
    pub(crate) fn make_all_due(&mut self) {
        for slot in &mut self.slots {
            if slot.waker.is_some() && !mem::replace(&mut slot.is_due, true) {
                self.due += 1;
            }
        }
    }

    pub(crate) fn has_due(&self) -> bool {
        self.due > 0
    }

    /// Moves wakers that are to be called to `wakers`, as many as there is room for.
    pub(crate) fn take_due<const BATCH: usize>(&mut self, wakers: &mut Vec<Waker, BATCH>) {
        for slot in &mut self.slots {
            if self.due == 0 || wakers.is_full() {
                return;
            }
            if mem::take(&mut slot.is_due) {
                self.due -= 1;
                if let Some(waker) = slot.waker.take() {
                    let _ = wakers.push(waker);
                }
            }
        }
    }
}
