//! The load itself: sends requests, keeps account of them, and judges the replies.

use core::fmt::Display;

use guest_protocol::{Record, SECTOR_BYTES, SectorRange};
use heapless::{Deque, HistoryBuf};
use minix_abi::bdev::{BdevFlags, BdevReply, BdevRequest, VectorElement};
use minix_abi::disk_control::{RangeFlags, RangeRequest};
use minix_abi::grant::GrantFlags;
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::signal::Signal;
use minix_abi::{Errno, GrantId, Message, MessageType, Status};
use minix_rt::Ipc;
use zerocopy::IntoBytes;

use super::choice::{Choice, Kind, MAX_ELEMENTS_PER_REQUEST, MAX_REQUEST_SECTORS, Operation};
use super::ledger::{Content, Moment, SectorLedger};
use crate::bdev::{Arrival, Direction, Outstanding, READ_WRITE, Session, Trouble, control};
use crate::buffer::Memory;

/// Most requests at a time.
pub(super) const MAX_DEPTH: usize = 16;
/// The drive as a whole.
pub(super) const MINOR: Minor = Minor(0);
const DATA_BYTES: usize = MAX_REQUEST_SECTORS as usize * SECTOR_BYTES;
/// Room of a request: its data, and a page for its vector.
pub(super) const SLOT_BYTES: usize = DATA_BYTES + 4096;
/// Writes that are read again after a restart: few enough for new operations until the next one.
const REREADS: usize = 4;
/// Operations that are drawn until one does not get in the way of an outstanding request.
const DRAWS: usize = 8;
/// Replies between two looks for a signal.
const REPLIES_PER_LOOK: u32 = 8;
/// Requests between two progress records.
const REQUESTS_PER_RECORD: u64 = 5000;
/// Failures after which the load stops.
const MAX_FAILURES: u32 = 8;
/// The noise that memory holds before a read.
const NOISE: u64 = 0x4e01_5e00_0000_0000;

/// A request that is not done: it is in flight, or to be sent (again).
struct Pending {
    operation: Operation,
    /// For a write: the seed of its pattern.
    seed: u64,
    since: Moment,
    in_flight: bool,
    was_sent: bool,
    /// While it is in flight: one for each element and one for the vector.
    grants: heapless::Vec<GrantId, { MAX_ELEMENTS_PER_REQUEST + 1 }>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct LoadCounters {
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) flushes: u64,
    /// Ranges that the device has zeroed.
    pub(super) zeroed: u64,
    /// Requests that were answered with an error, where that is allowed.
    pub(super) failed: u64,
    /// Requests sent again.
    pub(super) retried: u64,
    /// Restarts of the driver.
    pub(super) reopened: u64,
    pub(super) max_in_flight: usize,
    pub(super) failures: u32,
}

impl LoadCounters {
    /// Requests that were answered, and did what they were for.
    pub(super) const fn acknowledged(&self) -> u64 {
        self.reads + self.writes + self.flushes + self.zeroed
    }
}

/// What a load allows and tells beyond the usual.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Habits {
    /// The disk fails now and then: `EIO` is an answer like others. A write that got it may have been done, or a part of it.
    pub(super) allows_errors: bool,
    /// Each write is recorded when it is sent and when it is answered, so that what the host knows is right whenever the machine
    /// stops.
    pub(super) tells_writes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Mixed,
    /// Waiting for outstanding requests.
    Drain,
    /// Reading back written sectors, from this one on.
    ReadBack(u64),
    Done,
}

/// A load. Its requests have slots, 0 to [`MAX_DEPTH`] - 1: the memory of a slot belongs to its request until that is done.
pub(super) struct Load<'t, 'c, I: Ipc> {
    pub(super) session: Session<'c, I>,
    memory: Memory,
    ledger: SectorLedger<'t>,
    choice: Choice,
    depth: usize,
    habits: Habits,
    phase: Phase,
    slots: [Option<Pending>; MAX_DEPTH],
    last_id: i32,
    outstanding: Outstanding<usize, MAX_DEPTH>,
    written: HistoryBuf<SectorRange, REREADS>,
    rereads: Deque<SectorRange, REREADS>,
    pub(super) counters: LoadCounters,
}

impl<'t, 'c, I: Ipc> Load<'t, 'c, I> {
    /// A load on the sectors of `ledger`, with `depth` requests at a time (1 to [`MAX_DEPTH`]) and a slot of memory for each.
    pub(super) fn new(
        session: Session<'c, I>,
        memory: Memory,
        ledger: SectorLedger<'t>,
        seed: u64,
        depth: usize,
        habits: Habits,
    ) -> Self {
        Self {
            session,
            memory,
            choice: Choice::new(seed, ledger.range()),
            depth,
            habits,
            phase: Phase::Mixed,
            slots: [const { None }; MAX_DEPTH],
            last_id: 0,
            outstanding: Outstanding::default(),
            written: HistoryBuf::new(),
            rereads: Deque::new(),
            counters: LoadCounters::default(),
            ledger,
        }
    }

    /// Sends so many requests or goes on until a signal comes, and reads everything back.
    pub(super) fn run(&mut self, requests: u64) -> Result<(), Trouble> {
        let (mut replies, mut next_record) = (0_u32, REQUESTS_PER_RECORD);
        loop {
            let acknowledged = self.counters.acknowledged() + self.counters.failed;
            if acknowledged >= requests || self.counters.failures >= MAX_FAILURES {
                self.stop();
            }
            if acknowledged >= next_record {
                next_record += REQUESTS_PER_RECORD;
                self.record_progress();
            }
            while let Some(slot) = self.next_slot() {
                self.send(slot)?;
            }
            let in_flight = self.outstanding.iter().count();
            self.counters.max_in_flight = self.counters.max_in_flight.max(in_flight);
            let is_done = self.phase == Phase::Done && self.slots.iter().all(Option::is_none);
            // A load that has given up leaves its last requests alone.
            if is_done || self.counters.failures > 2 * MAX_FAILURES {
                return Ok(());
            }
            match self.session.receive() {
                Arrival::Driver(message) => {
                    self.answer(&message)?;
                    replies += 1;
                    if replies.is_multiple_of(REPLIES_PER_LOOK) {
                        self.session.look_around()?;
                    }
                }
                Arrival::Stray(message) => self.fail(&format_args!("a stray {message:?}")),
                Arrival::Signal(Signal::TERM) => self.stop(),
                Arrival::Signal(_) | Arrival::Nothing => {}
                Arrival::Died => {
                    self.session.recover()?;
                    self.restarted();
                }
                Arrival::Failed(errno) => return Err(errno.into()),
            }
        }
    }

    /// Starts nothing new, but for reading everything back.
    fn stop(&mut self) {
        if self.phase == Phase::Mixed {
            self.phase = Phase::Drain;
        }
    }

    /// The slot of the next request to send. `None` if a reply is to be waited for first.
    fn next_slot(&mut self) -> Option<usize> {
        let is_unsent = |pending: &Option<Pending>| pending.as_ref().is_some_and(|pending| !pending.in_flight);
        if let Some(slot) = self.slots.iter().position(is_unsent) {
            return Some(slot);
        }
        let slot = self.slots[..self.depth].iter().position(Option::is_none)?;
        let operation = self.choose()?;
        let since = self.ledger.tick();
        let mut seed = 0;
        match operation.kind {
            Kind::Write { .. } => {
                let write = self.ledger.begin_write(operation.range);
                seed = self.ledger.seed(write);
            }
            Kind::Zero => self.ledger.begin_zero(operation.range),
            Kind::Read | Kind::Flush => {}
        }
        self.slots[slot] = Some(Pending {
            operation,
            seed,
            since,
            in_flight: false,
            was_sent: false,
            grants: heapless::Vec::new(),
        });
        Some(slot)
    }

    /// Sends the request of a slot with an id that was never used before.
    fn send(&mut self, slot: usize) -> Result<(), Trouble> {
        let Some(pending) = &mut self.slots[slot] else {
            return Ok(());
        };
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let id = self.last_id;
        pending.in_flight = true;
        self.counters.retried += u64::from(core::mem::replace(&mut pending.was_sent, true));
        // There is room for one per slot.
        self.outstanding.send(id, slot);
        let base = slot * SLOT_BYTES;
        let operation = &pending.operation;
        if self.habits.tells_writes && operation.is_write() {
            self.session
                .client
                .touched(operation.range.first, operation.range.count);
        }
        let (direction, flags) = match operation.kind {
            Kind::Flush => {
                let flush = control(MINOR, IoctlCode::DIOCFLUSH, GrantId::INVALID);
                let request = BdevRequest { id, ..flush };
                return Ok(self.session.post(MessageType::BDEV_IOCTL, &request)?);
            }
            Kind::Zero => {
                // The disk is open elsewhere when there are other loads.
                let SectorRange { first, count } = operation.range;
                let range = RangeRequest::new(RangeFlags::FORCE, first, count);
                self.memory.write(base, range.as_bytes());
                let piece = self.memory.piece(base, size_of_val(&range));
                let grant = self.session.grant(piece, GrantFlags::READ | GrantFlags::WRITE)?;
                let _ = pending.grants.push(grant);
                let request = BdevRequest {
                    id,
                    ..control(MINOR, IoctlCode::VBLKZERO, grant)
                };
                return Ok(self.session.post(MessageType::BDEV_IOCTL, &request)?);
            }
            Kind::Read => (Direction::Read, BdevFlags::empty()),
            Kind::Write { force: true } => (Direction::Write, BdevFlags::FORCEWRITE),
            Kind::Write { force: false } => (Direction::Write, BdevFlags::empty()),
        };
        let bytes = operation.range.count as usize * SECTOR_BYTES;
        match direction {
            // Old data must not pass for data that was read.
            Direction::Read => self.memory.fill_noise(base, bytes, NOISE),
            Direction::Write => self
                .memory
                .fill_pattern(base, bytes, pending.seed, operation.range.first),
        }
        let mut request = BdevRequest {
            position: operation.range.first * SECTOR_BYTES as u64,
            minor: MINOR,
            id,
            count: bytes as i32,
            flags,
            ..Default::default()
        };
        let elements = operation.elements.len();
        let mut offset = base;
        for (nth, sectors) in operation.elements.iter().enumerate() {
            let bytes = *sectors as usize * SECTOR_BYTES;
            request.grant = self
                .session
                .grant(self.memory.piece(offset, bytes), direction.access())?;
            // There is room for one per element.
            let _ = pending.grants.push(request.grant);
            let element = self.session.element(request.grant, bytes as u64);
            let place = base + DATA_BYTES + nth * size_of_val(&element);
            self.memory.write(place, element.as_bytes());
            offset += bytes;
        }
        let mut kind = direction.simple();
        if elements > 1 {
            kind = direction.vector();
            let vector = self
                .memory
                .piece(base + DATA_BYTES, elements * size_of::<VectorElement>());
            request.grant = self.session.grant(vector, GrantFlags::READ)?;
            let _ = pending.grants.push(request.grant);
            request.count = elements as i32;
        }
        Ok(self.session.post(kind, &request)?)
    }

    fn answer(&mut self, message: &Message) -> Result<(), Trouble> {
        let BdevReply { status, id } = message.payload();
        if message.kind != MessageType::BDEV_REPLY {
            self.fail(&format_args!("a reply of type {:?}", message.kind));
            return Ok(());
        }
        let slot = match self.outstanding.answer(id) {
            Ok(slot) => slot,
            Err(bad) => {
                self.fail(&bad);
                return Ok(());
            }
        };
        self.not_in_flight(slot);
        if status == Errno::ERESTART.into() {
            // The driver was restarted, and the minor is not open any more: open it as after a death.
            self.session.open(MINOR, READ_WRITE)?.result()?;
        } else if let Some(pending) = self.slots[slot].take() {
            self.judge(slot, &pending, status);
        }
        Ok(())
    }

    /// Judges the reply to a request, and the memory of its slot.
    fn judge(&mut self, slot: usize, pending: &Pending, status: Status) {
        let Operation { kind, range, .. } = pending.operation;
        let is_right = match kind {
            Kind::Flush => status == Status::OK || status == Status::from(Errno::EOPNOTSUPP),
            Kind::Zero if status == Status::from(Errno::EOPNOTSUPP) => {
                // Nothing has happened, but the ledger knows no way back.
                self.ledger.spoil(range);
                return self.choice.zero_nothing();
            }
            Kind::Zero => status == Status::OK && self.sectors_done(slot) == range.count,
            Kind::Read | Kind::Write { .. } => Status::count(range.count * SECTOR_BYTES as u64) == Some(status),
        };
        let is_failure = status == Errno::EIO.into();
        if self.habits.allows_errors && is_failure {
            self.counters.failed += 1;
            if pending.operation.is_write() {
                self.ledger.spoil(range);
            }
            return;
        }
        if !is_right {
            if pending.operation.is_write() {
                self.ledger.spoil(range);
            }
            return self.fail(&format_args!("{kind:?} of {range}: {status:?}"));
        }
        match kind {
            Kind::Flush => self.counters.flushes += 1,
            Kind::Read => {
                self.counters.reads += 1;
                let memory = &self.memory;
                let checked = self.ledger.check_read(range, pending.since, |place, sector, content| {
                    let offset = slot * SLOT_BYTES + place * SECTOR_BYTES;
                    match content {
                        Content::Pattern(seed) => memory.check_pattern(offset, SECTOR_BYTES, seed, sector).is_ok(),
                        Content::Zeroes => {
                            let mut held = [0xEE; SECTOR_BYTES];
                            memory.read(offset, &mut held);
                            held == [0; SECTOR_BYTES]
                        }
                    }
                });
                if let Err(sector) = checked {
                    self.fail(&Trouble::Content(sector));
                }
            }
            Kind::Zero => {
                self.counters.zeroed += 1;
                self.ledger.acknowledge_write(range);
                if self.habits.tells_writes {
                    self.session.client.zeros(range.first, range.count);
                }
                self.written.write(range);
            }
            Kind::Write { .. } => {
                self.counters.writes += 1;
                self.ledger.acknowledge_write(range);
                if self.habits.tells_writes {
                    self.session.client.wrote(range.first, range.count, pending.seed);
                }
                self.written.write(range);
            }
        }
    }

    /// Sectors that the driver says it has zeroed.
    fn sectors_done(&self, slot: usize) -> u64 {
        let mut range = RangeRequest::default();
        self.memory.read(slot * SLOT_BYTES, range.as_mut_bytes());
        range.done
    }

    /// The driver is dead and its successor was found: everything outstanding is to be sent again.
    fn restarted(&mut self) {
        self.counters.reopened += 1;
        for slot in self.outstanding.take() {
            self.not_in_flight(slot);
        }
        self.rereads.clear();
        for range in self.written.oldest_ordered() {
            // Both have the same room.
            let _ = self.rereads.push_back(*range);
        }
    }

    fn not_in_flight(&mut self, slot: usize) {
        if let Some(pending) = &mut self.slots[slot] {
            pending.in_flight = false;
            pending
                .grants
                .iter()
                .for_each(|grant| self.session.client.revoke(*grant));
            pending.grants.clear();
        }
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

    pub(super) fn fail(&mut self, why: &dyn Display) {
        self.counters.failures += 1;
        if self.counters.failures <= MAX_FAILURES {
            self.session.client.error("load", "wrong", why);
        }
    }

    pub(super) fn record_progress(&mut self) {
        let LoadCounters {
            reads,
            writes,
            failed,
            retried,
            reopened,
            ..
        } = self.counters;
        let client = &mut *self.session.client;
        let label = client.own_label();
        let label = label.as_ref().map_or("load", minix_rt::ds::Label::as_str);
        client.record(&Record::Load(guest_protocol::Load {
            label,
            acknowledged: self.counters.acknowledged(),
            reads,
            writes,
            failed,
            retried,
            reopened,
        }));
    }

    /// Records the content that the disk has to have.
    pub(super) fn record_content(&mut self) {
        for (SectorRange { first, count }, content) in self.ledger.runs() {
            match content {
                Some(Content::Pattern(seed)) => self.session.client.wrote(first, count, seed),
                Some(Content::Zeroes) => self.session.client.zeros(first, count),
                None => self.session.client.touched(first, count),
            }
        }
    }
}
