//! The program: sends what the load decides, and takes it the replies.

use minix_abi::bdev::{BdevAccess, BdevFlags, BdevReply, BdevRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType};
use minix_rt::{Args, Fixed, Ipc};

use guest_protocol::{Record, SECTOR_BYTES, SectorRange};

use super::choice::{Kind, MAX_ELEMENTS_PER_REQUEST, MAX_REQUEST_SECTORS};
use super::engine::{Answered, Counters, Failure, Load, MAX_DEPTH, Order};
use super::ledger::{Ledger, SectorState};
use crate::args::{BadWord, Word};
use crate::bdev::{Direction, Trouble};
use crate::buffer::{Kind as MemoryKind, Memory};
use crate::client::Client;
use crate::post::{self, Arrival, Post, PostTable};
use crate::report::Outcome;

/// Most sectors that a load can keep account of.
pub const MAX_SECTORS: usize = 1 << 15;
/// The drive as a whole.
const MINOR: Minor = Minor(0);
/// Replies between two looks for a signal.
const REPLIES_PER_LOOK: u32 = 8;
/// Requests between two lines about how it goes.
const REQUESTS_PER_LINE: u64 = 5000;
/// Failures after which there is no point in going on.
const MAX_FAILURES: u32 = 8;

const DATA_BYTES: usize = MAX_REQUEST_SECTORS as usize * SECTOR_BYTES;
/// Room of a request: its data, and a page for its vector.
const SLOT_BYTES: usize = DATA_BYTES + 4096;

static STATES: Fixed<[SectorState; MAX_SECTORS]> = Fixed::new([SectorState::UNTOUCHED; MAX_SECTORS]);
static TABLE: Fixed<PostTable> = Fixed::new(PostTable::new());

/// What a load is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The driver.
    pub label: &'static str,
    /// Sectors of the whole disk.
    pub range: SectorRange,
    /// For choices and contents.
    pub seed: u64,
    /// Requests at a time.
    pub depth: usize,
    /// Requests in all; without, it goes on until a signal comes.
    pub requests: Option<u64>,
}

impl Settings {
    /// From the words `label= first= count= seed= depth= ops=`.
    ///
    /// # Errors
    ///
    /// The word that is missing, unknown or out of bounds.
    pub fn parse(words: impl Iterator<Item = &'static str>) -> Result<Self, BadWord<'static>> {
        let mut settings = Self {
            label: "",
            range: SectorRange::default(),
            seed: 1,
            depth: 2,
            requests: None,
        };
        for word in words.map(Word::new) {
            match word.key() {
                "label" => settings.label = word.string()?,
                "first" => settings.range.first = word.number()?,
                "count" => settings.range.count = word.number_up_to(MAX_SECTORS as u64)? as u64,
                "seed" => settings.seed = word.number()?,
                "depth" => settings.depth = word.number_up_to(MAX_DEPTH as u64)?,
                "ops" => settings.requests = Some(word.number()?),
                _ => return Err(word.unknown()),
            }
        }
        if settings.label.is_empty() {
            return Err(BadWord::missing("label"));
        }
        if settings.range.count == 0 || settings.range.first.checked_add(settings.range.count).is_none() {
            return Err(BadWord::missing("count"));
        }
        if settings.depth == 0 {
            return Err(BadWord::missing("depth"));
        }
        Ok(settings)
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What was done.
    pub counters: Counters,
    /// Most requests that were outstanding at a time.
    pub max_outstanding: usize,
    /// What should not have happened.
    pub failures: u32,
}

/// The program `load`.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense, [`EIO`](Errno::EIO) if anything is not as it should be.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let settings = Settings::parse(args).map_err(|bad| {
        client.error("args", "bad-word", &bad);
        Errno::EINVAL
    })?;
    let Settings { range, depth, .. } = settings;
    client.say(format_args!("load: {depth} requests at a time on sectors {range}"));
    let summary = run(client, &settings)?;
    let is_fine = summary.failures == 0;
    let Counters {
        reads,
        writes,
        flushes,
        retried,
        reopened,
        ..
    } = summary.counters;
    client.test(
        "load",
        Outcome::of(is_fine),
        &format_args!("{reads} reads, {writes} writes, {flushes} flushes, {retried} sent again, {reopened} restarts"),
    );
    if is_fine { Ok(()) } else { Err(Errno::EIO) }
}

/// Runs a load to its end, and records what the disk has to hold.
///
/// # Errors
///
/// If it could not even begin; or [`EIO`](Errno::EIO) if the driver went away for good. Everything else is in the summary.
pub fn run<I: Ipc>(client: &mut Client<I>, settings: &Settings) -> Result<Summary, Errno> {
    let states = STATES.take().ok_or(Errno::EBUSY)?;
    let states = states.get_mut(..settings.range.count as usize).ok_or(Errno::E2BIG)?;
    let access = BdevAccess::READ | BdevAccess::WRITE;
    let (session, opened) = post::connect(client, settings.label, settings.seed, MINOR, access)
        .map_err(|trouble| errno(client, "open", trouble))?;
    opened.result()?;

    let ledger = Ledger::new(settings.range.first, states, settings.seed);
    let mut runner = Runner {
        load: Load::new(ledger, settings.seed, settings.depth),
        post: Post::new(client, session, TABLE.take().ok_or(Errno::EBUSY)?)?,
        memory: Memory::new(&mut client.ipc, MemoryKind::Scattered, settings.depth * SLOT_BYTES)?,
        grants: [const { heapless::Vec::new() }; MAX_DEPTH],
        summary: Summary::default(),
        requests: settings.requests.unwrap_or(u64::MAX),
        replies: 0,
        next_line: REQUESTS_PER_LINE,
    };
    let result = runner.run(client);
    runner.summary.counters = runner.load.counters();
    runner.record_progress(client);
    runner.record_content(client);
    result?;
    let closed = runner.post.session().close(client, MINOR);
    // With the driver, everything that was open has gone.
    if closed != Ok(minix_abi::Status::OK) && closed != Err(Trouble::Died) {
        runner.fail(client, &format_args!("close: {closed:?}"));
    }
    Ok(runner.summary)
}

fn errno<I: Ipc>(client: &mut Client<I>, stage: &str, trouble: Trouble) -> Errno {
    client.error(stage, "driver", &trouble);
    match trouble {
        Trouble::Ipc(errno) => errno,
        _ => Errno::EIO,
    }
}

struct Runner<'t> {
    load: Load<'t>,
    post: Post,
    memory: Memory,
    /// What each outstanding request has granted.
    grants: [heapless::Vec<GrantId, { MAX_ELEMENTS_PER_REQUEST + 1 }>; MAX_DEPTH],
    summary: Summary,
    requests: u64,
    replies: u32,
    next_line: u64,
}

impl Runner<'_> {
    fn run<I: Ipc>(&mut self, client: &mut Client<I>) -> Result<(), Errno> {
        loop {
            let acknowledged = self.load.counters().acknowledged;
            if acknowledged >= self.requests || self.summary.failures >= MAX_FAILURES {
                self.load.stop();
            }
            if acknowledged >= self.next_line {
                self.next_line += REQUESTS_PER_LINE;
                self.record_progress(client);
            }
            while let Some(order) = self.load.next_order() {
                self.send(client, &order)
                    .map_err(|trouble| errno(client, "send", trouble))?;
            }
            self.summary.max_outstanding = self.summary.max_outstanding.max(self.load.outstanding());
            // A load that has given up leaves its last requests alone.
            if self.load.is_done() || self.summary.failures > 2 * MAX_FAILURES {
                return Ok(());
            }
            match self.post.receive(client) {
                Arrival::Driver(message) => self.answer(client, &message)?,
                Arrival::Stranger(message) => self.fail(client, &format_args!("a stray {message:?}")),
                Arrival::Signal(Signal::TERM) => self.load.stop(),
                Arrival::Signal(_) | Arrival::Nothing => {}
                Arrival::Died => self.recover(client)?,
                Arrival::Failed(errno) => return Err(errno),
            }
        }
    }

    fn answer<I: Ipc>(&mut self, client: &mut Client<I>, message: &Message) -> Result<(), Errno> {
        let reply: BdevReply = message.payload();
        if message.kind != MessageType::BDEV_REPLY {
            self.fail(client, &format_args!("a reply of type {:?}", message.kind));
            return Ok(());
        }
        let memory = &self.memory;
        let answered = self.load.reply(reply.id, reply.status, |slot, place, sector, seed| {
            let offset = slot * SLOT_BYTES + place * SECTOR_BYTES;
            memory.check_pattern(offset, SECTOR_BYTES, seed, sector).is_ok()
        });
        match answered {
            Ok(Answered::Done(slot)) => self.revoke(client, slot),
            Ok(Answered::Restart(slot)) => {
                // Its minor is not open any more, though nobody saw it die: open it again, as it would be after a death.
                self.revoke(client, slot);
                let opened = self
                    .post
                    .session()
                    .open(client, MINOR, BdevAccess::READ | BdevAccess::WRITE)
                    .map_err(|trouble| errno(client, "open", trouble))?;
                opened.result()?;
            }
            Err(failure) => {
                self.fail(client, &failure);
                if let Failure::Content(_) | Failure::Refused { .. } = failure {
                    self.revoke_unused(client);
                }
            }
        }
        self.replies += 1;
        if self.replies.is_multiple_of(REPLIES_PER_LOOK) {
            self.post.look_around(client)?;
        }
        Ok(())
    }

    fn recover<I: Ipc>(&mut self, client: &mut Client<I>) -> Result<(), Errno> {
        self.post
            .recover(client)
            .map_err(|trouble| errno(client, "recover", trouble))?;
        (0..MAX_DEPTH).for_each(|slot| self.revoke(client, slot));
        self.load.restarted();
        Ok(())
    }

    fn send<I: Ipc>(&mut self, client: &mut Client<I>, order: &Order) -> Result<(), Trouble> {
        let operation = &order.operation;
        let base = order.slot * SLOT_BYTES;
        let bytes = operation.range.count as usize * SECTOR_BYTES;
        let (direction, flags) = match operation.kind {
            Kind::Flush => return self.send_flush(client, order.id),
            Kind::Read => (Direction::Read, BdevFlags::empty()),
            Kind::Write { force: true } => (Direction::Write, BdevFlags::FORCEWRITE),
            Kind::Write { force: false } => (Direction::Write, BdevFlags::empty()),
        };
        match direction {
            // Nothing that was there before may pass for what was read.
            Direction::Read => self.memory.fill(base, bytes, 0xEE),
            Direction::Write => self.memory.fill_pattern(base, bytes, order.seed, operation.range.first),
        }
        let mut request = BdevRequest {
            position: operation.range.first * SECTOR_BYTES as u64,
            minor: MINOR,
            id: order.id,
            flags,
            ..Default::default()
        };
        let is_vector = operation.elements.len() > 1;
        let mut offset = base;
        for (nth, sectors) in operation.elements.iter().enumerate() {
            let bytes = *sectors as usize * SECTOR_BYTES;
            let piece = self.memory.piece(offset, bytes);
            let grant = self.post.session().grant(client, piece, direction.access())?;
            self.keep(order.slot, grant);
            offset += bytes;
            if is_vector {
                let element = self.post.session().element(grant, bytes as u64);
                let place = base + DATA_BYTES + nth * size_of_val(&element);
                self.memory.write(place, zerocopy::IntoBytes::as_bytes(&element));
            } else {
                request.grant = grant;
                request.count = bytes as i32;
            }
        }
        if is_vector {
            let elements = operation.elements.len();
            let vector = self.memory.piece(
                base + DATA_BYTES,
                elements * size_of::<minix_abi::bdev::VectorElement>(),
            );
            request.grant = self
                .post
                .session()
                .grant(client, vector, minix_abi::grant::GrantFlags::READ)?;
            self.keep(order.slot, request.grant);
            request.count = elements as i32;
        }
        let kind = if is_vector {
            direction.vector()
        } else {
            direction.simple()
        };
        self.post.request(client, kind, &request).map_err(Trouble::Ipc)
    }

    fn send_flush<I: Ipc>(&mut self, client: &mut Client<I>, id: i32) -> Result<(), Trouble> {
        let request = BdevRequest {
            minor: MINOR,
            id,
            grant: GrantId::INVALID,
            user: Endpoint::NONE,
            request: IoctlCode::DIOCFLUSH,
            ..Default::default()
        };
        self.post
            .request(client, MessageType::BDEV_IOCTL, &request)
            .map_err(Trouble::Ipc)
    }

    fn keep(&mut self, slot: usize, grant: GrantId) {
        // There is room for one per element and one for the vector.
        let _ = self.grants[slot].push(grant);
    }

    fn revoke<I: Ipc>(&mut self, client: &mut Client<I>, slot: usize) {
        for grant in &self.grants[slot] {
            client.revoke(*grant);
        }
        self.grants[slot].clear();
    }

    /// Takes back the grants of whatever is not outstanding.
    fn revoke_unused<I: Ipc>(&mut self, client: &mut Client<I>) {
        for slot in 0..MAX_DEPTH {
            if !self.load.is_outstanding(slot) {
                self.revoke(client, slot);
            }
        }
    }

    fn fail<I: Ipc>(&mut self, client: &mut Client<I>, why: &dyn core::fmt::Display) {
        self.summary.failures += 1;
        if self.summary.failures <= MAX_FAILURES {
            client.error("load", "wrong", why);
        }
    }

    fn record_progress<I: Ipc>(&self, client: &mut Client<I>) {
        let counters = self.load.counters();
        let label = client.own_label();
        let label = label.as_ref().map_or("load", minix_rt::ds::Label::as_str);
        client.record(&Record::Load(guest_protocol::Load {
            label,
            acknowledged: counters.acknowledged,
            reads: counters.reads,
            writes: counters.writes,
            retried: counters.retried,
            reopened: counters.reopened,
        }));
    }

    fn record_content<I: Ipc>(&self, client: &mut Client<I>) {
        for run in self.load.ledger().runs() {
            match run.seed {
                Some(seed) => client.wrote(run.range.first, run.range.count, seed),
                None => client.touched(run.range.first, run.range.count),
            }
        }
    }
}
