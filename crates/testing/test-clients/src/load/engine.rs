//! The load itself: what to send next, and what to make of a reply.

use core::fmt;

use guest_protocol::{SECTOR_BYTES, SectorRange};
use heapless::{Deque, HistoryBuf};
use minix_abi::{Errno, Status};

use super::choice::{Choice, Kind, MAX_REQUEST_SECTORS, Operation};
use super::ledger::{Ledger, Mismatch, Moment};

/// Most requests at a time.
pub const MAX_DEPTH: usize = 16;
/// Writes that are read again after a restart: few enough for something new to be done until the next one.
const REREADS: usize = 4;
/// Ids that are remembered after their reply.
const REMEMBERED_IDS: usize = 256;
/// Lots that are drawn until one does not get in the way of an outstanding request.
const DRAWS: usize = 8;

/// A request to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which of the outstanding requests it is, 0 to [`MAX_DEPTH`] - 1: its memory belongs to it until it is answered.
    pub slot: usize,
    /// Its id. Never used before.
    pub id: i32,
    /// What to do.
    pub operation: Operation,
    /// For a write: the seed of what to write.
    pub seed: u64,
    /// Whether it was sent before, to a driver that died. Then its memory holds what to write already.
    pub is_retry: bool,
}

/// What has been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests answered.
    pub acknowledged: u64,
    /// Of those, reads.
    pub reads: u64,
    /// Of those, writes.
    pub writes: u64,
    /// Of those, flushes.
    pub flushes: u64,
    /// Requests sent again.
    pub retried: u64,
    /// Restarts of the driver.
    pub reopened: u64,
}

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A second reply to a request.
    AnsweredTwice(i32),
    /// A reply to a request that was never sent to this driver.
    NeverAsked(i32),
    /// A request went wrong.
    Refused {
        /// What it was.
        kind: Kind,
        /// Where.
        range: SectorRange,
        /// What the driver said.
        status: Status,
    },
    /// A read brought something else.
    Content(Mismatch),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnsweredTwice(id) => write!(f, "request {id} answered twice"),
            Self::NeverAsked(id) => write!(f, "a reply to {id}, which was never sent"),
            Self::Refused { kind, range, status } => write!(f, "{kind:?} of {range}: {status:?}"),
            Self::Content(mismatch) => mismatch.fmt(f),
        }
    }
}

impl core::error::Error for Failure {}

/// What a reply meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The request of this slot is done.
    Done(usize),
    /// The driver does not know that the minor is open. The request of this slot will be sent again.
    Restart(usize),
}

#[derive(Clone, Debug)]
struct Pending {
    operation: Operation,
    /// Its id as it was sent last; `None` if it is to be sent (again).
    id: Option<i32>,
    seed: u64,
    since: Moment,
    was_sent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Whatever the lot says.
    Mixed,
    /// Waiting for what is outstanding.
    Drain,
    /// Reading back what was written, from this sector on.
    ReadBack(u64),
    /// There is nothing left to do.
    Done,
}

/// A load.
#[derive(Debug)]
pub struct Load<'t> {
    ledger: Ledger<'t>,
    choice: Choice,
    depth: usize,
    phase: Phase,
    slots: [Option<Pending>; MAX_DEPTH],
    next_id: u32,
    answered: HistoryBuf<i32, REMEMBERED_IDS>,
    written: HistoryBuf<SectorRange, REREADS>,
    rereads: Deque<SectorRange, REREADS>,
    counters: Counters,
}

impl<'t> Load<'t> {
    /// A load on the sectors of `ledger`, with `depth` requests at a time (1 to [`MAX_DEPTH`]).
    pub fn new(ledger: Ledger<'t>, seed: u64, depth: usize) -> Self {
        let range = ledger.range();
        Self {
            choice: Choice::new(seed, range),
            depth: depth.clamp(1, MAX_DEPTH),
            phase: Phase::Mixed,
            slots: [const { None }; MAX_DEPTH],
            next_id: 0,
            answered: HistoryBuf::new(),
            written: HistoryBuf::new(),
            rereads: Deque::new(),
            counters: Counters::default(),
            ledger,
        }
    }

    /// What has been done.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The account of the sectors.
    pub const fn ledger(&self) -> &Ledger<'t> {
        &self.ledger
    }

    /// How many requests are sent and not answered.
    pub fn outstanding(&self) -> usize {
        self.slots
            .iter()
            .flatten()
            .filter(|pending| pending.id.is_some())
            .count()
    }

    /// Whether the request of a slot is sent and not answered.
    pub fn is_outstanding(&self, slot: usize) -> bool {
        let pending = self.slots.get(slot).and_then(Option::as_ref);
        pending.is_some_and(|pending| pending.id.is_some())
    }

    /// Starts nothing new, but for reading everything back.
    pub fn stop(&mut self) {
        if self.phase == Phase::Mixed {
            self.phase = Phase::Drain;
        }
    }

    /// Whether everything is answered and read back.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done && self.slots.iter().all(Option::is_none)
    }

    /// The next request to send; `None` if a reply is to be waited for first.
    pub fn next_order(&mut self) -> Option<Order> {
        if let Some(slot) = self.unsent() {
            return self.order(slot);
        }
        let slot = self.slots[..self.depth].iter().position(Option::is_none)?;
        let operation = self.choose()?;
        let since = self.ledger.tick();
        let seed = match operation.kind {
            Kind::Write { .. } => {
                let write = self.ledger.begin_write(operation.range);
                self.ledger.seed(write)
            }
            Kind::Read | Kind::Flush => 0,
        };
        self.slots[slot] = Some(Pending {
            operation,
            id: None,
            seed,
            since,
            was_sent: false,
        });
        self.order(slot)
    }

    /// The driver is dead and another one has been found: everything outstanding is to be sent again.
    pub fn restarted(&mut self) {
        self.counters.reopened += 1;
        for pending in self.slots.iter_mut().flatten() {
            pending.id = None;
        }
        self.rereads.clear();
        for range in self.written.oldest_ordered() {
            // Both have the same room.
            let _ = self.rereads.push_back(*range);
        }
    }

    /// A reply has come. `holds` looks into the memory of a slot: whether the sector at a place in it, which has a number on
    /// the disk, holds the pattern of a seed (arguments: slot, place, number, seed).
    ///
    /// # Errors
    ///
    /// [`Failure`]: the driver, the disk or the memory is not as it should be. The load could go on.
    pub fn reply(
        &mut self,
        id: i32,
        status: Status,
        mut holds: impl FnMut(usize, usize, u64, u64) -> bool,
    ) -> Result<Answered, Failure> {
        let is_it = |pending: &Option<Pending>| pending.as_ref().is_some_and(|pending| pending.id == Some(id));
        let Some(slot) = self.slots.iter().position(is_it) else {
            return Err(if self.answered.as_slice().contains(&id) {
                Failure::AnsweredTwice(id)
            } else {
                Failure::NeverAsked(id)
            });
        };
        self.answered.write(id);
        let Some(pending) = self.slots[slot].take() else {
            return Err(Failure::NeverAsked(id));
        };
        if status == Status::from(Errno::ERESTART) {
            self.slots[slot] = Some(Pending { id: None, ..pending });
            return Ok(Answered::Restart(slot));
        }

        let Operation { kind, range, .. } = pending.operation;
        let is_right = match kind {
            Kind::Flush => status == Status::OK || status == Status::from(Errno::EOPNOTSUPP),
            Kind::Read | Kind::Write { .. } => Status::count(range.count * SECTOR_BYTES as u64) == Some(status),
        };
        if !is_right {
            if pending.operation.is_write() {
                self.ledger.spoil(range);
            }
            return Err(Failure::Refused { kind, range, status });
        }
        self.counters.acknowledged += 1;
        match kind {
            Kind::Flush => self.counters.flushes += 1,
            Kind::Read => {
                self.counters.reads += 1;
                self.ledger
                    .check_read(range, pending.since, |place, sector, seed| {
                        holds(slot, place, sector, seed)
                    })
                    .map_err(Failure::Content)?;
            }
            Kind::Write { .. } => {
                self.counters.writes += 1;
                self.ledger.acknowledge_write(range);
                self.written.write(range);
            }
        }
        Ok(Answered::Done(slot))
    }

    fn unsent(&self) -> Option<usize> {
        self.slots
            .iter()
            .position(|pending| pending.as_ref().is_some_and(|pending| pending.id.is_none()))
    }

    /// Gives the request of a slot an id to be sent with.
    fn order(&mut self, slot: usize) -> Option<Order> {
        let pending = self.slots.get_mut(slot)?.as_mut()?;
        self.next_id = self.next_id.wrapping_add(1);
        // Without the sign, they are easier on the eye.
        let id = (self.next_id & i32::MAX as u32) as i32;
        pending.id = Some(id);
        let is_retry = core::mem::replace(&mut pending.was_sent, true);
        self.counters.retried += u64::from(is_retry);
        Some(Order {
            slot,
            id,
            operation: pending.operation.clone(),
            seed: pending.seed,
            is_retry,
        })
    }

    fn choose(&mut self) -> Option<Operation> {
        if let Some(range) = self.rereads.pop_front() {
            return Some(Operation::simple(Kind::Read, range));
        }
        match self.phase {
            Phase::Mixed => self.draw(),
            Phase::Drain if self.slots.iter().any(Option::is_some) => None,
            Phase::Drain => {
                self.phase = Phase::ReadBack(self.ledger.range().first);
                self.choose()
            }
            Phase::ReadBack(next) => {
                let Some(range) = self.ledger.written_from(next, MAX_REQUEST_SECTORS) else {
                    self.phase = Phase::Done;
                    return None;
                };
                self.phase = Phase::ReadBack(range.end());
                Some(Operation::simple(Kind::Read, range))
            }
            Phase::Done => None,
        }
    }

    /// A request by lot: writes keep off everything outstanding, reads may meet each other, and writes that came before.
    fn draw(&mut self) -> Option<Operation> {
        for _ in 0..DRAWS {
            let operation = self.choice.draw();
            let is_in_the_way = |pending: &Pending| operation.is_write() && operation.overlaps(&pending.operation);
            if !self.slots.iter().flatten().any(is_in_the_way) {
                return Some(operation);
            }
        }
        None
    }
}
