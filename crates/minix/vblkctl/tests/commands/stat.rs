//! `stat`.

use std::time::Duration;

use minix_abi::Errno;
use minix_abi::disk_control::*;
use minix_abi::ioctl::IoctlCode;
use serde_json::{Value, json};
use zerocopy::FromBytes;

use vblkctl::{DONE, FAILED};

use crate::script::{Script, golden, objects};

/// Statistics whose every number is another one.
fn numbered() -> StatReport {
    StatReport {
        header: ReportHeader::of::<StatReport>(),
        since_us: 1_000_000,
        now_us: 11_500_000,
        counts: StatCounts {
            in_flight: 101,
            most_in_flight: 102,
            unanswered: 103,
            most_unanswered: 104,
            requests: 105,
            replies: 106,
            errors: 107,
            reads: 108,
            writes: 109,
            bytes_read: 110,
            bytes_written: 111,
            no_room: 112,
            device_requests: 113,
            merged: 114,
            chunks: 115,
            bounced: 116,
            device_full: 117,
            notifies: 118,
            interrupts: 119,
            spurious_interrupts: 120,
            lost_interrupts: 121,
            watches_hit: 122,
            watches_missed: 123,
            flushes: 124,
            background_flushes: 125,
            failed_flushes: 126,
            timeouts: 127,
            resets: 128,
            failed_resets: 129,
            replays: 130,
            faults: 131,
            stray_completions: 132,
            odd_lengths: 133,
        },
        kinds: [
            kind(1000, 52_428_800, 11, &[(3, 60), (6, 35), (9, 5)]),
            kind(2000, 104_857_600, 12, &[(4, 100), (7, 90), (10, 10)]),
            kind(3000, 13, 14, &[(8, 301)]),
            kind(4000, 15_728_640, 15, &[(31, 2)]),
            kind(5000, 26_214_400, 16, &[(0, 77), (30, 3)]),
            kind(6000, 36_700_160, 17, &[]),
        ],
    }
}

fn kind(operations: u64, bytes: u64, errors: u64, latencies: &[(usize, u64)]) -> KindReport {
    let mut latency = [0; BUCKETS];
    for &(bucket, count) in latencies {
        latency[bucket] = count;
    }
    KindReport {
        operations,
        bytes,
        errors,
        latency,
    }
}

/// Statistics two seconds later. What is new of each count is another number.
fn later(before: &StatReport) -> StatReport {
    let mut now = *before;
    now.now_us += 2_000_000;
    let counts = &mut now.counts;
    for (count, more) in [
        (&mut counts.merged, 14),
        (&mut counts.bounced, 16),
        (&mut counts.notifies, 18),
        (&mut counts.interrupts, 20),
        (&mut counts.watches_hit, 30),
        (&mut counts.watches_missed, 10),
        (&mut counts.errors, 21),
        (&mut counts.timeouts, 22),
        (&mut counts.resets, 23),
        (&mut counts.replays, 24),
        // The gauges are told as they are.
        (&mut counts.in_flight, 6),
        (&mut counts.unanswered, 7),
    ] {
        *count += more;
    }
    let kinds = [
        (200, 30 << 20, 5, 12),
        (400, 50 << 20, 9, 13),
        (10, 0, 0, 3),
        (2, 512, 1, 2),
        (4, 512, 1, 2),
        (6, 512, 1, 2),
    ];
    for (kind, (operations, bytes, bucket, long)) in now.kinds.iter_mut().zip(kinds) {
        kind.operations += operations;
        kind.bytes += bytes;
        kind.latency[bucket] += operations - 3.min(operations);
        kind.latency[long] += 3;
    }
    now
}

fn script(reports: &[StatReport]) -> Script {
    reports.iter().fold(Script::default(), |script, report| {
        script.report(IoctlCode::VBLKSTAT, report)
    })
}

/// A histogram for programs.
fn buckets(latencies: &[(usize, u64)]) -> Value {
    json!(kind(0, 0, 0, latencies).latency)
}

#[test]
fn stat_tells_every_number_in_its_place() {
    golden("stat.txt", &script(&[numbered()]).printed("stat"));
}

#[test]
fn stat_in_json_has_every_number_by_its_name() {
    let object = |operations: u64, bytes: u64, errors: u64, below: [Option<u64>; 3], latencies: &[(usize, u64)]| {
        let [p50, p90, p99] = below;
        json!({
            "operations": operations, "bytes": bytes, "errors": errors,
            "p50_below_us": p50, "p90_below_us": p90, "p99_below_us": p99, "latency": buckets(latencies),
        })
    };
    let below = |bounds: [u64; 3]| bounds.map(Some);
    let expected = json!({
        "from_us": 1_000_000, "to_us": 11_500_000,
        "kinds": {
            "read": object(1000, 52_428_800, 11, below([16, 128, 1024]), &[(3, 60), (6, 35), (9, 5)]),
            "write": object(2000, 104_857_600, 12, below([32, 256, 2048]), &[(4, 100), (7, 90), (10, 10)]),
            "flush": object(3000, 13, 14, below([512; 3]), &[(8, 301)]),
            "discard": object(4000, 15_728_640, 15, below([1 << 32; 3]), &[(31, 2)]),
            "zero": object(5000, 26_214_400, 16, below([2, 2, 1 << 31]), &[(0, 77), (30, 3)]),
            "erase": object(6000, 36_700_160, 17, [None; 3], &[]),
        },
        "counts": {
            "in_flight": 101, "most_in_flight": 102, "unanswered": 103, "most_unanswered": 104, "requests": 105,
            "replies": 106, "errors": 107, "reads": 108, "writes": 109, "bytes_read": 110, "bytes_written": 111,
            "no_room": 112, "device_requests": 113, "merged": 114, "chunks": 115, "bounced": 116, "device_full": 117,
            "notifies": 118, "interrupts": 119, "spurious_interrupts": 120, "lost_interrupts": 121, "watches_hit": 122,
            "watches_missed": 123, "flushes": 124, "background_flushes": 125, "failed_flushes": 126, "timeouts": 127,
            "resets": 128, "failed_resets": 129, "replays": 130, "faults": 131, "stray_completions": 132,
            "odd_lengths": 133,
        },
    });
    assert_eq!(objects(&script(&[numbered()]).printed("stat -j")), [expected]);
}

#[test]
fn stat_with_an_interval_tells_what_is_new_in_its_column() {
    let first = numbered();
    let second = later(&first);
    let mut third = second;
    third.now_us += 2_000_000;
    let mut script = script(&[first, second, third]);
    assert_eq!(script.run("stat -i 2 -c 2"), DONE, "{}", script.err());
    assert_eq!(script.slept, [Duration::from_secs(2); 2]);
    golden("stat-interval.txt", script.out());
}

#[test]
fn stat_with_an_interval_in_json_is_what_is_new_but_for_gauges() {
    let first = numbered();
    let second = later(&first);
    let mut third = second;
    third.now_us += 1;
    let told = objects(&script(&[first, second, third]).printed("-d /dev/c0d0 stat -j -i 2 -c 2"));
    let [new, nothing] = told.try_into().unwrap();
    assert_eq!(
        (&new["from_us"], &new["to_us"]),
        (&json!(11_500_000), &json!(13_500_000))
    );
    assert_eq!(
        new["kinds"]["write"],
        json!({
            "operations": 400, "bytes": 52_428_800, "errors": 0,
            "p50_below_us": 1024, "p90_below_us": 1024, "p99_below_us": 1024,
            "latency": buckets(&[(9, 397), (13, 3)]),
        })
    );
    let gauges = [
        ("in_flight", 107),
        ("most_in_flight", 102),
        ("unanswered", 110),
        ("most_unanswered", 104),
    ];
    let more = [
        ("merged", 14),
        ("bounced", 16),
        ("notifies", 18),
        ("interrupts", 20),
        ("watches_hit", 30),
        ("watches_missed", 10),
        ("errors", 21),
        ("timeouts", 22),
        ("resets", 23),
        ("replays", 24),
    ];
    for (name, value) in new["counts"].as_object().unwrap() {
        let known = gauges.iter().chain(&more).find(|(known, _)| known == name);
        assert_eq!(value, &json!(known.map_or(0, |(_, value)| *value)), "{name}");
    }
    for (name, value) in nothing["counts"].as_object().unwrap() {
        let gauge = gauges.iter().find(|(gauge, _)| gauge == name);
        assert_eq!(value, &json!(gauge.map_or(0, |(_, value)| *value)), "{name}");
    }
    assert_eq!(nothing["kinds"]["read"]["p50_below_us"], Value::Null);
}

#[test]
fn another_instance_of_the_service_is_told_and_counts_from_its_start() {
    let mut anew = numbered();
    (anew.since_us, anew.now_us) = (90_000_000, 100_000_000);
    let text = script(&[numbered(), anew]).printed("stat -i 1 -c 1");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "the service was started anew"));
    assert!(lines[2].starts_with("    100.0      5.0 "), "{}", lines[2]);
    let told = objects(&script(&[numbered(), anew]).printed("stat -j -i 1 -c 1"));
    assert_eq!(
        (&told[0]["from_us"], &told[0]["counts"]["resets"]),
        (&json!(90_000_000), &json!(128))
    );
}

#[test]
fn the_heading_comes_again_after_twenty_lines() {
    let text = script(&[numbered()]).printed("stat -i 1 -c 41");
    let headings: Vec<_> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains("rMiB/s"))
        .map(|(nth, _)| nth)
        .collect();
    assert_eq!((headings, text.lines().count()), (vec![0, 21, 42], 44));
}

#[test]
fn the_largest_numbers_fit_into_the_object() {
    let mut largest = StatReport::read_from_bytes(&[0xff; size_of::<StatReport>()]).unwrap();
    largest.header = ReportHeader::of::<StatReport>();
    let told = objects(&script(&[largest]).printed("stat -j"));
    assert_eq!(told[0]["kinds"]["erase"]["latency"][31], u64::MAX);
    assert_eq!(told[0]["counts"]["odd_lengths"], u64::MAX);
    // As text, too.
    script(&[largest]).printed("stat");
    script(&[numbered(), largest]).printed("stat -i 1 -c 1");
}

#[test]
fn a_repeat_that_cannot_wait_or_ask_again_ends() {
    let mut restless = Script {
        restless: true,
        ..script(&[numbered()])
    };
    assert_eq!((restless.run("stat -i 1"), restless.out()), (FAILED, ""));
    assert_eq!(
        restless.err(),
        "vblkctl: /dev/c0d0: cannot wait: invalid argument (EINVAL)\n"
    );
    let mut gone = script(&[numbered(), numbered()]).answer(IoctlCode::VBLKSTAT, Err(Errno::EIO));
    assert_eq!(gone.run("stat -i 1"), FAILED);
    assert_eq!(gone.out().lines().count(), 2, "a heading and a line");
    let why = "cannot ask the service: input/output error (EIO)";
    assert_eq!(gone.err(), format!("vblkctl: /dev/c0d0: {why}\n"));
}
