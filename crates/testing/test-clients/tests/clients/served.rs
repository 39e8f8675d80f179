//! A client and the driver of the product, in one system: the driver's disk is a fake, and both directions of the
//! conversation can be tampered with.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use fake_minix::host::{readable, writable};
use fake_minix::{Blocked, Content, Process, Server, SparseDisk, System, Transfer};
use guest_protocol::{MARK, Outcome, Record, pattern};
use minix_abi::bdev::{BdevReply, BdevRequest, VectorElement};
use minix_abi::ioctl::IoctlCode;
use minix_abi::ipc::{IpcCall, IpcStatus};
use minix_abi::kernel_call::IrqPolicy;
use minix_abi::partition::{PartitionEntry, SystemId, write_table};
use minix_abi::rs::SignalReceived;
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, GrantId, Instant, Message, MessageType, Status};
use minix_blockdriver::{BlockDriver, DriverOptions};
use minix_rt::Args;
use minix_rt::kernel::IrqLine;
use minix_rt::logger::Logger;
use minix_virtio_blk::system::{MinixSystem, ReplyTable};
use serde::Deserialize;
use test_clients::client::Client;
use zerocopy::FromBytes;

/// 16 MiB.
pub(crate) const SMALL: u64 = 32_768;
/// More than 140 GiB.
pub(crate) const LARGE: u64 = (1 << 28) + (1 << 26);
/// The pattern of sectors that were never written.
pub(crate) const ORIGINAL_SEED: u64 = 0xd15c_0000_0000;

const CLIENT: Endpoint = Endpoint(40);
const DRIVER: Endpoint = Endpoint(41);

/// A request on its way to the driver.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) kind: MessageType,
    pub(crate) request: BdevRequest,
    /// Counted from 1.
    pub(crate) nth: u32,
    /// The elements of a vector.
    pub(crate) elements: Vec<VectorElement>,
}

impl Asked {
    pub(crate) fn reads(&self) -> bool {
        [MessageType::BDEV_READ, MessageType::BDEV_GATHER].contains(&self.kind)
    }

    pub(crate) fn writes(&self) -> bool {
        [MessageType::BDEV_WRITE, MessageType::BDEV_SCATTER].contains(&self.kind)
    }

    pub(crate) fn is(&self, code: IoctlCode) -> bool {
        self.kind == MessageType::BDEV_IOCTL && self.request.request == code
    }

    /// Whether an element of the vector has such a length.
    pub(crate) fn has(&self, length: impl Fn(u64) -> bool) -> bool {
        self.elements.iter().any(|element| length(element.bytes))
    }
}

/// The one thing that goes wrong. The driver answers the client; the disk is the driver's device.
#[derive(Clone, Copy)]
pub(crate) enum Bug {
    None,
    /// The driver takes a request for another one.
    Request(fn(&mut Asked)),
    /// The driver does nothing about some requests.
    Ignores(fn(&Asked) -> bool),
    /// The driver answers some requests with this status.
    Answers(Status, fn(&Asked, Status) -> bool),
    /// The driver answers with another status.
    Status(fn(&Asked, Status) -> i32),
    /// From a certain request on, one reply is wrong.
    Reply(u32, Wrong),
    /// The driver flips a byte, so many from the start of the granted memory, before it serves some requests, or after.
    Before(i64, fn(&Asked) -> bool),
    After(i64, fn(&Asked, Status) -> bool),
    /// The disk loses data, or brings something else.
    Disk(fn(&mut Transfer)),
    /// The disk goes elsewhere.
    Misplace(fn(&mut Transfer)),
    /// The driver dies with every so many messages, or with one.
    DiesEvery(u32),
    DiesAt(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Missing,
    Twice,
    Id,
    Type,
}

pub(crate) struct Minix {
    pub(crate) system: System,
    pub(crate) content: Rc<RefCell<Content>>,
    client: Process,
    /// Sectors that the test has written itself.
    prepared: RefCell<BTreeSet<u64>>,
}

/// The driver as a process.
struct Served {
    minix: System,
    content: Rc<RefCell<Content>>,
    sectors: u64,
    bug: Bug,
    stop_after: Option<u32>,
    messages: u32,
    endpoint: Endpoint,
    driver: Driver,
    kernel: Kernel,
}

type Kernel = MinixSystem<Process>;
type Driver = BlockDriver<SparseDisk, Kernel, 64>;

/// A new instance of the driver.
fn fresh(minix: &System, endpoint: Endpoint, sectors: u64, content: &Rc<RefCell<Content>>) -> (Driver, Kernel) {
    let replies: &mut ReplyTable = Box::leak(Box::default());
    let logger: &Logger = Box::leak(Box::new(Logger::new(|_| {}, || Instant::START)));
    let mut process = minix.process(endpoint, "disk");
    let line = IrqLine::attach(&mut process, 1, 0, IrqPolicy::empty()).expect("it is free");
    let disk = SparseDisk::new(sectors, content.clone());
    let kernel = Kernel::new(process, replies, || Instant::START, line, 1000, logger);
    (BlockDriver::new(disk, DriverOptions::default()), kernel)
}

impl Served {
    fn now(&self) -> Instant {
        Instant::from_micros(self.minix.state().now)
    }
}

impl Server for Served {
    fn handle(&mut self, status: IpcStatus, message: &Message) -> Result<(), Errno> {
        self.messages += 1;
        if self.stop_after == Some(self.messages) {
            let body = SignalReceived { signal: Signal::TERM };
            let message = Message::with_payload(MessageType::COMMON_SIGNAL, &body);
            self.minix.state().push(CLIENT, Endpoint::RS, IpcCall::SENDA, message);
        }
        let dies = match self.bug {
            Bug::DiesEvery(messages) => self.messages.is_multiple_of(messages),
            Bug::DiesAt(nth) => self.messages == nth,
            _ => false,
        };
        if dies {
            let successor = Endpoint(self.endpoint.0 + Endpoint::GENERATION_STEP);
            self.minix.replace(self.endpoint, successor);
            self.endpoint = successor;
            (self.driver, self.kernel) = fresh(&self.minix, successor, self.sectors, &self.content);
            return Err(Errno::EDEADSRCDST);
        }
        while !self.driver.has_room() {
            assert!(self.idle(), "the driver is full and does nothing");
        }
        let now = self.now();
        self.driver.on_message(&mut self.kernel, now, status, message);
        Ok(())
    }

    fn idle(&mut self) -> bool {
        let before = self.minix.state().waiting(CLIENT);
        let mut worked = false;
        let now = self.now();
        while self.driver.poll(&mut self.kernel, now) > 0 || self.driver.in_flight() > 0 {
            worked = true;
        }
        worked |= self.minix.state().waiting(CLIENT) > before;
        if !worked && let Some(at) = self.driver.deadline() {
            let now = self.now().max(at);
            self.minix.state().now = now.as_micros();
            self.driver.on_time(&mut self.kernel, now);
            worked = true;
        }
        worked
    }
}

impl Minix {
    pub(crate) fn new(sectors: u64, bug: Bug) -> Self {
        Self::stopping(sectors, bug, None)
    }

    /// RS asks the client to stop after so many messages to the driver.
    pub(crate) fn stopping(sectors: u64, bug: Bug, stop_after: Option<u32>) -> Self {
        let system = System::default();
        system.state().now = 5_000_000;
        let content = Rc::new(RefCell::new(Content::new(ORIGINAL_SEED)));
        match bug {
            Bug::Disk(tamper) => content.borrow_mut().tamper = Some(Box::new(tamper)),
            Bug::Misplace(misplace) => content.borrow_mut().misplace = Some(Box::new(misplace)),
            _ => {}
        }
        let client = system.process(CLIENT, "client");
        let (driver, kernel) = fresh(&system, DRIVER, sectors, &content);
        let served = Served {
            minix: system.clone(),
            content: content.clone(),
            sectors,
            bug,
            stop_after,
            messages: 0,
            endpoint: DRIVER,
            driver,
            kernel,
        };
        system.serve(DRIVER, served);
        let minix = Self {
            system,
            content,
            client,
            prepared: RefCell::default(),
        };
        minix.tamper(bug);
        minix
    }

    fn tamper(&self, bug: Bug) {
        let system = self.system.clone();
        let (mut open, mut nth, mut is_done) = (HashMap::new(), 0, false);
        self.system.tamper(move |mut message| {
            if message.source != CLIENT {
                let reply: BdevReply = message.payload();
                let asked = open.get(&reply.id);
                return asked.map_or(vec![message], |asked| {
                    answer(bug, &system, asked, message, &mut is_done)
                });
            }
            nth += 1;
            let (kind, request): (_, BdevRequest) = (message.kind, message.payload());
            let elements = elements(&system, kind, &request);
            let mut asked = Asked {
                kind,
                request,
                nth,
                elements,
            };
            match bug {
                Bug::Request(change) => change(&mut asked),
                Bug::Ignores(is_so) if is_so(&asked) => {
                    asked.kind = MessageType::BDEV_IOCTL;
                    asked.request.request = IoctlCode::DIOCFLUSH;
                }
                Bug::Before(offset, is_so) if is_so(&asked) => change_memory(&system, &asked, offset),
                _ => {}
            }
            message.kind = asked.kind;
            if let Bug::Request(_) | Bug::Ignores(_) = bug {
                message.set_payload(&asked.request);
            }
            open.insert(request.id, asked);
            vec![message]
        });
    }

    /// Runs a program. Without an answer it waits for a message that never comes.
    pub(crate) fn run<R>(&self, program: impl FnOnce(&mut Client<Process>, Args) -> R, words: &str) -> Option<R> {
        let words: Vec<&'static str> = String::leak(words.to_owned()).split(' ').collect();
        let args = Args::new("client", Vec::leak(words));
        let mut client = Client::new(self.client.clone(), Box::leak(Box::default())).unwrap();
        let result = match catch_unwind(AssertUnwindSafe(|| program(&mut client, args))) {
            Ok(result) => Some(result),
            Err(cause) if cause.is::<Blocked>() => None,
            Err(cause) => resume_unwind(cause),
        };
        // The host understands every record.
        self.records();
        result
    }

    pub(crate) fn records(&self) -> Vec<Record<'static>> {
        let state = self.system.state();
        let records = state.console.iter().filter_map(|line| line.strip_prefix(MARK));
        records
            .map(|json| {
                let value: serde_json::Value = serde_json::from_str(json).expect("JSON");
                Record::deserialize(&*Box::leak(Box::new(value))).expect("a record")
            })
            .collect()
    }

    /// Failures: numbers or names of tests with their details, and texts of errors.
    pub(crate) fn failures(&self) -> Vec<String> {
        let records = self.records().into_iter();
        let failures = records.filter_map(|record| match record {
            Record::Test {
                number,
                name,
                outcome,
                detail,
                ..
            } => {
                let what = if number > 0 {
                    number.to_string()
                } else {
                    name.to_owned()
                };
                (outcome == Outcome::Fail).then(|| format!("{what} {detail}"))
            }
            Record::Error { text, .. } => Some(text.to_owned()),
            _ => None,
        });
        failures.collect()
    }

    /// Numbers of checks of the block test with an outcome.
    pub(crate) fn numbers(&self, wanted: Outcome) -> BTreeSet<u32> {
        let records = self.records().into_iter();
        let numbers = records.filter_map(|record| match record {
            Record::Test { number, outcome, .. } => (outcome == wanted && number > 0).then_some(number),
            _ => None,
        });
        numbers.collect()
    }

    /// As the host does: every sector holds the content of the records, and the original one without a record. Returns the
    /// number of sectors in records.
    pub(crate) fn verify_disk(&self) -> usize {
        #[derive(Clone, Copy)]
        enum Held {
            Pattern(u64),
            Zeros,
            Anything,
        }
        // Later records override earlier ones.
        let mut expected: BTreeMap<u64, Held> = BTreeMap::new();
        for record in self.records() {
            let (range, held) = match record {
                Record::Wrote { range, seed } => (range, Held::Pattern(seed)),
                Record::Zeroed { range } => (range, Held::Zeros),
                Record::Undefined { range } => (range, Held::Anything),
                _ => continue,
            };
            expected.extend((range.first..range.end()).map(|sector| (sector, held)));
        }
        let (content, prepared) = (self.content.borrow(), self.prepared.borrow());
        let written = content.written.keys().filter(|sector| !prepared.contains(sector));
        for sector in expected.keys().chain(written) {
            match expected.get(sector).copied().unwrap_or(Held::Pattern(ORIGINAL_SEED)) {
                Held::Pattern(seed) => {
                    let held = pattern::check(seed, *sector, &content.read(*sector));
                    assert_eq!(held, Ok(()), "sector {sector}, seed {seed:#x}");
                }
                Held::Zeros => assert_eq!(content.read(*sector), [0; 512], "sector {sector}"),
                Held::Anything => {}
            }
        }
        expected.len()
    }

    /// Writes a partition table to a sector.
    pub(crate) fn put_table(&self, sector: u64, entries: &[(SystemId, u32, u32)]) {
        let mut table = [PartitionEntry::new(SystemId::NONE, 0, 0); 4];
        for (entry, (system, first, sectors)) in table.iter_mut().zip(entries) {
            *entry = PartitionEntry::new(*system, *first, *sectors);
        }
        let mut bytes = [0; 512];
        write_table(&mut bytes, &table);
        self.prepare(sector, &bytes);
    }

    /// Puts data on the disk before the client runs.
    pub(crate) fn prepare(&self, first: u64, data: &[u8]) {
        self.content.borrow_mut().write(first, data);
        self.prepared
            .borrow_mut()
            .extend(first..first + (data.len() / 512) as u64);
    }
}

/// Changes a reply as the bug says.
fn answer(bug: Bug, system: &System, asked: &Asked, mut message: Message, is_done: &mut bool) -> Vec<Message> {
    let mut reply: BdevReply = message.payload();
    let mut copies = 1;
    match bug {
        Bug::Answers(status, is_so) if is_so(asked, reply.status) => reply.status = status,
        Bug::Status(change) => reply.status = Status(change(asked, reply.status)),
        Bug::After(offset, is_so) if is_so(asked, reply.status) => change_memory(system, asked, offset),
        Bug::Reply(nth, wrong) if asked.nth >= nth && !*is_done => {
            *is_done = true;
            match wrong {
                Wrong::Missing => copies = 0,
                Wrong::Twice => copies = 2,
                Wrong::Id => reply.id ^= 1 << 20,
                Wrong::Type => message.kind = MessageType::BDEV_OPEN,
            }
        }
        _ => {}
    }
    message.set_payload(&reply);
    vec![message; copies]
}

/// The memory of a grant of the client.
fn granted(system: &System, grant: GrantId) -> Option<(u64, u64)> {
    let (_, direct) = system.state().grants(CLIENT).lent(grant)?;
    Some((direct.start, direct.bytes))
}

fn elements(system: &System, kind: MessageType, request: &BdevRequest) -> Vec<VectorElement> {
    let is_vector = [MessageType::BDEV_GATHER, MessageType::BDEV_SCATTER].contains(&kind);
    let memory = granted(system, request.grant).filter(|_| is_vector);
    let bytes = memory.map_or(&[][..], |(start, bytes)| readable(start, bytes));
    let elements = bytes
        .chunks_exact(size_of::<VectorElement>())
        .take(request.count.max(0) as usize);
    elements
        .map(|raw| VectorElement::read_from_bytes(raw).unwrap())
        .collect()
}

/// Flips a byte near the start of the first memory that a request is for.
fn change_memory(system: &System, asked: &Asked, offset: i64) {
    let first = asked
        .elements
        .first()
        .map_or(asked.request.grant, |element| element.grant);
    if let Some((start, _)) = granted(system, first) {
        let byte = &mut writable(start.wrapping_add_signed(offset), 1)[0];
        *byte = !*byte;
    }
}
