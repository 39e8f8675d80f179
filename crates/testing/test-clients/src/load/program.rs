//! The program: sends what the load decides, and hands it the replies.

use core::fmt::Display;

use guest_protocol::{Record, SECTOR_BYTES, SectorRange};
use minix_abi::bdev::{BdevFlags, BdevReply, BdevRequest, VectorElement};
use minix_abi::grant::GrantFlags;
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::signal::Signal;
use minix_abi::{Errno, GrantId, Message, MessageType, Status};
use minix_rt::{Args, Ipc};
use zerocopy::IntoBytes;

use super::choice::{Kind, MAX_ELEMENTS_PER_REQUEST, MAX_REQUEST_SECTORS};
use super::engine::{Answered, Counters, Load, MAX_DEPTH};
use super::ledger::{Ledger, SectorState};
use crate::args;
use crate::bdev::{Arrival, Direction, READ_WRITE, Session, Trouble, control};
use crate::buffer::{Kind as MemoryKind, Memory};
use crate::client::Client;
use crate::report::Outcome;

/// Most sectors that a load can keep account of.
const MAX_SECTORS: usize = 1 << 15;
/// The drive as a whole.
const MINOR: Minor = Minor(0);
/// Replies between two looks for a signal.
const REPLIES_PER_LOOK: u32 = 8;
/// Requests between two lines about how it goes.
const REQUESTS_PER_LINE: u64 = 5000;
/// Failures after which the load stops.
const MAX_FAILURES: u32 = 8;
/// Requests of an overlap, unless told otherwise.
const OVERLAP_REQUESTS: u64 = 500;
/// The noise that memory holds before a read.
const NOISE: u64 = 0x4e01_5e00_0000_0000;

const DATA_BYTES: usize = MAX_REQUEST_SECTORS as usize * SECTOR_BYTES;
/// Room of a request: its data, and a page for its vector.
const SLOT_BYTES: usize = DATA_BYTES + 4096;

/// How it went.
struct Summary {
    counters: Counters,
    /// Requests at a time, as they were asked for, and as many as there were.
    depth: usize,
    max_in_flight: usize,
    failures: u32,
}

/// The program `load`, with the words `label= first= count= seed= depth= ops=`. Without `ops` it goes on until a signal comes.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense, [`EIO`](Errno::EIO) if anything is not as it should be.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let Summary { counters, failures, .. } = run(client, args, None)?;
    let Counters {
        reads,
        writes,
        flushes,
        retried,
        reopened,
    } = counters;
    client.test(
        "load",
        Outcome::of(failures == 0),
        &format_args!("{reads} reads, {writes} writes, {flushes} flushes, {retried} sent again, {reopened} restarts"),
    );
    if failures == 0 { Ok(()) } else { Err(Errno::EIO) }
}

/// The program `overlap`: a load with an end and a driver that stays, which shows that its requests did overlap while other
/// clients did the same.
///
/// # Errors
///
/// As [`main`].
pub fn overlap<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let summary = run(client, args, Some(OVERLAP_REQUESTS))?;
    let (most, depth) = (summary.max_in_flight, summary.depth);
    let is_fine = summary.failures == 0 && summary.counters.reopened == 0 && most == depth;
    let requests = summary.counters.acknowledged();
    let detail = format_args!("{requests} requests, {most} at a time");
    client.test("overlap", Outcome::of(is_fine), &detail);
    if is_fine { Ok(()) } else { Err(Errno::EIO) }
}

/// Runs a load to its end, and records what the disk has to hold.
fn run<I: Ipc>(client: &mut Client<I>, args: Args, mut requests: Option<u64>) -> Result<Summary, Errno> {
    let (mut range, mut seed, mut depth) = (SectorRange::default(), 1, 2);
    let target = args::parse(client, args, |word| {
        match word.key {
            "first" => range.first = word.number()?,
            "count" => range.count = word.number_up_to(MAX_SECTORS as u64)?,
            "seed" => seed = word.number()?,
            "depth" => depth = word.number_up_to(MAX_DEPTH as u64)? as usize,
            "ops" => requests = Some(word.number()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if range.count == 0 || range.first.checked_add(range.count).is_none() || depth == 0 {
        let bad = args::missing(if depth == 0 { "depth" } else { "count" });
        return Err(args::report(client, bad));
    }
    client.say(format_args!("load: {depth} requests at a time on sectors {range}"));
    let states: &mut [SectorState; MAX_SECTORS] = client.zeroed()?;
    let memory = Memory::new(&mut client.ipc, MemoryKind::Scattered, depth * SLOT_BYTES)?;
    let session = match Session::connect(client, target.label, seed, MINOR, READ_WRITE) {
        Ok(session) => session,
        Err(trouble) => {
            client.error("open", "driver", &trouble);
            return Err(trouble.into());
        }
    };
    let ledger = Ledger::new(range.first, &mut states[..range.count as usize], seed);
    let mut runner = Runner {
        load: Load::new(ledger, seed, depth),
        session,
        memory,
        grants: [const { heapless::Vec::new() }; MAX_DEPTH],
        max_in_flight: 0,
        failures: 0,
        requests: requests.unwrap_or(u64::MAX),
        replies: 0,
        next_line: REQUESTS_PER_LINE,
    };
    let result = runner.run();
    runner.record_progress();
    runner.record_content();
    result.map_err(|trouble| {
        runner.session.client.error("load", "driver", &trouble);
        Errno::from(trouble)
    })?;
    let closed = runner.session.close(MINOR);
    // With the driver, everything that was open has gone.
    if closed != Ok(Status::OK) && closed != Err(Trouble::Died) {
        runner.fail(&format_args!("close: {closed:?}"));
    }
    Ok(Summary {
        counters: runner.load.counters(),
        depth,
        max_in_flight: runner.max_in_flight,
        failures: runner.failures,
    })
}

struct Runner<'t, 'c, I: Ipc> {
    load: Load<'t>,
    session: Session<'c, I>,
    memory: Memory,
    /// The grants of each request in flight: one per element and one for the vector.
    grants: [heapless::Vec<GrantId, { MAX_ELEMENTS_PER_REQUEST + 1 }>; MAX_DEPTH],
    max_in_flight: usize,
    failures: u32,
    requests: u64,
    replies: u32,
    next_line: u64,
}

impl<I: Ipc> Runner<'_, '_, I> {
    fn run(&mut self) -> Result<(), Trouble> {
        loop {
            let acknowledged = self.load.counters().acknowledged();
            if acknowledged >= self.requests || self.failures >= MAX_FAILURES {
                self.load.stop();
            }
            if acknowledged >= self.next_line {
                self.next_line += REQUESTS_PER_LINE;
                self.record_progress();
            }
            while let Some((slot, id)) = self.load.next_request() {
                self.send(slot, id)?;
            }
            self.max_in_flight = self.max_in_flight.max(self.load.in_flight());
            // A load that has given up leaves its last requests alone.
            if self.load.is_done() || self.failures > 2 * MAX_FAILURES {
                return Ok(());
            }
            match self.session.receive() {
                Arrival::Driver(message) => self.answer(&message)?,
                Arrival::Stray(message) => self.fail(&format_args!("a stray {message:?}")),
                Arrival::Signal(Signal::TERM) => self.load.stop(),
                Arrival::Signal(_) | Arrival::Nothing => {}
                Arrival::Died => {
                    self.session.recover()?;
                    self.load.restarted();
                    self.revoke_unused();
                }
                Arrival::Failed(errno) => return Err(errno.into()),
            }
        }
    }

    fn answer(&mut self, message: &Message) -> Result<(), Trouble> {
        let reply: BdevReply = message.payload();
        if message.kind != MessageType::BDEV_REPLY {
            self.fail(&format_args!("a reply of type {:?}", message.kind));
            return Ok(());
        }
        let memory = &self.memory;
        let answered = self.load.reply(reply.id, reply.status, |slot, place, sector, seed| {
            let offset = slot * SLOT_BYTES + place * SECTOR_BYTES;
            memory.check_pattern(offset, SECTOR_BYTES, seed, sector).is_ok()
        });
        self.revoke_unused();
        match answered {
            Ok(Answered::Done) => {}
            // The driver was restarted, and the minor is not open any more: open it as after a death.
            Ok(Answered::Restart) => drop(self.session.open(MINOR, READ_WRITE)?.result()?),
            Err(failure) => self.fail(&failure),
        }
        self.replies += 1;
        if self.replies.is_multiple_of(REPLIES_PER_LOOK) {
            self.session.look_around()?;
        }
        Ok(())
    }

    fn send(&mut self, slot: usize, id: i32) -> Result<(), Trouble> {
        let Some(pending) = self.load.pending(slot) else {
            return Ok(());
        };
        let (operation, seed) = (pending.operation.clone(), pending.seed);
        let base = slot * SLOT_BYTES;
        let bytes = operation.range.count as usize * SECTOR_BYTES;
        let (direction, flags) = match operation.kind {
            Kind::Flush => {
                let flush = control(MINOR, IoctlCode::DIOCFLUSH, GrantId::INVALID);
                let request = BdevRequest { id, ..flush };
                return Ok(self.session.post(MessageType::BDEV_IOCTL, &request)?);
            }
            Kind::Read => (Direction::Read, BdevFlags::empty()),
            Kind::Write { force: true } => (Direction::Write, BdevFlags::FORCEWRITE),
            Kind::Write { force: false } => (Direction::Write, BdevFlags::empty()),
        };
        match direction {
            // Nothing that was there before may pass for what was read.
            Direction::Read => self.memory.fill_noise(base, bytes, NOISE),
            Direction::Write => self.memory.fill_pattern(base, bytes, seed, operation.range.first),
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
            request.grant = self.grant(slot, offset, bytes, direction.access())?;
            let element = self.session.element(request.grant, bytes as u64);
            let place = base + DATA_BYTES + nth * size_of_val(&element);
            self.memory.write(place, element.as_bytes());
            offset += bytes;
        }
        let mut kind = direction.simple();
        if elements > 1 {
            kind = direction.vector();
            let bytes = elements * size_of::<VectorElement>();
            request.grant = self.grant(slot, base + DATA_BYTES, bytes, GrantFlags::READ)?;
            request.count = elements as i32;
        }
        Ok(self.session.post(kind, &request)?)
    }

    fn grant(&mut self, slot: usize, offset: usize, bytes: usize, access: GrantFlags) -> Result<GrantId, Trouble> {
        let grant = self.session.grant(self.memory.piece(offset, bytes), access)?;
        let _ = self.grants[slot].push(grant);
        Ok(grant)
    }

    /// Revokes the grants of requests that are not in flight.
    fn revoke_unused(&mut self) {
        for (slot, grants) in self.grants.iter_mut().enumerate() {
            if !self.load.is_in_flight(slot) {
                grants.iter().for_each(|grant| self.session.client.revoke(*grant));
                grants.clear();
            }
        }
    }

    fn fail(&mut self, why: &dyn Display) {
        self.failures += 1;
        if self.failures <= MAX_FAILURES {
            self.session.client.error("load", "wrong", why);
        }
    }

    fn record_progress(&mut self) {
        let counters = self.load.counters();
        let client = &mut *self.session.client;
        let label = client.own_label();
        let label = label.as_ref().map_or("load", minix_rt::ds::Label::as_str);
        client.record(&Record::Load(guest_protocol::Load {
            label,
            acknowledged: counters.acknowledged(),
            reads: counters.reads,
            writes: counters.writes,
            retried: counters.retried,
            reopened: counters.reopened,
        }));
    }

    fn record_content(&mut self) {
        for run in self.load.ledger().runs() {
            match run.seed {
                Some(seed) => self.session.client.wrote(run.range.first, run.range.count, seed),
                None => self.session.client.touched(run.range.first, run.range.count),
            }
        }
    }
}
