//! A guest that says anything: no record, and no number in one, may bring down the tool that judges it.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::Case;
use crate::cli::{QemuArgs, qemu_args};
use crate::disk::{Attachment, Disk, Origin, Outline};
use crate::minix::scenario::Scenario;
use crate::report::{Guest, Host, Report};
use crate::run::Ended;
use crate::splitter::{Piece, Splitter};
use crate::summary;
use crate::verify::merged;

/// Every record of the bare image; `N` stands for a number, `W` for a word.
const BARE: &[&str] = &[
    "window addr=N irq=N version=N device=N",
    "window addr=N irq=N bad=N",
    "device version=N offered=N accepted=N capacity=N block=N queue=N readonly=N id=W",
    "partition index=N type=N first=N count=N",
    "test name=W result=pass detail=W",
    "test name=W result=fail detail=W",
    "digest first=N count=N crc64=N",
    "wrote first=N count=N seed=N",
    "zeroed first=N count=N",
    "discarded first=N count=N",
    "bench name=W depth=N bytes=N ops=N micros=N notifies=N interrupts=N instructions=N",
    "counters reads=N writes=N",
    "error stage=W kind=W text=W",
    "done passed=N failed=N",
];

/// Every record of the test kernel and its clients.
const MINIX: &[&str] = &[
    "started label=W endpoint=N program=W",
    "ended label=W endpoint=N how=exit result=N",
    "restarted label=W old=N new=N",
    "killed label=W round=N us=N inflight=N",
    "poison frames=N before=N after=N",
    "down label=W us=N status=N forced=1 since=term",
    "measure name=W label=W instructions=N us=N",
    "violation text=W",
    "check number=N group=W name=W result=skip detail=W",
    "test name=W result=fail detail=W",
    "partition minor=N base=N bytes=N",
    "wrote first=N count=N seed=N",
    "zeroed first=N count=N",
    "digest first=N count=N crc64=N",
    "touched first=N count=N",
    "file path=W bytes=N crc64=N",
    "load label=W acked=N reads=N writes=N retried=N reopened=N",
    "overlap clients=N outstanding=N max_in_flight=N",
    "counters label=W max_in_flight=N",
    "done passed=N failed=N",
    "error stage=W kind=W text=W",
];

const WORDS: [&str; 10] = [
    "",
    "_",
    "a_b",
    "load0",
    "load3",
    "blocktest",
    "second_disk",
    "virtio_blk_mmio",
    "=",
    "\u{fffd}",
];

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "0", "1", "-1", "0x0", "4294967295", "4294967296", "9223372036854775807", "-9223372036854775808",
            "18446744073709551614", "18446744073709551615", "18446744073709551616", "0xffffffffffffffff", "",
        ])
        .prop_map(str::to_owned),
        1 => any::<u64>().prop_map(|number| number.to_string()),
        1 => (0..100u64).prop_map(|number| number.to_string()),
    ]
}

/// The largest number that parses, everywhere: what a broken counter looks like.
fn all_ones(shapes: &[&str]) -> String {
    let lines = shapes.iter().map(|shape| fill(shape, "load0", "18446744073709551615"));
    // Twice, so that there is something to add up.
    lines.clone().chain(lines).collect()
}

fn fill(shape: &str, word: &str, number: &str) -> String {
    format!(
        "\u{1e}{}\n",
        shape
            .replace("=N", &format!("={number}"))
            .replace("=W", &format!("={word}"))
    )
}

fn line(shapes: &'static [&'static str]) -> impl Strategy<Value = String> {
    let fields = prop::collection::vec((number(), prop::sample::select(&WORDS[..])), 8);
    let record = (prop::sample::select(shapes), fields).prop_map(|(shape, fields)| {
        let mut fields = fields.into_iter().cycle();
        let words = shape
            .split(' ')
            .map(|word| match (word.split_once('='), fields.next()) {
                (Some((key, "N")), Some((number, _))) => format!("{key}={number}"),
                (Some((key, "W")), Some((_, word))) => format!("{key}={word}"),
                _ => word.to_owned(),
            });
        format!("\u{1e}{}\n", words.collect::<Vec<_>>().join(" "))
    });
    prop_oneof![9 => record, 1 => "\\PC{0,40}\n"]
}

/// Disks of a kind that no file stands behind.
fn disks(sectors: u64) -> Vec<Disk> {
    let attachment = Attachment {
        file: "none".to_owned(),
        format: crate::cli::Format::Raw,
        read_only: false,
        discard: false,
        socket: None,
    };
    let disk = |range| Disk {
        origin: Origin::Url {
            url: "none".to_owned(),
            view: Path::new("none").to_owned(),
            format: crate::cli::Format::Raw,
        },
        attachment: attachment.clone(),
        overlaid: true,
        sectors,
        outline: Outline::default(),
        digests: vec![(range, 0)],
    };
    let range = |first, count| guest_protocol::SectorRange { first, count };
    vec![disk(range(0, sectors)), disk(range(sectors, 0))]
}

/// From the bytes of the UART to the last line on the terminal.
fn judge(args: &QemuArgs, scenario: Option<&Scenario>, output: &str) {
    let mut splitter = Splitter::default();
    let pieces = splitter.feed(output.as_bytes());
    let records = pieces.into_iter().filter_map(|piece| match piece {
        Piece::Record(line) => Some(line),
        Piece::Text(_) => None,
    });
    let records: Vec<String> = records.collect();
    let guest = match scenario {
        None => Guest::of_bare(&records),
        Some(_) => Guest::of_minix(&records),
    };
    let disks = disks(1000);
    for changes in &guest.disks {
        let reported = changes.ranges.iter().copied().chain(changes.ledger.defined());
        for range in merged(reported.collect()) {
            let _ = (changes.ledger.state(range.first), changes.ledger.state(range.end()));
        }
    }
    let ended = Ended {
        status: Some(ExitStatus::from_raw(0)),
        abandoned: false,
        records,
        complaints: Vec::new(),
        spoke: true,
        duration: Duration::ZERO,
    };
    let host = Host::default();
    let case = Case {
        args,
        scenario,
        disks: &disks,
        ended: &ended,
        guest: &guest,
        host: &host,
    };
    let reasons = case.reasons();
    let report = Report {
        reasons,
        guest,
        ..Report::default()
    };
    assert!(!summary::lines(&report, None).is_empty());
    assert!(serde_json::to_string(&report).is_ok());
}

/// The arguments and scenarios that judge a guest in ways of their own.
static WAYS: LazyLock<Vec<(QemuArgs, Option<Scenario>)>> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let flags = [
        "--bare",
        "",
        "--scenario kills",
        "--scenario throttled",
        "--scenario life",
        "--scenario overlap",
    ];
    let way = |flags| {
        let args = qemu_args(flags, None).unwrap();
        let disks = crate::session::make_disks(&args, None, directory.path()).unwrap();
        let scenario = (!args.bare).then(|| Scenario::new(&args, &disks, directory.path()).unwrap());
        (args, scenario)
    };
    flags.into_iter().map(way).collect()
});

fn judge_every_way(bare: &str, minix: &str) {
    for (args, scenario) in WAYS.iter() {
        judge(args, scenario.as_ref(), if args.bare { bare } else { minix });
    }
}

#[test]
fn counters_of_all_ones_are_judged_and_summed_up() {
    judge_every_way(&all_ones(BARE), &all_ones(MINIX));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_guest_may_say_anything(
        bare in prop::collection::vec(line(BARE), 0..30),
        minix in prop::collection::vec(line(MINIX), 0..60),
    ) {
        judge_every_way(&bare.concat(), &minix.concat());
    }
}
