//! `info`.

use minix_abi::disk_control::*;
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use serde_json::{Value, json};
use zerocopy::FromBytes;

use crate::script::{Script, golden, objects};

/// A disk whose every number is another one.
pub(crate) fn disk() -> DiskReport {
    let disk = DiskHead {
        header: ReportHeader::of::<DiskReport>(),
        address: 0x1000_7000,
        offered: 1 << 32 | 1 << 29 | 1 << 28 | 1 << 14 | 1 << 13 | 1 << 9 | 1 << 6 | 1 << 2,
        accepted: 1 << 32 | 1 << 29 | 1 << 14 | 1 << 9 | 1 << 6,
        sectors: 6_291_456,
        flags: DiskFlags::from_bits_retain(0x0FFF),
        irq: 27,
        transport_version: 2,
        block_bytes: 4096,
        max_segments: 113,
        max_segment_bytes: 65_536,
        discard: RangeLimit {
            sectors: 1001,
            ranges: 11,
            alignment: 8,
        },
        zero: RangeLimit {
            sectors: 1002,
            ranges: 12,
            alignment: 16,
        },
        erase: RangeLimit {
            sectors: 1003,
            ranges: 13,
            alignment: 24,
        },
        descriptors: 128,
        opens: 9,
        timeout_ms: 7000,
        id: *b"a serial of 20 bytes",
        lifetime: Lifetime {
            pre_eol: 2,
            single_level: 4,
            multi_level: 11,
        },
        ..DiskHead::default()
    };
    let mut report = DiskReport {
        disk,
        ..DiskReport::default()
    };
    let minors = [
        (0, 0, 0, 3 << 30, 1),
        (1, 1, 1 << 20, 500 << 20, 2),
        // It is not there any more, but open.
        (4, 4, 0, 0, 4),
        (20, 143, 600 << 20, 1536, 0),
    ];
    for (nth, minor, base, bytes, opens) in minors {
        report.minors[nth] = MinorExtent {
            base,
            bytes,
            minor: Minor(minor),
            opens,
        };
    }
    report
}

fn text(report: &DiskReport) -> String {
    Script::default().report(IoctlCode::VBLKINFO, report).printed("info")
}

fn object(report: &DiskReport) -> Value {
    let text = Script::default().report(IoctlCode::VBLKINFO, report).printed("info -j");
    let [object] = objects(&text).try_into().unwrap();
    object
}

/// A disk with these flags, and no others but that it works.
fn flagged(flags: DiskFlags) -> DiskReport {
    let mut report = disk();
    report.disk.flags = DiskFlags::LIVE | flags;
    report
}

#[test]
fn info_tells_every_number_in_its_place() {
    golden("info.txt", &text(&disk()));
}

#[test]
fn info_in_json_has_every_number_by_its_name() {
    let expected = json!({
        "address": 0x1000_7000, "irq": 27, "live": true, "given_up": false, "transport_version": 2, "legacy": false,
        "id": "a serial of 20 bytes", "sectors": 6_291_456, "block_bytes": 4096, "read_only": true,
        "can_flush": true, "write_cache": true, "cache_switch": true,
        "offered": 0x1_3000_6244_u64, "accepted": 0x1_2000_4240_u64,
        "descriptors": 128, "indirect": true, "max_segments": 113, "max_segment_bytes": 65_536,
        "discard": { "sectors": 1001, "ranges": 11, "alignment": 8 },
        "zero": { "sectors": 1002, "ranges": 12, "alignment": 16 }, "zero_unmaps": true,
        "erase": { "sectors": 1003, "ranges": 13, "alignment": 24 },
        "lifetime": { "pre_eol": 2, "single_level": 4, "multi_level": 11 },
        "timeout_ms": 7000, "opens": 9,
        "minors": [
            { "minor": 0, "name": "d0", "base": 0, "bytes": 3_221_225_472_u64, "opens": 1 },
            { "minor": 1, "name": "d0p0", "base": 1_048_576, "bytes": 524_288_000, "opens": 2 },
            { "minor": 4, "name": "d0p3", "base": 0, "bytes": 0, "opens": 4 },
            { "minor": 143, "name": "d0p3s3", "base": 629_145_600, "bytes": 1536, "opens": 0 },
        ],
    });
    assert_eq!(object(&disk()), expected);
}

#[test]
fn each_flag_changes_its_line_and_its_name() {
    let cases: [(DiskFlags, &str, &[&str]); 13] = [
        (
            DiskFlags::READ_ONLY,
            "size            3 GiB, 6291456 sectors, blocks of 4096 bytes, read-only",
            &["read_only"],
        ),
        (DiskFlags::CAN_FLUSH, "write cache     off", &["can_flush"]),
        (
            DiskFlags::WRITE_CACHE,
            "write cache     on, and cannot be flushed",
            &["write_cache"],
        ),
        (
            DiskFlags::CACHE_SWITCH,
            "write cache     none, can be switched",
            &["cache_switch"],
        ),
        (
            DiskFlags::DISCARD,
            "discard         1001 sectors a range at most, best in multiples of 8",
            &["discard"],
        ),
        (
            DiskFlags::WRITE_ZEROES,
            "zero            1002 sectors a range at most, best in multiples of 16",
            &["zero"],
        ),
        (
            DiskFlags::SECURE_ERASE,
            "erase           1003 sectors a range at most, best in multiples of 24",
            &["erase"],
        ),
        (
            DiskFlags::LIFETIME,
            "lifetime        spare blocks used to 80 % and more, single-level cells worn to 40 % at most, multi-level cells beyond their designed life",
            &["lifetime"],
        ),
        (DiskFlags::ID, "id              a serial of 20 bytes", &["id"]),
        (
            DiskFlags::INDIRECT,
            "virtqueue       128 descriptors, a table for each request",
            &["indirect"],
        ),
        (
            DiskFlags::GIVEN_UP,
            "state           given up: every request fails; see vblkctl log",
            &["given_up"],
        ),
        (DiskFlags::LEGACY, "transport       version 2, legacy", &["legacy"]),
        (
            DiskFlags::WRITE_ZEROES | DiskFlags::ZEROES_UNMAP,
            "zero            1002 sectors a range at most, best in multiples of 16, --unmap gives storage back",
            &["zero", "zero_unmaps"],
        ),
    ];
    let plain = flagged(DiskFlags::empty());
    let (plain_text, plain_object) = (text(&plain), object(&plain));
    for (flags, line, names) in cases {
        let report = flagged(flags);
        let text = text(&report);
        let changed: Vec<_> = text
            .lines()
            .filter(|line| !plain_text.lines().any(|plain| plain == *line))
            .collect();
        assert_eq!(changed, [line]);
        let object = object(&report);
        let object = object.as_object().unwrap();
        let changed: Vec<_> = object
            .iter()
            .filter(|(name, value)| plain_object[name.as_str()] != **value)
            .collect();
        let names_changed: Vec<_> = changed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names_changed, names, "{flags:?}");
        assert_eq!(object.len(), plain_object.as_object().unwrap().len());
    }
}

#[test]
fn a_device_that_does_not_work_has_only_what_the_service_knows() {
    let mut report = disk();
    report.disk.flags = DiskFlags::empty();
    golden("info-reset.txt", &text(&report));
    let object = object(&report);
    assert_eq!((&object["live"], &object["id"]), (&json!(false), &Value::Null));
}

#[test]
fn every_estimate_of_wear_has_its_words() {
    let cases = [
        (
            (1, 1, 10),
            "normal, single-level cells worn to 10 % at most, multi-level cells worn to 100 % at most",
        ),
        (
            (3, 11, 0),
            "used to 90 % and more, single-level cells beyond their designed life, multi-level cells unknown",
        ),
        (
            (0, 12, 5),
            "unknown, single-level cells unknown, multi-level cells worn to 50 % at most",
        ),
    ];
    for ((pre_eol, single_level, multi_level), words) in cases {
        let mut report = flagged(DiskFlags::LIFETIME);
        report.disk.lifetime = Lifetime {
            pre_eol,
            single_level,
            multi_level,
        };
        let line = format!("lifetime        spare blocks {words}");
        assert!(
            text(&report).lines().any(|told| told == line),
            "{line}\n{}",
            text(&report)
        );
    }
}

#[test]
fn the_largest_numbers_fit_into_the_object() {
    let mut largest = DiskReport::read_from_bytes(&[0xff; size_of::<DiskReport>()]).unwrap();
    largest.disk.header = ReportHeader::of::<DiskReport>();
    largest.disk.id = [b'\n'; 20];
    let object = object(&largest);
    assert_eq!(object["offered"], u64::MAX);
    assert_eq!(object["minors"].as_array().unwrap().len(), MINORS);
}
