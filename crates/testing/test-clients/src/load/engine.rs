//! The load itself: what to send next, and what to make of a reply.

use core::fmt;

use guest_protocol::{SECTOR_BYTES, SectorRange};
use heapless::{Deque, HistoryBuf};
use minix_abi::{Errno, Status};

use super::choice::{Choice, Kind, MAX_REQUEST_SECTORS, Operation};
use super::ledger::{Ledger, Mismatch, Moment};
use crate::bdev::{BadReply, Outstanding};

/// Most requests at a time.
pub(super) const MAX_DEPTH: usize = 16;
/// Writes that are read again after a restart: few enough for new operations until the next one.
const REREADS: usize = 4;
/// Operations that are drawn until one does not get in the way of an outstanding request.
const DRAWS: usize = 8;

/// A request that is not done: it is in flight, or to be sent (again).
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) operation: Operation,
    /// For a write: the seed of its pattern.
    pub(super) seed: u64,
    since: Moment,
    in_flight: bool,
    was_sent: bool,
}

/// What has been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) flushes: u64,
    /// Requests sent again.
    pub(super) retried: u64,
    /// Restarts of the driver.
    pub(super) reopened: u64,
}

impl Counters {
    /// Requests answered.
    pub(super) const fn acknowledged(&self) -> u64 {
        self.reads + self.writes + self.flushes
    }
}

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Reply(BadReply),
    /// A request went wrong.
    Refused {
        kind: Kind,
        range: SectorRange,
        status: Status,
    },
    /// A read brought something else.
    Content(Mismatch),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(bad) => bad.fmt(f),
            Self::Refused { kind, range, status } => write!(f, "{kind:?} of {range}: {status:?}"),
            Self::Content(mismatch) => mismatch.fmt(f),
        }
    }
}

/// What a reply meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    Done,
    /// The driver does not know that the minor is open. The request will be sent again.
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Mixed,
    /// Waiting for what is outstanding.
    Drain,
    /// Reading back what was written, from this sector on.
    ReadBack(u64),
    Done,
}

/// A load. Its requests have slots, 0 to [`MAX_DEPTH`] - 1: the memory of a slot belongs to its request until that is done.
#[derive(Debug)]
pub(super) struct Load<'t> {
    ledger: Ledger<'t>,
    choice: Choice,
    depth: usize,
    phase: Phase,
    slots: [Option<Pending>; MAX_DEPTH],
    last_id: u32,
    outstanding: Outstanding<usize, MAX_DEPTH>,
    written: HistoryBuf<SectorRange, REREADS>,
    rereads: Deque<SectorRange, REREADS>,
    counters: Counters,
}

impl<'t> Load<'t> {
    /// A load on the sectors of `ledger`, with `depth` requests at a time (1 to [`MAX_DEPTH`]).
    pub(super) fn new(ledger: Ledger<'t>, seed: u64, depth: usize) -> Self {
        let range = ledger.range();
        Self {
            choice: Choice::new(seed, range),
            depth,
            phase: Phase::Mixed,
            slots: [const { None }; MAX_DEPTH],
            last_id: 0,
            outstanding: Outstanding::new(),
            written: HistoryBuf::new(),
            rereads: Deque::new(),
            counters: Counters::default(),
            ledger,
        }
    }

    pub(super) const fn counters(&self) -> Counters {
        self.counters
    }

    pub(super) const fn ledger(&self) -> &Ledger<'t> {
        &self.ledger
    }

    /// The request of a slot.
    pub(super) fn pending(&self, slot: usize) -> Option<&Pending> {
        self.slots[slot].as_ref()
    }

    /// Whether the request of a slot is in flight.
    pub(super) fn is_in_flight(&self, slot: usize) -> bool {
        self.pending(slot).is_some_and(|pending| pending.in_flight)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.outstanding.iter().count()
    }

    /// Starts nothing new, but for reading everything back.
    pub(super) fn stop(&mut self) {
        if self.phase == Phase::Mixed {
            self.phase = Phase::Drain;
        }
    }

    /// Whether everything is answered and read back.
    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done && self.slots.iter().all(Option::is_none)
    }

    /// The next request to send: its slot, and an id that was never used before. `None` if a reply is to be waited for first.
    pub(super) fn next_request(&mut self) -> Option<(usize, i32)> {
        let is_unsent = |pending: &Option<Pending>| pending.as_ref().is_some_and(|pending| !pending.in_flight);
        let slot = match self.slots.iter().position(is_unsent) {
            Some(slot) => slot,
            None => self.begin()?,
        };
        self.last_id = self.last_id.wrapping_add(1);
        // Without the sign, ids are easier to read.
        let id = (self.last_id & i32::MAX as u32) as i32;
        let pending = self.slots[slot].as_mut()?;
        pending.in_flight = true;
        self.counters.retried += u64::from(core::mem::replace(&mut pending.was_sent, true));
        // There is room for one per slot.
        self.outstanding.send(id, slot);
        Some((slot, id))
    }

    /// Chooses an operation for a free slot.
    fn begin(&mut self) -> Option<usize> {
        let slot = self.slots[..self.depth].iter().position(Option::is_none)?;
        let operation = self.choose()?;
        let since = self.ledger.tick();
        let mut seed = 0;
        if operation.is_write() {
            let write = self.ledger.begin_write(operation.range);
            seed = self.ledger.seed(write);
        }
        self.slots[slot] = Some(Pending {
            operation,
            seed,
            since,
            in_flight: false,
            was_sent: false,
        });
        Some(slot)
    }

    /// The driver is dead and another one has been found: everything outstanding is to be sent again.
    pub(super) fn restarted(&mut self) {
        self.counters.reopened += 1;
        for slot in self.outstanding.take() {
            if let Some(pending) = &mut self.slots[slot] {
                pending.in_flight = false;
            }
        }
        self.rereads.clear();
        for range in self.written.oldest_ordered() {
            // Both have the same room.
            let _ = self.rereads.push_back(*range);
        }
    }

    /// A reply has come. `holds` looks into the memory of a slot: whether the sector at a place
    /// in it, which has a number on the disk, holds the pattern of a seed (arguments: slot, place, number, seed). After an error
    /// the load could go on.
    pub(super) fn reply(
        &mut self,
        id: i32,
        status: Status,
        mut holds: impl FnMut(usize, usize, u64, u64) -> bool,
    ) -> Result<Answered, Failure> {
        let slot = self.outstanding.answer(id).map_err(Failure::Reply)?;
        let Some(mut pending) = self.slots[slot].take() else {
            return Err(Failure::Reply(BadReply::NeverAsked(id)));
        };
        if status == Status::from(Errno::ERESTART) {
            pending.in_flight = false;
            self.slots[slot] = Some(pending);
            return Ok(Answered::Restart);
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
        match kind {
            Kind::Flush => self.counters.flushes += 1,
            Kind::Read => {
                self.counters.reads += 1;
                let holds = |place, sector, seed| holds(slot, place, sector, seed);
                let checked = self.ledger.check_read(range, pending.since, holds);
                checked.map_err(Failure::Content)?;
            }
            Kind::Write { .. } => {
                self.counters.writes += 1;
                self.ledger.acknowledge_write(range);
                self.written.write(range);
            }
        }
        Ok(Answered::Done)
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

    /// A random operation: writes keep off everything outstanding, reads may meet each other, and writes that came before.
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
