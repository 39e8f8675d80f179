//! Reports of the VirtIO block service.

use minix_abi::Endpoint;
use minix_abi::disk_control::*;
use minix_abi::minor::Minor;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::{A, B, C, at16, at32, at64, check};

#[test]
fn info() {
    let mut report = DiskReport {
        disk: DiskHead {
            header: ReportHeader::of::<DiskReport>(),
            address: A,
            offered: B,
            accepted: C,
            sectors: 4,
            flags: DiskFlags::LIVE | DiskFlags::LEGACY,
            irq: 5,
            transport_version: 6,
            block_bytes: 7,
            max_segments: 8,
            max_segment_bytes: 9,
            discard: RangeLimit {
                sectors: 10,
                ranges: 11,
                alignment: 12,
            },
            zero: RangeLimit {
                sectors: 13,
                ranges: 14,
                alignment: 15,
            },
            erase: RangeLimit {
                sectors: 16,
                ranges: 17,
                alignment: 18,
            },
            descriptors: 19,
            opens: 20,
            timeout_ms: 21,
            id: *b"an id of 20 bytes...",
            lifetime: Lifetime {
                pre_eol: 22,
                single_level: 23,
                multi_level: 24,
            },
            reserved: [0; 6],
        },
        ..Default::default()
    };
    report.minors[20] = MinorExtent {
        base: A,
        bytes: B,
        minor: Minor(143),
        opens: 1,
    };
    let numbers = (10..=21).zip(16..).map(|(value, word)| at32(4 * word, value));
    let mut parts = vec![
        at32(0, 1),
        at32(4, 648),
        at64(8, A),
        at64(16, B),
        at64(24, C),
        at64(32, 4),
        at32(40, 0x2001),
        at32(44, 5),
        at32(48, 6),
        at32(52, 7),
        at32(56, 8),
        at32(60, 9),
    ];
    parts.extend(numbers);
    parts.push((112, b"an id of 20 bytes...".to_vec()));
    parts.extend([at16(132, 22), at16(134, 23), at16(136, 24)]);
    parts.extend([at64(624, A), at64(632, B), at32(640, 143), at32(644, 1)]);
    check(report, 648, &parts);
}

#[test]
fn statistics() {
    let mut report = StatReport {
        header: ReportHeader::of::<StatReport>(),
        since_us: A,
        now_us: B,
        ..Default::default()
    };
    // Counts are numbers and nothing else: each is as many as its place says.
    let numbers: Vec<u64> = (1..=33).collect();
    report.counts = StatCounts::read_from_bytes(numbers.as_bytes()).unwrap();
    assert_eq!((report.counts.in_flight, report.counts.odd_lengths), (1, 33));
    assert_eq!((report.counts.merged, report.counts.watches_hit), (14, 22));
    assert_eq!((report.counts.interrupts, report.counts.replays), (19, 30));
    report.kinds[Kind::ERASE.0 as usize] = KindReport {
        operations: 1,
        bytes: 2,
        errors: 3,
        latency: core::array::from_fn(|bucket| 100 + bucket as u64),
    };
    let mut parts = vec![at32(0, 1), at32(4, 1968), at64(8, A), at64(16, B)];
    parts.extend((0..33).map(|nth| at64(24 + 8 * nth, nth as u64 + 1)));
    parts.extend([at64(1688, 1), at64(1696, 2), at64(1704, 3)]);
    parts.extend((0..32).map(|nth| at64(1712 + 8 * nth, nth as u64 + 100)));
    check(report, 1968, &parts);
}

#[test]
fn registers() {
    let mut report = RegisterReport {
        header: ReportHeader::of::<RegisterReport>(),
        address: A,
        count: 2,
        ..Default::default()
    };
    report.registers[0] = RegisterValue::new("MagicValue", 0x7472_6976);
    report.registers[15] = RegisterValue::new("a name of more than 24 bytes", u64::MAX);
    check(
        report,
        536,
        &[
            at32(0, 1),
            at32(4, 536),
            at64(8, A),
            at32(16, 2),
            (24, b"MagicValue".to_vec()),
            at64(48, 0x7472_6976),
            (504, b"a name of more than 24 b".to_vec()),
            at64(528, u64::MAX),
        ],
    );
    assert_eq!(report.registers[0].name(), "MagicValue");
    assert_eq!(report.registers[1].name(), "");
    assert_eq!(report.registers[15].name(), "a name of more than 24 b");
    assert_eq!(name_in(b"half a \xC3"), "half a ");
}

#[test]
fn queue() {
    let mut report = QueueReport {
        header: ReportHeader::of::<QueueReport>(),
        now_us: A,
        ring: QueueState {
            flags: QueueFlags::LIVE | QueueFlags::STOPPED,
            size: 1,
            free: 2,
            chains: 3,
            unpublished: 4,
            available_index: 5,
            used_index: 6,
            used_seen: 7,
            used_flags: 8,
            avail_event: 9,
            table_entries: 10,
        },
        unanswered: 11,
        count: 12,
        ..QueueReport::new_zeroed()
    };
    report.in_flight[63] = InFlightRequest {
        age_us: B,
        first: C,
        sectors: A,
        kind: Kind::IDENTIFY,
        flags: InFlightFlags::BACKGROUND | InFlightFlags::COMPLETED,
        client: Endpoint::NONE,
        minor: Minor(-1),
        tag: 13,
        clients: 14,
        replays: 15,
    };
    let mut parts = vec![at32(0, 1), at32(4, 3120), at64(8, A), at32(16, 0x11)];
    parts.extend((1..=10).map(|nth| at16(18 + 2 * usize::from(nth), nth)));
    parts.extend([at32(40, 11), at32(44, 12)]);
    let last = 48 + 63 * 48;
    parts.extend([at64(last, B), at64(last + 8, C), at64(last + 16, A)]);
    parts.extend([at32(last + 24, 7), at32(last + 28, 10)]);
    parts.extend([at32(last + 32, 0x7BFF), at32(last + 36, -1)]);
    parts.extend([at16(last + 40, 13), at16(last + 42, 14), at32(last + 44, 15)]);
    check(report, 3120, &parts);
}

#[test]
fn log() {
    let mut report = LogReport {
        header: ReportHeader::of::<LogReport>(),
        now_us: A,
        lost: B,
        count: 64,
        ..LogReport::new_zeroed()
    };
    report.events[63] = Event {
        time_us: C,
        first: A,
        second: B,
        code: Kind::SCAN.0 as u16,
        count: 7,
        ..Event::new(EventKind::REQUEST_GIVEN_UP)
    };
    check(
        report,
        2080,
        &[
            at32(0, 1),
            at32(4, 2080),
            at64(8, A),
            at64(16, B),
            at32(24, 64),
            at64(2048, C),
            at64(2056, A),
            at64(2064, B),
            at16(2072, 7),
            at16(2074, 6),
            at32(2076, 7),
        ],
    );
}

#[test]
fn ranges() {
    let mut request = RangeRequest::new(RangeFlags::FORCE | RangeFlags::UNMAP, A, RangeRequest::ALL);
    request.done = B;
    check(
        request,
        32,
        &[at32(0, 1), at32(4, 3), at64(8, A), at64(16, u64::MAX), at64(24, B)],
    );
}

#[test]
fn a_report_of_another_version_or_size_is_none() {
    let header = ReportHeader::of::<LogReport>();
    assert!(header.is_of::<LogReport>());
    assert!(!header.is_of::<QueueReport>());
    let later = ReportHeader { version: 2, ..header };
    assert!(!later.is_of::<LogReport>());
    let longer = ReportHeader { bytes: 2081, ..header };
    assert!(!longer.is_of::<LogReport>());
}
