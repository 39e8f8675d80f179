//! The private control requests: what is told, ranges of sectors, and NetBSD's names.

mod common;

use std::time::Duration;

use common::{CLIENT, Op, Placement, Rig, SECTORS, sector_byte, wire};
use fake_minix::{ADDRESS, DISCARDED, ERASED, ID, IRQ, LIFETIME, REPORTS};
use minix_abi::disk_control::*;
use minix_abi::ioctl::{CacheFlags, IoctlCode};
use minix_abi::minor::Minor;
use minix_abi::{Errno, GrantId};
use minix_blockdriver::{Broken, DeviceError, DriverOptions, Refusal};
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

const RANGES: [IoctlCode; 3] = [IoctlCode::VBLKDISCARD, IoctlCode::VBLKZERO, IoctlCode::VBLKERASE];

/// Sends a range, and returns the answer and what the client finds in its structure.
fn range(rig: &mut Rig, minor: i32, code: IoctlCode, request: RangeRequest) -> (i32, RangeRequest) {
    let (grant, buffer) = lend(rig, request);
    let status = rig.ioctl_with(minor, code, grant);
    (status, RangeRequest::read_from_bytes(&rig.bytes(buffer)).unwrap())
}

fn lend(rig: &mut Rig, request: RangeRequest) -> (GrantId, common::Buffer) {
    let buffer = rig.buffer(32, Placement::Contiguous, 16);
    rig.fill(buffer, request.as_bytes());
    let grant = rig.kernel.space(CLIENT).grant(buffer.address, 32, true, true);
    (grant, buffer)
}

fn plain(first: u64, count: u64) -> RangeRequest {
    RangeRequest::new(RangeFlags::empty(), first, count)
}

/// Puts a minor somewhere, and leaves it closed.
fn place(rig: &mut Rig, minor: i32, base: u64, bytes: u64) {
    assert_eq!(rig.open(minor), 0);
    rig.set_partition(minor, base, bytes);
    assert_eq!(rig.close(minor), 0);
}

fn get<T: FromBytes + zerocopy::FromZeros>(rig: &mut Rig, code: IoctlCode) -> T {
    let (status, report) = rig.ioctl_get::<T>(0, code);
    assert_eq!(status, 0, "{code:?}");
    report
}

fn events(rig: &mut Rig) -> Vec<EventKind> {
    let log: LogReport = get(rig, IoctlCode::VBLKLOG);
    assert!(log.header.is_of::<LogReport>());
    let (told, rest) = log.events.split_at(log.count as usize);
    assert!(rest.iter().all(|event| *event == Event::default()));
    assert!(told.is_sorted_by_key(|event| event.time_us));
    told.iter().map(|event| event.kind).collect()
}

/// A driver whose device was given up.
fn given_up() -> Rig {
    let mut rig = Rig::opened();
    rig.disk().resets = [Err(Broken); 3].into();
    rig.disk().broken = true;
    assert_eq!(rig.read(0, 0, 512).0, wire(Errno::EIO));
    assert!(rig.driver.is_broken());
    rig
}

#[test]
fn vblkinfo_tells_the_disk_and_its_minors() {
    let mut rig = Rig::opened();
    place(&mut rig, 2, 512 * 100, 512 * 50);
    assert_eq!(rig.open(2), 0);
    let report: DiskReport = get(&mut rig, IoctlCode::VBLKINFO);
    let disk = report.disk;
    assert!(disk.header.is_of::<DiskReport>());
    assert_eq!((disk.address, disk.irq, disk.transport_version), (ADDRESS, IRQ, 2));
    assert_eq!((disk.offered, disk.accepted), (0x7000_1234, 0x3000_1230));
    assert_eq!((disk.sectors, disk.block_bytes), (SECTORS, 512));
    assert_eq!((disk.max_segments, disk.max_segment_bytes), (64, u32::MAX));
    let limit = RangeLimit {
        sectors: 100,
        ranges: 1,
        alignment: 8,
    };
    assert_eq!((disk.discard, disk.zero, disk.erase), (limit, limit, limit));
    assert_eq!((disk.descriptors, disk.opens, disk.timeout_ms), (64, 2, 10_000));
    assert_eq!((disk.id, disk.lifetime), (ID, LIFETIME));
    let missing = DiskFlags::READ_ONLY | DiskFlags::GIVEN_UP | DiskFlags::LEGACY | DiskFlags::INDIRECT;
    assert_eq!(disk.flags.bits(), 0x3FFF & !missing.bits());
    let minors: Vec<i32> = report.minors.iter().map(|told| told.minor.0).collect();
    assert_eq!(minors, (0..5).chain(128..144).collect::<Vec<_>>());
    let told = |nth: usize| {
        (
            report.minors[nth].base,
            report.minors[nth].bytes,
            report.minors[nth].opens,
        )
    };
    assert_eq!(told(0), (0, SECTORS * 512, 1));
    assert_eq!(told(1), (0, 0, 0));
    assert_eq!(told(2), (51_200, 25_600, 1));
}

#[test]
fn vblkinfo_of_a_simple_disk_tells_no_more_than_there_is() {
    let mut rig = Rig::opened_with(DriverOptions::default(), |disk| {
        let info = &mut disk.info;
        (info.can_flush, info.write_cache, info.cache_switch) = (false, false, false);
        (info.discard, info.write_zeroes, info.secure_erase) = (None, None, None);
        (info.zeroes_unmap, info.lifetime) = (false, false);
    });
    rig.disk().info.read_only = true;
    let disk = get::<DiskReport>(&mut rig, IoctlCode::VBLKINFO).disk;
    assert_eq!(disk.flags, DiskFlags::LIVE | DiskFlags::READ_ONLY | DiskFlags::ID);
    assert_eq!((disk.discard, disk.lifetime), Default::default());
    assert_eq!(rig.disk().ops(), [(Op::Identify, 0, 0)]);
}

#[test]
fn vblkinfo_without_an_answer_of_the_device_tells_the_rest() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let buffer = rig.buffer(648, Placement::Contiguous, 0);
    let grant = rig.lend_to_fill(buffer);
    let id = rig.send_ioctl(IoctlCode::VBLKINFO, grant);
    for error in [DeviceError::Unsupported, DeviceError::Io] {
        rig.poll();
        assert_eq!(rig.answer(id), None);
        rig.disk().finish(0, Err(error));
    }
    rig.poll();
    assert_eq!(rig.answer(id), Some(0));
    let disk = DiskReport::read_from_bytes(&rig.bytes(buffer)).unwrap().disk;
    assert_eq!(disk.flags & (DiskFlags::ID | DiskFlags::LIFETIME), DiskFlags::empty());
    assert_eq!((disk.sectors, disk.id), (SECTORS, [0; 20]));
}

#[test]
fn vblkinfo_tells_the_rest_if_the_device_is_given_up_meanwhile() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let buffer = rig.buffer(648, Placement::Contiguous, 0);
    let grant = rig.lend_to_fill(buffer);
    let id = rig.send_ioctl(IoctlCode::VBLKINFO, grant);
    rig.poll();
    assert_eq!(rig.answer(id), None);
    rig.disk().resets = [Err(Broken); 3].into();
    rig.disk().broken = true;
    for _ in 0..10 {
        rig.poll();
        rig.sleep(Duration::from_secs(1));
    }
    assert!(rig.driver.is_broken());
    assert_eq!(rig.answer(id), Some(0));
    let report = DiskReport::read_from_bytes(&rig.bytes(buffer)).unwrap();
    assert_eq!(report.disk.flags, DiskFlags::GIVEN_UP);
    assert_eq!(report.minors[0].bytes, SECTORS * 512);
}

#[test]
fn vblkinfo_tells_the_rest_if_the_device_loses_the_question() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let buffer = rig.buffer(648, Placement::Contiguous, 0);
    let grant = rig.lend_to_fill(buffer);
    let id = rig.send_ioctl(IoctlCode::VBLKINFO, grant);
    for _ in 0..4 {
        rig.poll();
        assert_eq!(rig.answer(id), None);
        rig.disk().lose(0);
        rig.sleep(Duration::from_secs(11));
    }
    assert_eq!(rig.answer(id), Some(0));
    let disk = DiskReport::read_from_bytes(&rig.bytes(buffer)).unwrap().disk;
    assert!(disk.flags.contains(DiskFlags::LIVE));
    assert_eq!(disk.flags & (DiskFlags::ID | DiskFlags::LIFETIME), DiskFlags::empty());
    assert_eq!(events(&mut rig).last(), Some(&EventKind::REQUEST_GIVEN_UP));
}

/// What `VBLKSTAT` tells. Each count is that of the driver.
fn stat(rig: &mut Rig) -> StatReport {
    let report: StatReport = get(rig, IoctlCode::VBLKSTAT);
    let (told, counted) = (&report.counts, rig.driver.counters());
    let counts = [
        (told.requests, counted.requests),
        // Its own answer was given afterwards.
        (told.replies + 1, counted.replies),
        (told.errors, counted.errors),
        (told.reads, counted.reads),
        (told.writes, counted.writes),
        (told.bytes_read, counted.bytes_read),
        (told.bytes_written, counted.bytes_written),
        (told.no_room, counted.no_room),
        (told.device_requests, counted.device_requests),
        (told.merged, counted.merged),
        (told.chunks, counted.chunks),
        (told.bounced, counted.bounced),
        (told.device_full, counted.device_full),
        (told.notifies, counted.notifies),
        (told.flushes, counted.flushes),
        (told.background_flushes, counted.background_flushes),
        (told.failed_flushes, counted.failed_flushes),
        (told.timeouts, counted.timeouts),
        (told.resets, counted.resets),
        (told.failed_resets, counted.failed_resets),
        (told.replays, counted.replayed),
        (told.stray_completions, counted.stray_completions),
    ];
    for (nth, (told, counted)) in counts.into_iter().enumerate() {
        assert_eq!(told, counted, "count {nth}");
    }
    report
}

#[test]
fn vblkstat_tells_of_flushes_in_the_background() {
    let after = Duration::from_millis(1);
    let options = DriverOptions {
        flush_after: after,
        ..DriverOptions::default()
    };
    let mut rig = Rig::opened_with(options, |_| {});
    assert_eq!(rig.write(0, 4096, &[1; 512]), 512);
    rig.disk().refusals.push_back(Some(Refusal::Unsupported));
    rig.sleep(after);
    rig.sleep(after);
    rig.settle();
    let counts = stat(&mut rig).counts;
    assert_eq!((counts.failed_flushes, counts.background_flushes), (1, 1));
}

#[test]
fn vblkstat_counts_by_kind_and_in_sum() {
    let options = DriverOptions {
        started: minix_blockdriver::Instant::from_micros(77),
        ..DriverOptions::default()
    };
    let mut rig = Rig::opened_with(options, |_| {});
    let before = stat(&mut rig);
    for _ in 0..3 {
        assert_eq!(rig.read(0, 0, 1024).0, 1024);
    }
    assert_eq!(rig.write(0, 4096, &[1; 512]), 512);
    rig.disk().bad_sectors = vec![9];
    assert_eq!(rig.write(0, 9 * 512, &[1; 512]), wire(Errno::EIO));
    assert_eq!(rig.ioctl_with(0, IoctlCode::DIOCFLUSH, GrantId::INVALID), 0);
    for code in RANGES {
        assert_eq!(range(&mut rig, 0, code, plain(16, 4)).0, 0);
    }
    let after = stat(&mut rig);
    assert!(after.header.is_of::<StatReport>());
    assert_eq!((after.since_us, after.now_us), (77, rig.now.as_micros()));
    let done = |kind: Kind| {
        let (after, before) = (after.kinds[kind.0 as usize], before.kinds[kind.0 as usize]);
        let recorded: u64 = after.latency.iter().sum::<u64>() - before.latency.iter().sum::<u64>();
        let operations = after.operations - before.operations;
        (
            operations,
            after.bytes - before.bytes,
            after.errors - before.errors,
            recorded,
        )
    };
    assert_eq!(done(Kind::READ), (3, 3072, 0, 3));
    assert_eq!(done(Kind::WRITE), (2, 512, 1, 2));
    // The discard asks for one before it, and the writes before the zeroes and the erase are those of the ranges.
    assert_eq!(done(Kind::FLUSH), (3, 0, 0, 3));
    for kind in [Kind::DISCARD, Kind::ZERO, Kind::ERASE] {
        assert_eq!(done(kind), (1, 2048, 0, 1), "{kind:?}");
    }
    let counts = after.counts;
    assert_eq!((counts.in_flight, counts.unanswered), (0, 0));
    assert_eq!((counts.bytes_read, counts.bytes_written), (3072, 512));
    assert_eq!((counts.errors, counts.flushes, counts.resets), (1, 3, 0));
    assert_eq!(counts.requests, counts.replies + 1, "this one is not answered yet");
}

#[test]
fn vblkregs_tells_names_and_values() {
    let mut rig = Rig::opened();
    let report: RegisterReport = get(&mut rig, IoctlCode::VBLKREGS);
    assert!(report.header.is_of::<RegisterReport>());
    assert_eq!((report.address, report.count), (ADDRESS, 2));
    let told = report
        .registers
        .map(|register| (register.name().to_owned(), register.value));
    assert_eq!(told[0], ("MagicValue".to_owned(), 0x7472_6976));
    assert_eq!(told[1], ("Status".to_owned(), 0xF));
    assert!(told[2..].iter().all(|register| *register == (String::new(), 0)));
}

#[test]
fn vblkqueue_tells_what_is_in_flight_without_waiting_for_it() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    rig.send_read(8, 2);
    rig.poll();
    rig.now = rig.now.after(Duration::from_micros(250));
    rig.send_write(100, 4, 1);
    rig.poll();
    let report: QueueReport = get(&mut rig, IoctlCode::VBLKQUEUE);
    assert!(report.header.is_of::<QueueReport>());
    assert_eq!((report.count, report.unanswered, report.ring.chains), (2, 2, 2));
    assert_eq!(report.ring.flags, QueueFlags::LIVE);
    let told = |kind| {
        *report
            .in_flight
            .iter()
            .find(|told| told.sectors > 0 && told.kind == kind)
            .unwrap()
    };
    let (read, write) = (told(Kind::READ), told(Kind::WRITE));
    assert_eq!((read.first, read.sectors, read.age_us), (8, 2, 250));
    assert_eq!((write.first, write.sectors, write.age_us), (100, 4, 0));
    assert_eq!((read.client, read.minor, read.clients), (CLIENT, Minor(0), 1));
    assert_eq!(report.in_flight.iter().filter(|told| told.clients > 0).count(), 2);
    assert_eq!(stat(&mut rig).counts.in_flight, 2);
    rig.settle();
}

#[test]
fn reports_are_told_while_a_barrier_waits_and_during_a_reset() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    rig.send_read(0, 1);
    let flush = rig.send_ioctl(IoctlCode::DIOCFLUSH, GrantId::default());
    rig.poll();
    // Two resets in a row have a pause between them.
    rig.disk().resets = [Err(Broken), Err(Broken)].into();
    rig.disk().broken = true;
    rig.poll();
    assert_eq!(events(&mut rig), [EventKind::RESET, EventKind::RESET_FAILED]);
    let report: QueueReport = get(&mut rig, IoctlCode::VBLKQUEUE);
    assert_eq!(report.ring.flags, QueueFlags::STOPPED);
    assert_eq!(report.unanswered, 2);
    stat(&mut rig);
    get::<RegisterReport>(&mut rig, IoctlCode::VBLKREGS);
    assert_eq!(rig.answer(flush), None);
}

#[test]
fn a_device_that_is_given_up_is_told_of_but_does_nothing() {
    let mut rig = given_up();
    assert_eq!(events(&mut rig).last(), Some(&EventKind::GIVEN_UP));
    stat(&mut rig);
    get::<RegisterReport>(&mut rig, IoctlCode::VBLKREGS);
    let queue: QueueReport = get(&mut rig, IoctlCode::VBLKQUEUE);
    assert_eq!((queue.ring.flags, queue.count), (QueueFlags::STOPPED, 0));
    let report: DiskReport = get(&mut rig, IoctlCode::VBLKINFO);
    let expected = DiskHead {
        header: ReportHeader::of::<DiskReport>(),
        address: ADDRESS,
        irq: IRQ,
        flags: DiskFlags::GIVEN_UP,
        opens: 1,
        timeout_ms: 10_000,
        ..DiskHead::default()
    };
    assert_eq!(report.disk, expected, "nothing that only a device can tell");
    assert_eq!(report.minors[0].bytes, SECTORS * 512, "as it was found");
    for code in RANGES {
        assert_eq!(range(&mut rig, 0, code, plain(0, 8)).0, wire(Errno::EIO), "{code:?}");
    }
    let old = RangeRequest {
        version: 0,
        ..plain(0, 8)
    };
    assert_eq!(range(&mut rig, 0, IoctlCode::VBLKZERO, old).0, wire(Errno::EINVAL));
    for code in [
        IoctlCode::DIOCGMEDIASIZE,
        IoctlCode::DIOCGSECTORSIZE,
        IoctlCode::DIOCGCACHE,
    ] {
        assert_eq!(rig.ioctl_get::<u64>(0, code).0, wire(Errno::EIO), "{code:?}");
    }
    assert_eq!(rig.ioctl_set(0, IoctlCode::DIOCSCACHE, 0_u32), wire(Errno::EIO));
    assert_eq!(rig.ioctl_set(0, IoctlCode::DIOCCACHESYNC, 0_i32), wire(Errno::EIO));
}

#[test]
fn bad_grants_of_private_requests_have_the_kernels_answer() {
    let mut rig = Rig::opened();
    for code in REPORTS.into_iter().chain(RANGES) {
        let answer = |rig: &mut Rig, grant| rig.ioctl_with(0, code, grant);
        assert_eq!(answer(&mut rig, GrantId::INVALID), wire(Errno::EINVAL), "{code:?}");
        let bytes = code.argument_bytes() as u64;
        let buffer = rig.buffer(bytes, Placement::Contiguous, 0);
        let space = rig.kernel.space(CLIENT);
        let short = space.grant(buffer.address, bytes - 1, true, true);
        let wrong_way = space.grant(buffer.address, bytes, !code.driver_reads(), code.driver_reads());
        assert_eq!(answer(&mut rig, short), wire(Errno::EPERM), "{code:?}");
        if code.driver_writes() != code.driver_reads() {
            assert_eq!(answer(&mut rig, wrong_way), wire(Errno::EPERM), "{code:?}");
        }
        let good = rig.kernel.space(CLIENT).grant(buffer.address, bytes, true, true);
        rig.revoke(good);
        assert_eq!(answer(&mut rig, good), wire(Errno::EPERM), "{code:?}");
    }
    assert!(
        rig.disk()
            .ops()
            .iter()
            .all(|(op, ..)| !matches!(op, Op::Discard | Op::Zero | Op::Erase))
    );
}

#[test]
fn a_code_of_another_size_is_enotty_and_vblkversion_tells_why() {
    let mut rig = Rig::opened();
    for code in REPORTS.into_iter().chain(RANGES) {
        for size in [1_u64 << 16, 8 << 16] {
            let other = IoctlCode(code.0 ^ size);
            assert_eq!(
                rig.ioctl_with(0, other, GrantId::INVALID),
                wire(Errno::ENOTTY),
                "{other:?}"
            );
        }
    }
    assert_eq!(get::<u32>(&mut rig, IoctlCode::VBLKVERSION), VERSION);
    assert_eq!(
        rig.ioctl_with(0, IoctlCode(0x4004_560A), GrantId::INVALID),
        wire(Errno::ENOTTY)
    );
}

#[test]
fn private_requests_want_a_minor_that_exists_and_was_opened() {
    let mut rig = Rig::opened();
    assert_eq!(rig.open(6), wire(Errno::ENXIO));
    for code in REPORTS.into_iter().chain(RANGES) {
        assert_eq!(
            rig.ioctl_with(1, code, GrantId::INVALID),
            wire(Errno::ERESTART),
            "{code:?}"
        );
        assert_eq!(
            rig.ioctl_with(6, code, GrantId::INVALID),
            wire(Errno::ENXIO),
            "{code:?}"
        );
    }
}

#[test]
fn a_range_changes_its_sectors_and_no_others() {
    for (code, flags, fill, op) in [
        (IoctlCode::VBLKDISCARD, RangeFlags::empty(), DISCARDED, Op::Discard),
        (IoctlCode::VBLKZERO, RangeFlags::empty(), 0, Op::Zero),
        (IoctlCode::VBLKZERO, RangeFlags::UNMAP, 0, Op::Unmap),
        (IoctlCode::VBLKERASE, RangeFlags::empty(), ERASED, Op::Erase),
    ] {
        let mut rig = Rig::opened();
        place(&mut rig, 3, 512 * 200, 512 * 100);
        let (status, told) = range(&mut rig, 0, code, RangeRequest::new(flags, 17, 300));
        assert_eq!((status, told.done), (0, 300), "{code:?}");
        assert_eq!(
            rig.disk().ops(),
            [(op, 17, 300)],
            "the limits are the device's driver's business"
        );
        for sector in 0..SECTORS {
            let found = rig.disk().content[sector as usize * 512];
            let expected = if (17..317).contains(&sector) {
                fill
            } else {
                sector_byte(sector)
            };
            assert_eq!(found, expected, "{code:?} {sector}");
        }
    }
}

#[test]
fn a_range_of_a_minor_counts_from_its_start_and_ends_at_its_end() {
    let mut rig = Rig::opened();
    place(&mut rig, 1, 512 * 100, 512 * 50);
    assert_eq!((rig.open(1), rig.close(0)), (0, 0));
    rig.disk().log.clear();
    let zero = |rig: &mut Rig, first, count| range(rig, 1, IoctlCode::VBLKZERO, plain(first, count));
    assert_eq!(zero(&mut rig, 10, 5).1.done, 5);
    assert_eq!(zero(&mut rig, 45, RangeRequest::ALL).1.done, 5);
    assert_eq!(zero(&mut rig, 0, RangeRequest::ALL).1.done, 50);
    let zeroes: Vec<_> = rig
        .disk()
        .ops()
        .into_iter()
        .filter(|(op, ..)| *op == Op::Zero)
        .collect();
    assert_eq!(zeroes, [(Op::Zero, 110, 5), (Op::Zero, 145, 5), (Op::Zero, 100, 50)]);
    for (first, count) in [
        (45, 6),
        (50, 1),
        (50, RangeRequest::ALL),
        (0, 0),
        (u64::MAX, 2),
        (2, u64::MAX - 1),
    ] {
        let (status, told) = zero(&mut rig, first, count);
        assert_eq!((status, told.done), (wire(Errno::EINVAL), 0), "{first} {count}");
    }
}

#[test]
fn a_range_that_is_not_whole_blocks_is_einval() {
    let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.info.block_bytes = 4096);
    for (first, count) in [(1, 8), (0, 7), (4, 4)] {
        let status = range(&mut rig, 0, IoctlCode::VBLKDISCARD, plain(first, count)).0;
        assert_eq!(status, wire(Errno::EINVAL));
    }
    assert_eq!(range(&mut rig, 0, IoctlCode::VBLKDISCARD, plain(8, 16)).0, 0);
}

#[test]
fn ranges_check_in_order() {
    let mut rig = Rig::opened();
    let ask = |rig: &mut Rig, code, request| range(rig, 0, code, request).0;
    // All is wrong; one thing after the other is mended.
    let mut request = RangeRequest {
        version: 2,
        flags: RangeFlags::from_bits_retain(4),
        ..plain(1, SECTORS)
    };
    assert_eq!(rig.open(0), 0);
    rig.disk().info.read_only = true;
    rig.disk().info.secure_erase = None;
    let code = IoctlCode::VBLKERASE;
    assert_eq!(ask(&mut rig, code, request), wire(Errno::EINVAL));
    request.version = 1;
    assert_eq!(ask(&mut rig, code, request), wire(Errno::EINVAL), "unknown flags");
    request.flags = RangeFlags::UNMAP;
    assert_eq!(ask(&mut rig, code, request), wire(Errno::EINVAL), "it is for zeroes");
    request.flags = RangeFlags::empty();
    assert_eq!(ask(&mut rig, code, request), wire(Errno::EACCES));
    rig.disk().info.read_only = false;
    assert_eq!(ask(&mut rig, code, request), wire(Errno::EOPNOTSUPP));
    assert_eq!(ask(&mut rig, IoctlCode::VBLKDISCARD, request), wire(Errno::EINVAL));
    request.count = 8;
    assert_eq!(ask(&mut rig, IoctlCode::VBLKDISCARD, request), wire(Errno::EBUSY));
    request.flags = RangeFlags::FORCE;
    assert_eq!(ask(&mut rig, IoctlCode::VBLKDISCARD, request), 0);
}

#[test]
fn an_overlapping_minor_that_is_open_elsewhere_is_ebusy() {
    let mut rig = Rig::opened();
    place(&mut rig, 1, 512 * 100, 512 * 50);
    place(&mut rig, 2, 512 * 150, 512 * 50);
    place(&mut rig, 128, 512 * 120, 512 * 10);
    assert_eq!((rig.open(1), rig.close(0)), (0, 0));
    let ask = |rig: &mut Rig, minor| range(rig, minor, IoctlCode::VBLKDISCARD, plain(0, 8)).0;
    assert_eq!(ask(&mut rig, 1), 0, "it is the only one");
    assert_eq!(rig.open(2), 0);
    assert_eq!(ask(&mut rig, 1), 0, "a neighbour");
    for other in [0, 1, 128] {
        assert_eq!(rig.open(other), 0);
        assert_eq!(ask(&mut rig, 1), wire(Errno::EBUSY), "{other}");
        let forced = RangeRequest::new(RangeFlags::FORCE, 0, 8);
        assert_eq!(range(&mut rig, 1, IoctlCode::VBLKDISCARD, forced).0, 0);
        assert_eq!(rig.close(other), 0);
    }
    // A client that has closed its minor and goes on: the other one still counts.
    assert_eq!((rig.open(0), rig.close(1)), (0, 0));
    assert_eq!(ask(&mut rig, 1), wire(Errno::EBUSY));
}

#[test]
fn an_error_of_the_device_ends_a_range_and_tells_no_sectors() {
    for (error, errno) in [
        (DeviceError::Io, Errno::EIO),
        (DeviceError::Unsupported, Errno::EOPNOTSUPP),
    ] {
        let mut rig = Rig::opened();
        rig.disk().automatic = false;
        let (grant, buffer) = lend(&mut rig, plain(0, 8));
        let id = rig.send_ioctl(IoctlCode::VBLKERASE, grant);
        rig.poll();
        rig.disk().finish(0, Err(error));
        rig.poll();
        assert_eq!(rig.answer(id), Some(wire(errno)));
        assert_eq!(RangeRequest::read_from_bytes(&rig.bytes(buffer)).unwrap().done, 0);
    }
}

#[test]
fn a_range_is_a_barrier_and_is_tried_again_after_a_reset() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let read = rig.send_read(0, 1);
    let (grant, _) = lend(&mut rig, plain(0, 8));
    let zero = rig.send_ioctl(IoctlCode::VBLKZERO, grant);
    let later = rig.send_read(4, 1);
    rig.poll();
    assert_eq!(rig.disk().ops(), [(Op::Read, 0, 1)]);
    rig.settle_one();
    assert_eq!(rig.answer(read), Some(512));
    assert_eq!(rig.disk().ops()[1..], [(Op::Zero, 0, 8)]);
    rig.disk().lose(0);
    rig.sleep(Duration::from_secs(11));
    assert_eq!(rig.disk().reset_count, 1);
    rig.poll();
    assert_eq!(rig.disk().ops()[1..], [(Op::Zero, 0, 8), (Op::Zero, 0, 8)]);
    assert_eq!(rig.answer(later), None);
    rig.settle();
    assert_eq!((rig.answer(zero), rig.answer(later)), (Some(0), Some(512)));
    let log: LogReport = get(&mut rig, IoctlCode::VBLKLOG);
    let late = log.events[0];
    assert_eq!((late.kind, late.code), (EventKind::TIMED_OUT, Kind::ZERO.0 as u16));
    assert_eq!((late.first, late.second, late.count), (0, 8, 0));
}

#[test]
fn progress_of_a_long_range_counts_against_the_timeout() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let (grant, _) = lend(&mut rig, plain(0, 8));
    let erase = rig.send_ioctl(IoctlCode::VBLKERASE, grant);
    rig.poll();
    for _ in 0..20 {
        rig.sleep(Duration::from_secs(9));
        rig.disk().progress = true;
        rig.poll();
    }
    assert_eq!(rig.disk().reset_count, 0);
    rig.settle();
    assert_eq!(rig.answer(erase), Some(0));
}

#[test]
fn what_a_range_changes_is_flushed_as_a_write_is() {
    let mut rig = Rig::opened();
    assert_eq!(range(&mut rig, 0, IoctlCode::VBLKDISCARD, plain(0, 8)).0, 0);
    rig.sleep(Duration::from_secs(1));
    rig.poll();
    assert_eq!(rig.disk().ops(), [(Op::Discard, 0, 8), (Op::Flush, 0, 0)]);
    assert_eq!(range(&mut rig, 0, IoctlCode::VBLKZERO, plain(0, 8)).0, 0);
    assert_eq!(rig.close(0), 0);
    assert_eq!(
        rig.disk().ops()[2..],
        [(Op::Zero, 0, 8), (Op::Flush, 0, 0)],
        "the last close"
    );
}

#[test]
fn writes_are_flushed_before_a_range_and_not_beside_it() {
    let mut rig = Rig::opened();
    assert_eq!(rig.write(0, 0, &[1; 512]), 512);
    rig.disk().automatic = false;
    let (grant, _) = lend(&mut rig, plain(8, 8));
    rig.send_ioctl(IoctlCode::VBLKERASE, grant);
    rig.poll();
    rig.settle_one();
    let expected = [(Op::Write, 0, 1), (Op::Flush, 0, 0), (Op::Erase, 8, 8)];
    assert_eq!(rig.disk().ops(), expected);
    rig.sleep(Duration::from_secs(5));
    rig.poll();
    assert_eq!(rig.disk().ops(), expected, "nothing overtakes it");
    rig.settle();
}

#[test]
fn a_flush_that_fails_before_a_range_is_eio_whatever_the_device_says() {
    for error in [DeviceError::Io, DeviceError::Unsupported] {
        let mut rig = Rig::opened();
        assert_eq!(rig.write(0, 0, &[1; 512]), 512);
        rig.disk().automatic = false;
        let (grant, _) = lend(&mut rig, plain(8, 8));
        let id = rig.send_ioctl(IoctlCode::VBLKDISCARD, grant);
        rig.poll();
        rig.disk().finish(0, Err(error));
        rig.poll();
        // The device has the command, so EOPNOTSUPP would hide that the write may be lost.
        assert_eq!(rig.answer(id), Some(wire(Errno::EIO)));
        assert_eq!(rig.disk().ops(), [(Op::Write, 0, 1), (Op::Flush, 0, 0)]);
        assert_eq!(events(&mut rig), [EventKind::FLUSH_FAILED]);
    }
}

#[test]
fn a_trace_has_reports_and_ranges_as_their_ioctls() {
    let mut rig = Rig::opened();
    assert_eq!(rig.ioctl_set(0, IoctlCode::BIOCTRACEBUF, 8_u64), 0);
    assert_eq!(rig.ioctl_set(0, IoctlCode::BIOCTRACECTL, 0_i32), 0);
    get::<LogReport>(&mut rig, IoctlCode::VBLKLOG);
    assert_eq!(range(&mut rig, 0, IoctlCode::VBLKZERO, plain(0, 8)).0, 0);
    assert_eq!(rig.ioctl_set(0, IoctlCode::BIOCTRACECTL, 1_i32), 0);
    let (count, entries) = rig.ioctl_get::<[minix_abi::trace::TraceEntry; 8]>(0, IoctlCode::BIOCTRACEGET);
    assert_eq!(count, 2);
    for (entry, code) in entries.iter().zip([IoctlCode::VBLKLOG, IoctlCode::VBLKZERO]) {
        assert_eq!(entry.request, minix_abi::trace::TraceRequest::IOCTL);
        assert_eq!((u64::from(entry.size), entry.result.0), (code.0, 0));
    }
}

#[test]
fn the_log_keeps_the_last_events_and_counts_the_others() {
    let mut rig = Rig::opened();
    assert_eq!(events(&mut rig), []);
    for sectors in 0..100 {
        rig.disk().events.push_back(Event {
            first: sectors,
            ..Event::new(EventKind::RESIZED)
        });
    }
    let log: LogReport = get(&mut rig, IoctlCode::VBLKLOG);
    assert_eq!((log.lost, log.count), (36, 64));
    let told: Vec<u64> = log.events.iter().map(|event| event.first).collect();
    assert_eq!(told, (36..100).collect::<Vec<_>>());
    assert!(log.events.iter().all(|event| event.time_us == rig.now.as_micros()));
}

#[test]
fn a_flush_that_fails_is_an_event() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    rig.send_ioctl(IoctlCode::DIOCFLUSH, GrantId::default());
    rig.poll();
    rig.disk().finish(0, Err(DeviceError::Io));
    rig.poll();
    assert_eq!(events(&mut rig), [EventKind::FLUSH_FAILED]);
}

#[test]
fn a_request_that_is_lost_too_often_is_an_event() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let read = rig.send_read(3, 2);
    for _ in 0..4 {
        rig.poll();
        rig.sleep(Duration::from_secs(11));
    }
    for _ in 0..20 {
        rig.sleep(Duration::from_secs(11));
    }
    assert_eq!(rig.answer(read), Some(wire(Errno::EIO)));
    let log: LogReport = get(&mut rig, IoctlCode::VBLKLOG);
    let told = log
        .events
        .iter()
        .find(|event| event.kind == EventKind::REQUEST_GIVEN_UP);
    let told = told.expect("the event");
    assert_eq!((told.first, told.second, told.code, told.count), (3, 2, 0, 4));
}

#[test]
fn netbsds_names_tell_sizes_and_caches() {
    let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.info.block_bytes = 2048);
    place(&mut rig, 1, 4096, 8192);
    assert_eq!(rig.open(1), 0);
    assert_eq!(
        rig.ioctl_get::<i64>(0, IoctlCode::DIOCGMEDIASIZE),
        (0, SECTORS as i64 * 512)
    );
    assert_eq!(rig.ioctl_get::<i64>(1, IoctlCode::DIOCGMEDIASIZE), (0, 8192));
    rig.set_partition(1, 0, u64::MAX);
    assert_eq!(rig.ioctl_get::<i64>(1, IoctlCode::DIOCGMEDIASIZE), (0, i64::MAX));
    assert_eq!(rig.ioctl_get::<u32>(1, IoctlCode::DIOCGSECTORSIZE), (0, 2048));
    let both = (CacheFlags::WRITE | CacheFlags::WRITE_CHANGE).bits();
    assert_eq!(rig.ioctl_get::<u32>(0, IoctlCode::DIOCGCACHE), (0, both));
    assert_eq!(rig.ioctl_set(0, IoctlCode::DIOCSCACHE, CacheFlags::READ), 0);
    assert_eq!(
        rig.ioctl_get::<u32>(0, IoctlCode::DIOCGCACHE),
        (0, CacheFlags::WRITE_CHANGE.bits())
    );
    assert_eq!(rig.ioctl_set(0, IoctlCode::DIOCSCACHE, CacheFlags::WRITE), 0);
    let save = CacheFlags::WRITE | CacheFlags::SAVE;
    assert_eq!(rig.ioctl_set(0, IoctlCode::DIOCSCACHE, save), wire(Errno::EOPNOTSUPP));
    rig.disk().log.clear();
    assert_eq!(rig.ioctl_set(0, IoctlCode::DIOCCACHESYNC, 0_i32), 0);
    assert_eq!(rig.disk().ops(), [(Op::Flush, 0, 0)]);
    rig.disk().info.can_flush = false;
    assert_eq!(
        rig.ioctl_set(0, IoctlCode::DIOCCACHESYNC, 1_i32),
        wire(Errno::EOPNOTSUPP)
    );
    assert_eq!(rig.open(6), wire(Errno::ENXIO));
    for code in [
        IoctlCode::DIOCGMEDIASIZE,
        IoctlCode::DIOCGSECTORSIZE,
        IoctlCode::DIOCGCACHE,
        IoctlCode::DIOCSCACHE,
        IoctlCode::DIOCCACHESYNC,
    ] {
        assert_eq!(
            rig.ioctl_with(6, code, GrantId::INVALID),
            wire(Errno::ENXIO),
            "{code:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_ranges_do_what_an_oracle_says(
        steps in proptest::collection::vec((0_usize..3, 0_u64..220, 0_u64..60, any::<bool>(), any::<bool>()), 1..20),
    ) {
        let mut rig = Rig::opened();
        place(&mut rig, 1, 512 * 300, 512 * 200);
        assert_eq!(rig.open(1), 0);
        let mut expected: Vec<u8> = (0..SECTORS).map(sector_byte).collect();
        for (nth, first, count, force, on_partition) in steps {
            let flags = if force { RangeFlags::FORCE } else { RangeFlags::empty() };
            let minor = i32::from(on_partition);
            let (status, told) = range(&mut rig, minor, RANGES[nth], RangeRequest::new(flags, first, count));
            let (base, size) = if on_partition { (300, 200) } else { (0, SECTORS) };
            let wanted = if count == 0 || first + count > size {
                wire(Errno::EINVAL)
            } else if !force {
                // The whole disk and the partition are both open.
                wire(Errno::EBUSY)
            } else {
                let range = (base + first) as usize..(base + first + count) as usize;
                expected[range].fill([DISCARDED, 0, ERASED][nth]);
                0
            };
            prop_assert_eq!(status, wanted);
            prop_assert_eq!(told.done, if wanted == 0 { count } else { 0 });
        }
        let found: Vec<u8> = rig.disk().content.iter().step_by(512).copied().collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn an_earlier_drivers_writes_are_flushed_after_a_range_not_beside_it() {
    let mut rig = Rig::opened();
    rig.driver.inherit_writes(rig.now);
    rig.disk().automatic = false;
    let (grant, _) = lend(&mut rig, plain(8, 8));
    rig.send_ioctl(IoctlCode::VBLKERASE, grant);
    rig.poll();
    rig.sleep(Duration::from_secs(5));
    rig.poll();
    assert_eq!(rig.disk().ops(), [(Op::Erase, 8, 8)]);
    rig.settle_one();
    assert_eq!(rig.disk().ops(), [(Op::Erase, 8, 8), (Op::Flush, 0, 0)]);
    rig.settle();
}
