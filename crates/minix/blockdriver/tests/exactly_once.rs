//! In every order of events each request is answered once, no byte outside of a partition is touched, and
//! reads return the data of the writes.
//!
//! The model looks at the requests in the order in which they came, which is the order that counts where they overlap. A
//! write that was acknowledged is there; one that failed may be there or not; a read sees what the writes ahead of it left. Discard,
//! zero and erase count as writes.

mod common;

use std::collections::BTreeSet;

use common::Buffer;
use common::{CLIENT, Element, FakeDisk, Placement, Rig, UNTOUCHED, micros, sector_byte};
use fake_minix::{DISCARDED, ERASED};
use minix_abi::bdev::{BdevFlags, BdevRequest};
use minix_abi::disk_control::{EVENTS, LogReport, RangeFlags, RangeRequest, ReportHeader, StatReport, VERSION};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Errno, GrantId, MessageType};
use minix_blockdriver::{Broken, DeviceError, DriverOptions, Refusal};
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

const SECTORS: u64 = 256;
const TIMEOUT: u64 = 1000;
/// Blocks that all requests of a run have at most: 149 transfers of 7 elements.
const MOST_BLOCKS: usize = 149 * 7 * 23;

#[derive(Clone, Debug)]
enum Event {
    Transfer {
        write: bool,
        minor: i32,
        sector: u64,
        /// Sectors of each element; one element is no vector.
        elements: Vec<u64>,
        placement: Placement,
        skew: u64,
        force: bool,
        /// Which element has a bad grant, if there is one.
        bad: Option<usize>,
    },
    Open(i32),
    Close(i32),
    Ioctl(IoctlCode),
    /// Discard, zero or erase.
    Range {
        code: IoctlCode,
        minor: i32,
        sector: u64,
        count: u64,
        flags: RangeFlags,
        /// The client is an older one.
        old: bool,
    },
    /// What a client asks the service to tell.
    Report {
        code: IoctlCode,
        /// The memory for it is one byte too short.
        short: bool,
    },
    Poll,
    Finish {
        nth: usize,
        result: Result<(), DeviceError>,
    },
    Sleep(u64),
    Lose(usize),
    Break {
        /// The reset hands finished requests over, and no poll does.
        unseen: bool,
    },
    DieSilently,
    Refuse(Refusal),
    FailReset {
        /// The device goes on with its requests.
        stuck: bool,
    },
}

fn placement() -> impl Strategy<Value = Placement> {
    prop_oneof![
        Just(Placement::Contiguous),
        Just(Placement::Scattered),
        Just(Placement::Untouched)
    ]
}

fn transfer() -> impl Strategy<Value = Event> {
    (
        any::<bool>(),
        prop::sample::select(vec![0, 0, 1, 2]),
        // Crowded, so that they overlap and touch.
        prop_oneof![0..40_u64, 0..SECTORS + 8],
        prop_oneof![
            3 => prop::collection::vec(1..6_u64, 1..2),
            1 => prop::collection::vec(1..24_u64, 1..8)
        ],
        placement(),
        (0..2048_u64).prop_map(|half| 2 * half),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.05, 0..8_usize),
    )
        .prop_map(
            |(write, minor, sector, elements, placement, skew, force, bad)| Event::Transfer {
                write,
                minor,
                sector,
                elements,
                placement,
                skew,
                force,
                bad,
            },
        )
}

fn range() -> impl Strategy<Value = Event> {
    let codes = vec![IoctlCode::VBLKDISCARD, IoctlCode::VBLKZERO, IoctlCode::VBLKERASE];
    let flags = vec![
        RangeFlags::empty(),
        RangeFlags::FORCE,
        RangeFlags::FORCE,
        RangeFlags::all(),
    ];
    (
        prop::sample::select(codes),
        prop::sample::select(vec![0, 0, 1, 2]),
        prop_oneof![0..40_u64, 0..SECTORS + 8],
        prop_oneof![8 => 0..40_u64, 1 => Just(RangeRequest::ALL), 1 => any::<u64>()],
        prop::sample::select(flags),
        prop::bool::weighted(0.05),
    )
        .prop_map(|(code, minor, sector, count, flags, old)| Event::Range {
            code,
            minor,
            sector,
            count,
            flags,
            old,
        })
}

fn report() -> impl Strategy<Value = Event> {
    (
        prop::sample::select(&fake_minix::REPORTS[..]),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(code, short)| Event::Report { code, short })
}

fn event() -> impl Strategy<Value = Event> {
    let ioctls = vec![IoctlCode::DIOCFLUSH, IoctlCode::DIOCEJECT, IoctlCode(99)];
    let error = prop_oneof![Just(DeviceError::Io), Just(DeviceError::Unsupported)];
    let result = prop_oneof![9 => Just(Ok(())), 1 => error.prop_map(Err)];
    let refusals = vec![
        Refusal::Full,
        Refusal::Unreachable,
        Refusal::Invalid,
        Refusal::Unsupported,
        Refusal::Broken,
    ];
    prop_oneof![
        30 => transfer(),
        3 => range(),
        3 => report(),
        1 => (0..6).prop_map(Event::Open),
        1 => (0..6).prop_map(Event::Close),
        1 => prop::sample::select(ioctls).prop_map(Event::Ioctl),
        12 => Just(Event::Poll),
        25 => (0..16_usize, result).prop_map(|(nth, result)| Event::Finish { nth, result }),
        3 => (0..2 * TIMEOUT).prop_map(Event::Sleep),
        1 => (0..16_usize).prop_map(Event::Lose),
        1 => any::<bool>().prop_map(|unseen| Event::Break { unseen }),
        1 => Just(Event::DieSilently),
        2 => prop::sample::select(refusals).prop_map(Event::Refuse),
        1 => any::<bool>().prop_map(|stuck| Event::FailReset { stuck }),
    ]
}

#[derive(Clone, Debug)]
struct World {
    max_segments: u16,
    block_sectors: u64,
    room: usize,
    depth: u16,
    buffers: usize,
    half_done: bool,
    ranges_at_once: usize,
    flush_after: u64,
    /// Base and size of the two partitions, in bytes.
    partitions: [(u64, u64); 2],
}

fn extent() -> impl Strategy<Value = (u64, u64)> {
    prop_oneof![
        4 => (0..SECTORS, 0..SECTORS).prop_map(|(first, count)| (first * 512, count * 512)),
        1 => (0..SECTORS * 512, 0..SECTORS * 512),
        1 => (any::<u64>(), any::<u64>()),
    ]
}

fn world() -> impl Strategy<Value = World> {
    (
        prop::sample::select(vec![1, 2, 3, 5, 64]),
        prop::sample::select(vec![1, 1, 1, 8]),
        prop::sample::select(vec![1, 2, 5, 100]),
        prop::sample::select(vec![1, 3, u16::MAX]),
        prop::sample::select(vec![0, 1, 4]),
        any::<bool>(),
        prop::sample::select(vec![1, 3, 64]),
        prop::sample::select(vec![0, 1, TIMEOUT / 4, 3 * TIMEOUT]),
        [extent(), extent()],
    )
        .prop_map(
            |(
                max_segments,
                block_sectors,
                room,
                depth,
                buffers,
                half_done,
                ranges_at_once,
                flush_after,
                partitions,
            )| World {
                max_segments,
                block_sectors,
                room,
                depth,
                buffers,
                half_done,
                ranges_at_once,
                flush_after,
                partitions,
            },
        )
}

/// What each sector may hold.
type Model = Vec<BTreeSet<u8>>;

/// A transfer that was asked for.
struct Asked {
    id: i32,
    write: bool,
    fill: u8,
    /// The first byte on the disk, and how many there are up to the end of the partition: by arithmetic of its own.
    first: u128,
    room: u128,
    bytes: u64,
    buffers: Vec<Buffer>,
}

/// A range that was asked for.
struct AskedRange {
    id: i32,
    minor: i32,
    request: RangeRequest,
    buffer: Buffer,
    fill: u8,
    /// Where the minor starts on the disk, and how long it is, in bytes.
    base: u128,
    size: u128,
}

/// What changes or reads sectors, in the order in which it came.
enum Work {
    Transfer(Asked),
    Range(AskedRange),
}

/// A report that was asked for.
struct AskedReport {
    id: i32,
    code: IoctlCode,
    buffer: Buffer,
    short: bool,
}

struct Run {
    rig: Rig,
    asked: Vec<Work>,
    reports: Vec<AskedReport>,
    others: Vec<i32>,
    world: World,
    fills: u8,
}

impl Run {
    fn new(world: World) -> Self {
        let options = DriverOptions {
            request_timeout: micros(TIMEOUT),
            replays: 2,
            reset_attempts: 2,
            reset_pause: micros(100),
            depth: world.depth,
            reads_before_write: 3,
            flush_after: micros(world.flush_after),
            ..DriverOptions::default()
        };
        let mut rig = Rig::with(options, |disk| {
            disk.info.sectors = SECTORS;
            disk.content.truncate(SECTORS as usize * 512);
        });
        for minor in 0..3 {
            assert_eq!(rig.open(minor), 0);
        }
        for (minor, (base, bytes)) in (1..).zip(world.partitions) {
            rig.set_partition(minor, base, bytes);
        }
        rig.kernel.ranges_at_once = world.ranges_at_once;
        let disk = rig.disk();
        disk.automatic = false;
        disk.info.max_segments = world.max_segments;
        disk.info.block_bytes = (world.block_sectors * 512) as u32;
        disk.room = world.room;
        disk.half_done = world.half_done;
        Self {
            rig,
            asked: Vec::new(),
            reports: Vec::new(),
            others: Vec::new(),
            world,
            fills: 0,
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Transfer {
                write,
                minor,
                sector,
                elements,
                placement,
                skew,
                force,
                bad,
            } => self.transfer(write, minor, sector, &elements, placement, skew, force, bad),
            Event::Open(minor) => self.other(MessageType::BDEV_OPEN, minor, IoctlCode(0)),
            Event::Close(minor) => self.other(MessageType::BDEV_CLOSE, minor, IoctlCode(0)),
            Event::Ioctl(code) => self.other(MessageType::BDEV_IOCTL, 0, code),
            Event::Range {
                code,
                minor,
                sector,
                count,
                flags,
                old,
            } => self.range(code, minor, sector, count, flags, old),
            Event::Report { code, short } => self.report(code, short),
            Event::Poll => {
                self.rig.poll();
            }
            Event::Finish { nth, result } => {
                let notified = self.rig.disk().notified;
                if notified > 0 && !self.rig.disk().broken {
                    self.rig.disk().finish(nth % notified, result);
                }
            }
            Event::Sleep(span) => self.rig.sleep(micros(span)),
            Event::Lose(nth) => {
                let notified = self.rig.disk().notified;
                if notified > 0 {
                    self.rig.disk().lose(nth % notified);
                }
            }
            Event::Break { unseen } => {
                self.rig.disk().poll_finds_nothing = unseen;
                self.rig.disk().broken = true;
            }
            Event::DieSilently => self.rig.disk().silently_dead = true,
            Event::Refuse(refusal) => self.rig.disk().refusals.push_back(Some(refusal)),
            Event::FailReset { stuck } => {
                self.rig.disk().stuck = stuck;
                self.rig.disk().resets.push_back(Err(Broken));
            }
        }
        assert!(self.rig.driver.in_flight() <= usize::from(self.world.depth));
    }

    fn other(&mut self, kind: MessageType, minor: i32, code: IoctlCode) {
        let request = BdevRequest {
            minor: Minor(minor),
            request: code,
            ..BdevRequest::default()
        };
        // The disk stays open: a scan would undo the partitions.
        if kind != MessageType::BDEV_CLOSE || minor != 0 {
            let id = self.rig.send(kind, request);
            self.others.push(id);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn transfer(
        &mut self,
        write: bool,
        minor: i32,
        sector: u64,
        sizes: &[u64],
        placement: Placement,
        skew: u64,
        force: bool,
        bad: Option<usize>,
    ) {
        let rig = &mut self.rig;
        let unit = self.world.block_sectors;
        let position = sector / unit * unit * 512;
        // 251 and up are no bytes of a fresh disk.
        self.fills = self.fills.wrapping_add(1);
        let fill = self.fills;
        let placement = if write && placement == Placement::Untouched && self.world.buffers == 0 {
            Placement::Scattered
        } else {
            placement
        };
        let mut elements = Vec::new();
        let mut buffers = Vec::new();
        for (nth, size) in sizes.iter().enumerate() {
            let bytes = size * unit * 512;
            let buffer = rig.buffer(bytes, placement, skew);
            let grant = if write {
                rig.lend_to_take(buffer)
            } else {
                rig.lend_to_fill(buffer)
            };
            if write && placement != Placement::Untouched {
                rig.fill(buffer, &vec![fill; bytes as usize]);
            }
            if bad == Some(nth) {
                rig.revoke(grant);
            }
            elements.push(Element { grant, bytes });
            buffers.push(buffer);
        }
        let bytes = elements.iter().map(|element| element.bytes).sum();
        let (vector, count): (GrantId, u64) = match elements[..] {
            [single] => (single.grant, single.bytes),
            _ => (rig.vector(&elements), elements.len() as u64),
        };
        let kind = match (write, elements.len()) {
            (false, 1) => MessageType::BDEV_READ,
            (true, 1) => MessageType::BDEV_WRITE,
            (false, _) => MessageType::BDEV_GATHER,
            (true, _) => MessageType::BDEV_SCATTER,
        };
        let mut request = Rig::transfer_request(minor, position, count as i32, vector);
        if force {
            request.flags = BdevFlags::FORCEWRITE;
        }
        let id = rig.send(kind, request);
        let (base, size) = self.extent(minor);
        let end = (u128::from(base) + u128::from(size)).min(u128::from(SECTORS * 512));
        let first = u128::from(base) + u128::from(position);
        self.asked.push(Work::Transfer(Asked {
            id,
            write,
            fill: if placement == Placement::Untouched { 0 } else { fill },
            first,
            room: end.saturating_sub(first),
            bytes,
            buffers,
        }));
    }

    /// Where a minor starts and how long it is, in bytes.
    fn extent(&self, minor: i32) -> (u64, u64) {
        match minor {
            0 => (0, SECTORS * 512),
            nth => self.world.partitions[nth as usize - 1],
        }
    }

    fn range(&mut self, code: IoctlCode, minor: i32, sector: u64, count: u64, flags: RangeFlags, old: bool) {
        let unit = self.world.block_sectors;
        // Mostly whole blocks, so that most ranges are good ones.
        let first = sector / unit * unit;
        let count = if count < SECTORS { count / unit * unit } else { count };
        let request = RangeRequest {
            version: if old { VERSION - 1 } else { VERSION },
            ..RangeRequest::new(flags, first, count)
        };
        let rig = &mut self.rig;
        let buffer = rig.buffer(size_of::<RangeRequest>() as u64, Placement::Scattered, 2 * sector);
        rig.fill(buffer, request.as_bytes());
        let grant = rig.kernel.space(CLIENT).grant(buffer.address, buffer.bytes, true, true);
        let body = BdevRequest {
            minor: Minor(minor),
            request: code,
            grant,
            ..BdevRequest::default()
        };
        let id = rig.send(MessageType::BDEV_IOCTL, body);
        let (base, size) = self.extent(minor);
        self.asked.push(Work::Range(AskedRange {
            id,
            minor,
            request,
            buffer,
            fill: match code {
                IoctlCode::VBLKDISCARD => DISCARDED,
                IoctlCode::VBLKZERO => 0,
                _ => ERASED,
            },
            base: base.into(),
            size: size.into(),
        }));
    }

    fn report(&mut self, code: IoctlCode, short: bool) {
        let bytes = code.argument_bytes() as u64 - u64::from(short);
        let buffer = self.rig.buffer(bytes, Placement::Scattered, 2);
        let grant = self.rig.lend_to_fill(buffer);
        let body = BdevRequest {
            request: code,
            grant,
            ..BdevRequest::default()
        };
        let id = self.rig.send(MessageType::BDEV_IOCTL, body);
        self.reports.push(AskedReport {
            id,
            code,
            buffer,
            short,
        });
    }

    /// Lets everything come to its end with a device that works again.
    fn drain(&mut self) {
        let disk = self.rig.disk();
        disk.automatic = true;
        disk.broken = false;
        disk.refusals.clear();
        disk.resets.clear();
        disk.poll_finds_nothing = false;
        // A disk with room for one request of two segments does a few blocks in a round.
        let mut rounds = 0;
        while rounds < 100 || (rounds < MOST_BLOCKS && self.rig.kernel.unanswered() > 0) {
            self.rig.poll();
            self.rig.sleep(micros(TIMEOUT));
            rounds += 1;
        }
        assert_eq!(self.rig.kernel.unanswered(), 0, "a client waits for ever");
        assert_eq!(self.rig.driver.in_flight(), 0);
        assert!(self.rig.kernel.open.values().all(|&open| open == 0));
        let counters = self.rig.driver.counters();
        assert_eq!(counters.requests, counters.replies);
        // A device that was given up is asked nothing any more. A write that failed but has happened was promised to no client.
        if self.world.flush_after > 0 && !self.world.half_done && !self.rig.driver.is_broken() {
            assert_eq!(self.rig.disk().unflushed, 0);
        }
    }

    fn check(&mut self) {
        for id in std::mem::take(&mut self.others) {
            assert!(self.rig.answer(id).is_some());
        }
        for report in std::mem::take(&mut self.reports) {
            self.check_report(&report);
        }
        let mut model: Model = (0..SECTORS)
            .map(|sector| BTreeSet::from([sector_byte(sector)]))
            .collect();
        for work in std::mem::take(&mut self.asked) {
            match work {
                Work::Transfer(asked) => self.check_transfer(&asked, &mut model),
                Work::Range(asked) => self.check_range(&asked, &mut model),
            }
        }
        let disk: &FakeDisk = self.rig.driver.device();
        for (sector, bytes) in disk.content.chunks(512).enumerate() {
            assert!(bytes.iter().all(|byte| *byte == bytes[0]));
            assert!(model[sector].contains(&bytes[0]), "sector {sector} holds {}", bytes[0]);
        }
    }

    fn check_transfer(&mut self, asked: &Asked, model: &mut Model) {
        let status = self.rig.answer(asked.id).expect("an answer");
        let wanted = u128::from(asked.bytes).min(asked.room);
        let touched = if status < 0 { wanted } else { status as u128 };
        assert!(touched <= wanted, "{touched} bytes of {wanted}");
        if status >= 0 {
            // All of it, but for a block that does not fit.
            assert!(wanted - touched < u128::from(self.world.block_sectors * 512));
        }
        let sectors = (asked.first / 512) as usize..((asked.first + touched) / 512) as usize;
        if asked.write {
            let refused = status == Errno::ERESTART.to_wire() || status == Errno::EINVAL.to_wire();
            for sector in sectors.filter(|_| !refused) {
                if status >= 0 {
                    model[sector].clear();
                }
                model[sector].insert(asked.fill);
            }
            return;
        }
        let data: Vec<u8> = asked
            .buffers
            .iter()
            .flat_map(|&buffer| self.rig.bytes(buffer))
            .collect();
        if status >= 0 {
            let (read, rest) = data.split_at(touched as usize);
            for (sector, bytes) in sectors.zip(read.chunks(512)) {
                assert!(bytes.iter().all(|byte| *byte == bytes[0]));
                assert!(model[sector].contains(&bytes[0]), "sector {sector}");
            }
            assert!(rest.iter().all(|byte| [0, UNTOUCHED].contains(byte)));
        }
    }

    fn check_range(&mut self, asked: &AskedRange, model: &mut Model) {
        let status = self.rig.answer(asked.id).expect("an answer");
        let AskedRange {
            request, base, size, ..
        } = *asked;
        let told = RangeRequest::read_from_bytes(&self.rig.bytes(asked.buffer)).unwrap();
        let offset = u128::from(request.first) * 512;
        let bytes = match request.count {
            RangeRequest::ALL => size.saturating_sub(offset),
            count => u128::from(count) * 512,
        };
        let (first, end) = (base + offset, base + offset + bytes);
        let is_whole = (first | bytes).is_multiple_of(u128::from(self.world.block_sectors) * 512);
        let is_inside = offset + bytes <= size && end <= u128::from(SECTORS * 512);
        let is_good = request.version == VERSION && is_whole && is_inside && bytes > 0;
        let done = if status == 0 { bytes / 512 } else { 0 };
        assert_eq!(
            told,
            RangeRequest {
                done: done as u64,
                ..request
            },
            "status {status}"
        );
        if status == 0 {
            // The whole disk is open all the time, so that a part of it is open elsewhere.
            assert!(
                request.flags.contains(RangeFlags::FORCE) || asked.minor == 0,
                "{request:?}"
            );
            assert!(is_good, "{request:?}");
        }
        let harmless = [Errno::EINVAL, Errno::EBUSY, Errno::ERESTART];
        if harmless.map(Errno::to_wire).contains(&status) || !is_good {
            return;
        }
        for held in &mut model[(first / 512) as usize..(end / 512) as usize] {
            if status == 0 {
                held.clear();
            }
            held.insert(asked.fill);
        }
    }

    fn check_report(&mut self, report: &AskedReport) {
        let status = self.rig.answer(report.id).expect("an answer");
        let bytes = self.rig.bytes(report.buffer);
        if status == Errno::ERESTART.to_wire() {
            // There was no room for the request.
            assert!(bytes.iter().all(|&byte| byte == UNTOUCHED));
            return;
        }
        if report.short {
            assert_eq!(status, Errno::EPERM.to_wire(), "{:?}", report.code);
            return;
        }
        assert_eq!(status, 0, "{:?}", report.code);
        let (header, _) = ReportHeader::read_from_prefix(&[&bytes[..], &[0; 4]].concat()).unwrap();
        assert_eq!(header.version, VERSION);
        match report.code {
            IoctlCode::VBLKVERSION => return,
            IoctlCode::VBLKSTAT => {
                let told = StatReport::read_from_bytes(&bytes).unwrap();
                let counts = told.counts;
                assert!(counts.in_flight <= counts.most_in_flight.min(self.world.depth.into()));
                assert!(counts.unanswered <= counts.most_unanswered);
                assert_eq!(counts.requests, counts.replies + counts.unanswered + 1);
                assert!(counts.errors <= counts.replies);
                // What is replayed the device has had, alone or with others, or its refusal was the reason of the reset.
                let refused = counts.resets + counts.failed_resets;
                assert!(counts.replays <= counts.device_requests + counts.merged + refused);
            }
            IoctlCode::VBLKLOG => {
                let told = LogReport::read_from_bytes(&bytes).unwrap();
                let (events, rest) = told.events.split_at(told.count as usize);
                assert!(events.is_sorted_by_key(|event| event.time_us));
                assert!(
                    events
                        .iter()
                        .all(|event| event.kind.name().is_some() && event.time_us <= told.now_us)
                );
                assert!(rest.iter().all(|event| *event == Default::default()));
                assert!(told.lost == 0 || events.len() == EVENTS);
            }
            _ => {}
        }
        assert_eq!(header.bytes as usize, bytes.len());
    }
}

/// A run of these events alone.
fn run(world: World, events: Vec<Event>) {
    let mut run = Run::new(world);
    for event in events {
        run.event(event);
    }
    run.drain();
    run.check();
}

#[test]
fn a_transfer_that_the_device_refused_before_a_reset_counts_as_replayed() {
    let world = World {
        max_segments: 1,
        block_sectors: 1,
        room: 1,
        depth: 1,
        buffers: 0,
        half_done: false,
        ranges_at_once: 1,
        flush_after: 0,
        partitions: [(0, 0); 2],
    };
    let read = Event::Transfer {
        write: false,
        minor: 0,
        sector: 0,
        elements: vec![1],
        placement: Placement::Contiguous,
        skew: 0,
        force: false,
        bad: None,
    };
    let report = Event::Report {
        code: IoctlCode::VBLKSTAT,
        short: false,
    };
    run(
        world,
        vec![
            Event::Refuse(Refusal::Full),
            read,
            Event::Break { unseen: false },
            Event::Sleep(0),
            Event::Sleep(100),
            Event::Lose(0),
            report,
        ],
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_request_is_answered_once_and_the_data_is_right(
        world in world(),
        events in prop::collection::vec(event(), 1..150),
    ) {
        run(world, events);
    }
}
