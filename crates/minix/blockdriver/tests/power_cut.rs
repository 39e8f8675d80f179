//! What was promised to be durable is on the medium at every moment, in spite of all that happens to the device, and to the driver,
//! before and after.
//!
//! The fake disk writes down each change. The power may go between any two of them, and then every change that no flush
//! covers may be missing; the crate `power-cut` judges all these disks by what the clients were told. A flush covers what was complete
//! when it was submitted, and no more.

mod common;

use std::cell::Cell;

use common::{Rig, micros};
use fake_minix::{Change, DISCARDED, FakeDisk, Op};
use guest_protocol::{Ask, Fate, SectorRange, pattern, witness};
use minix_abi::MessageType;
use minix_abi::bdev::{BdevFlags, BdevRequest};
use minix_abi::disk_control::{RangeFlags, RangeRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_blockdriver::{BlockDevice as _, BlockDriver, Broken, DeviceError, DriverOptions, Refusal};
use power_cut::{Clock, Content, History, Judge, Request, Step, Tally, Time, Violation};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use zerocopy::IntoBytes;

const SECTORS: u64 = 24;
/// A longer write. Its memory is in pieces.
const LONG: u64 = 9;
const PAUSE: u64 = 100;
const TIMEOUT: u64 = 10_000;

#[derive(Clone, Debug)]
enum Event {
    Write {
        sector: u64,
        count: u64,
        force: bool,
    },
    Read {
        sector: u64,
    },
    /// Zeroes, or a discard.
    Range {
        sector: u64,
        count: u64,
        discard: bool,
    },
    Flush,
    Reopen,
    Switch(bool),
    Finish {
        nth: usize,
        result: Result<(), DeviceError>,
    },
    /// The oldest request completes that is no flush.
    FinishData,
    Lose(usize),
    Break,
    BreakUnseen,
    DieSilently,
    FailReset {
        stuck: bool,
    },
    /// It has a cache, or none, after the next reset.
    OtherCache(bool),
    Refuse(Refusal),
    /// The driver dies, and another one takes its place.
    Die,
    Poll,
    Sleep(u64),
}

/// What clients ask for, a device that works, in any order, and time.
fn calm() -> BoxedStrategy<Event> {
    let count = prop_oneof![3 => Just(1), 1 => Just(LONG)];
    prop_oneof![
        12 => (0..SECTORS, count, prop::bool::weighted(0.3))
            .prop_map(|(sector, count, force)| Event::Write { sector, count, force }),
        2 => (0..SECTORS).prop_map(|sector| Event::Read { sector }),
        1 => (0..SECTORS / 8, 1..3_u64, any::<bool>())
            .prop_map(|(block, blocks, discard)| Event::Range { sector: 8 * block, count: 8 * blocks, discard }),
        3 => Just(Event::Flush),
        3 => Just(Event::Reopen),
        12 => (0..16_usize).prop_map(|nth| Event::Finish { nth, result: Ok(()) }),
        12 => Just(Event::FinishData),
        24 => Just(Event::Poll),
        12 => (0..2 * PAUSE).prop_map(Event::Sleep),
    ]
    .boxed()
}

/// What goes wrong.
fn trouble() -> BoxedStrategy<Event> {
    prop_oneof![
        1 => any::<bool>().prop_map(Event::Switch),
        2 => (0..16_usize).prop_map(|nth| Event::Finish { nth, result: Err(DeviceError::Io) }),
        1 => (0..16_usize).prop_map(Event::Lose),
        2 => Just(Event::Break),
        2 => Just(Event::BreakUnseen),
        1 => Just(Event::DieSilently),
        1 => any::<bool>().prop_map(|stuck| Event::FailReset { stuck }),
        1 => any::<bool>().prop_map(Event::OtherCache),
        1 => prop::sample::select(vec![Refusal::Broken, Refusal::Full]).prop_map(Event::Refuse),
        2 => Just(Event::Die),
        2 => (0..TIMEOUT).prop_map(Event::Sleep),
    ]
    .boxed()
}

/// A device that always works, or one with which something goes wrong now and then, or often.
fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::sample::select(vec![0, 1, 8]).prop_flat_map(|share| {
        let event = match share {
            0 => calm(),
            share => prop_oneof![40 - share => calm(), share => trouble()].boxed(),
        };
        prop::collection::vec(event, 1..250)
    })
}

/// A request that is not answered.
struct Waiting {
    id: i32,
    request: Request,
    /// The status that means success.
    wanted: i32,
}

struct Run {
    rig: Rig,
    options: DriverOptions,
    waiting: Vec<Waiting>,
    history: History,
    /// How many events there were at each change of the disk.
    times: Vec<Time>,
    number: u32,
    /// Drivers so far.
    driver: i32,
}

impl Run {
    fn new(options: DriverOptions, change: impl FnOnce(&mut FakeDisk)) -> Self {
        let mut rig = Rig::opened_with(options, |disk| {
            change(disk);
            // Copies of a whole disk are what takes time.
            disk.info.sectors = 2 * SECTORS;
            disk.content = vec![0xEE; 2 * SECTORS as usize * 512];
            disk.medium.clone_from(&disk.content);
            disk.changes = Some(Vec::new());
        });
        rig.disk().automatic = false;
        let mut run = Self {
            rig,
            options,
            waiting: Vec::new(),
            history: History::new(),
            times: Vec::new(),
            number: 0,
            driver: 0,
        };
        let request = run.asked(Ask::Open, SectorRange::default());
        run.heard(request, Fate::Done);
        run
    }

    fn asked(&mut self, ask: Ask, range: SectorRange) -> Request {
        self.number += 1;
        let (request, driver) = (self.next_request(), self.driver);
        let event = power_cut::Event::Asked {
            request,
            driver,
            ask,
            range,
        };
        self.history.push(event).unwrap();
        request
    }

    fn next_request(&self) -> Request {
        Request {
            client: 0,
            number: self.number,
        }
    }

    fn heard(&mut self, request: Request, fate: Fate) {
        self.history.push(power_cut::Event::Heard { request, fate }).unwrap();
    }

    /// Dates the changes since the last call.
    fn date(&mut self) {
        let changes = self.rig.disk().changes.as_ref().map_or(0, Vec::len);
        self.times.resize(changes, self.history.now());
    }

    fn send(&mut self, (ask, first, count): (Ask, u64, u64), kind: MessageType, message: BdevRequest, wanted: i32) {
        if !self.rig.driver.has_room() {
            return;
        }
        let request = self.asked(ask, SectorRange { first, count });
        let id = self.rig.send(kind, message);
        self.waiting.push(Waiting { id, request, wanted });
    }

    fn send_plain(&mut self, ask: Ask, kind: MessageType) {
        self.send((ask, 0, 0), kind, Self::on_minor_0(), 0);
    }

    fn on_minor_0() -> BdevRequest {
        BdevRequest {
            minor: Minor(0),
            ..BdevRequest::default()
        }
    }

    /// Takes in what was answered.
    fn look(&mut self) {
        self.date();
        let (rig, mut answers) = (&mut self.rig, Vec::new());
        self.waiting.retain(|waiting| {
            let status = rig.answer(waiting.id);
            answers.extend(status.map(|status| (waiting.request, status == waiting.wanted)));
            status.is_none()
        });
        for (request, is_done) in answers {
            self.heard(request, if is_done { Fate::Done } else { Fate::Failed });
        }
    }

    /// The driver is gone with all it had, and another one resets the device and serves the disk.
    fn die(&mut self) {
        let memory = self.rig.memory.clone();
        let mut disk = std::mem::replace(self.rig.disk(), FakeDisk::new(memory, 1));
        repair(&mut disk);
        disk.reset(&mut |_, _| {}).unwrap();
        self.rig.driver = BlockDriver::new(disk, self.options);
        self.rig.driver.inherit_writes(self.rig.now);
        self.driver += 1;
        self.rig.disk().automatic = true;
        assert_eq!(self.rig.open(0), 0);
        self.rig.disk().automatic = false;
        self.date();
        for waiting in std::mem::take(&mut self.waiting) {
            self.heard(waiting.request, Fate::Lost);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Write { sector, count, force } => {
                let ask = if force { Ask::Force } else { Ask::Write };
                let mut data = vec![0; 512 * count as usize];
                pattern::fill(witness::seed(0, self.number + 1), sector, &mut data);
                let mut request = self.rig.write_request(0, sector * 512, &data);
                if force {
                    request.flags = BdevFlags::FORCEWRITE;
                }
                let wanted = data.len() as i32;
                self.send((ask, sector, count), MessageType::BDEV_WRITE, request, wanted);
            }
            Event::Read { sector } => {
                let (request, _) = self.rig.read_request(0, sector * 512, 512);
                self.send((Ask::Read, sector, 1), MessageType::BDEV_READ, request, 512);
            }
            Event::Range { sector, count, discard } => {
                let (ask, code) = if discard {
                    (Ask::Discard, IoctlCode::VBLKDISCARD)
                } else {
                    (Ask::Zero, IoctlCode::VBLKZERO)
                };
                let argument = RangeRequest::new(RangeFlags::FORCE, sector, count);
                let bytes = argument.as_bytes();
                let buffer = self.rig.buffer(bytes.len() as u64, common::Placement::Contiguous, 0);
                self.rig.fill(buffer, bytes);
                let space = self.rig.kernel.space(common::CLIENT);
                let request = BdevRequest {
                    request: code,
                    grant: space.grant(buffer.address, buffer.bytes, true, true),
                    ..Self::on_minor_0()
                };
                self.send((ask, sector, count), MessageType::BDEV_IOCTL, request, 0);
            }
            Event::Flush => {
                let request = BdevRequest {
                    request: IoctlCode::DIOCFLUSH,
                    ..Self::on_minor_0()
                };
                self.send((Ask::Flush, 0, 0), MessageType::BDEV_IOCTL, request, 0);
            }
            Event::Reopen => {
                self.send_plain(Ask::Close, MessageType::BDEV_CLOSE);
                self.send_plain(Ask::Open, MessageType::BDEV_OPEN);
            }
            Event::Switch(on) => {
                let buffer = self.rig.buffer(4, common::Placement::Contiguous, 0);
                self.rig.fill(buffer, &i32::from(on).to_le_bytes());
                let request = BdevRequest {
                    request: IoctlCode::DIOCSETWC,
                    grant: self.rig.lend_to_take(buffer),
                    ..Self::on_minor_0()
                };
                // Nothing is promised by it, as by a read.
                self.send((Ask::Read, 0, 0), MessageType::BDEV_IOCTL, request, 0);
            }
            Event::Finish { nth, result } => {
                let notified = self.rig.disk().notified;
                if notified > 0 {
                    self.rig.disk().finish(nth % notified, result);
                }
            }
            Event::FinishData => {
                let disk = self.rig.disk();
                let known = &disk.pending[..disk.notified];
                if let Some(nth) = known.iter().position(|request| request.op != Op::Flush) {
                    disk.finish(nth, Ok(()));
                }
            }
            Event::Lose(nth) => {
                let notified = self.rig.disk().notified;
                if notified > 0 {
                    self.rig.disk().lose(nth % notified);
                }
            }
            Event::Break => self.rig.disk().broken = true,
            Event::BreakUnseen => {
                self.rig.disk().poll_finds_nothing = true;
                self.rig.disk().broken = true;
            }
            Event::DieSilently => self.rig.disk().silently_dead = true,
            Event::FailReset { stuck } => {
                self.rig.disk().stuck = stuck;
                self.rig.disk().resets.push_back(Err(Broken));
            }
            Event::OtherCache(cache) => self.rig.disk().cache_after_reset = Some(cache),
            Event::Refuse(refusal) => self.rig.disk().refusals.push_back(Some(refusal)),
            Event::Die => self.die(),
            Event::Poll => drop(self.rig.poll()),
            Event::Sleep(span) => self.rig.sleep(micros(span)),
        }
        self.look();
    }

    /// Judges every power cut that there could have been.
    fn judged(&mut self) -> Result<Tally, Violation> {
        self.date();
        let changes = self.rig.disk().changes.take().unwrap_or_default();
        let steps: Vec<Step> = changes.iter().map(step).collect();
        let promises = self.history.promises();
        let clock = Clock::exact(&self.times, &self.history);
        Judge::new(&self.history, &promises, &steps, &clock).all()
    }
}

/// Nothing that was prepared goes wrong any more.
fn repair(disk: &mut FakeDisk) {
    disk.broken = false;
    disk.refusals.clear();
    disk.resets.clear();
}

fn step(change: &Change) -> Step {
    match change {
        Change::Flushed { covers } => Step::Flush { covers: *covers },
        Change::Sectors {
            first, bytes, durable, ..
        } => {
            let (sectors, _) = bytes.as_chunks::<512>();
            let content = |(sector, bytes): (u64, &[u8; 512])| match Content::of(sector, bytes) {
                // A discard leaves what it likes.
                Content::Strange if *bytes == [DISCARDED; 512] => Content::Zeros,
                content => content,
            };
            Step::Write {
                first: *first,
                contents: (*first..).zip(sectors).map(content).collect(),
                durable: *durable,
            }
        }
    }
}

fn options(flush_after: u64, depth: u16) -> DriverOptions {
    DriverOptions {
        request_timeout: micros(TIMEOUT),
        reset_pause: micros(PAUSE),
        reset_attempts: 2,
        flush_after: micros(flush_after),
        depth,
        ..DriverOptions::default()
    }
}

/// A driver that dozens of things happen to, and every power cut meanwhile.
fn eventful(
    events: Vec<Event>,
    flush_after: u64,
    depth: u16,
    max_segments: u16,
) -> Result<Result<Tally, Violation>, TestCaseError> {
    let mut run = Run::new(options(flush_after, depth), |disk| {
        disk.info.max_segments = max_segments;
    });
    for event in events {
        run.event(event);
    }
    repair(run.rig.disk());
    run.rig.disk().automatic = true;
    run.event(Event::Reopen);
    for _ in 0..60 {
        run.event(Event::Poll);
        if let Some(at) = run.rig.driver.deadline() {
            run.rig.sleep(at.since(run.rig.now));
        }
    }
    prop_assert!(run.rig.driver.is_idle(), "{} wait", run.rig.kernel.unanswered());
    Ok(run.judged())
}

#[test]
fn what_was_promised_to_be_durable_is_on_the_medium() {
    let strategy = (
        events(),
        prop::sample::select(vec![0, 200]),
        prop::sample::select(vec![1, 2, 64]),
        prop::sample::select(vec![1, 64]),
    );
    let (cuts, contents) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&strategy, |(events, flush_after, depth, max_segments)| {
        let judged = eventful(events, flush_after, depth, max_segments)?;
        let tally = judged.map_err(|violation| TestCaseError::fail(violation.to_string()))?;
        cuts.set(cuts.get() + tally.cuts);
        contents.set(contents.get() + tally.contents);
        Ok(())
    });
    outcome.unwrap();
    println!("{} power cuts, {} contents of sectors", cuts.get(), contents.get());
    assert!(cuts.get() > 5000, "{} power cuts", cuts.get());
}

/// Writes, forced or not, and what makes them durable, on a device that works.
fn ordinary(change: impl FnOnce(&mut FakeDisk)) -> Result<Tally, Violation> {
    let mut run = Run::new(options(0, 64), change);
    run.rig.disk().automatic = true;
    for round in 0..40 {
        let (sector, count) = (round % SECTORS, 1 + round % 3);
        let force = round % 5 == 0;
        run.event(Event::Write { sector, count, force });
        match round % 7 {
            0 => run.event(Event::Flush),
            3 => run.event(Event::Reopen),
            _ => {}
        }
        run.event(Event::Poll);
        run.event(Event::Poll);
    }
    run.judged()
}

#[test]
fn a_disk_that_ignores_flushes_is_found() {
    let tally = ordinary(|_| {}).unwrap();
    assert!(tally.cuts > 40 && tally.promised > 100, "{tally:?}");
    let violation = ordinary(|disk| disk.ignores_flushes = true).unwrap_err();
    assert!(violation.promised.is_some(), "{violation}");
}

#[test]
fn a_write_that_completes_beside_a_flush_is_flushed_by_the_close() {
    let mut run = Run::new(options(PAUSE, 64), |_| {});
    let write = |sector| Event::Write {
        sector,
        count: 1,
        force: false,
    };
    for event in [
        write(0),
        Event::Poll,
        Event::FinishData,
        Event::Poll,
        Event::Sleep(PAUSE),
        Event::Poll,
    ] {
        run.event(event);
    }
    assert_eq!(run.rig.disk().pending[0].op, Op::Flush, "in the background");
    let flush = Event::Finish { nth: 0, result: Ok(()) };
    for event in [
        write(1),
        Event::Poll,
        Event::FinishData,
        Event::Poll,
        flush,
        Event::Poll,
    ] {
        run.event(event);
    }
    run.rig.disk().automatic = true;
    for event in [Event::Reopen, Event::Poll, Event::Poll, Event::Poll] {
        run.event(event);
    }
    assert_eq!(run.history.answered(Ask::Close), 1);
    assert_eq!(run.judged().err(), None);
}
