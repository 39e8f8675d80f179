//! A guest that says anything: no record, and no number in one, may bring down the tool that judges it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::{Case, Count, Guest, Host, Report, print};
use crate::cli::{QemuArgs, qemu_args};
use crate::disk::Disk;
use crate::minix::scenario::Scenario;
use crate::run::Ended;

/// Records of every kind; `N` stands for a number, `W` for a word.
const SHAPES: &[&str] = &[
    r#"{"device":{"version":N,"offered":[N,N],"accepted":[N,N],"capacity":N,"block_bytes":N,"queue_size":N,"read_only":false,"id":"W"}}"#,
    r#"{"partition":{"number":N,"kind":null,"first_byte":N,"bytes":N}}"#,
    r#"{"test":{"group":"W","number":N,"name":"W","outcome":"skip","detail":"W"}}"#,
    r#"{"test":{"group":"W","number":N,"name":"W","outcome":"fail","detail":"W"}}"#,
    r#"{"digest":{"range":{"first":N,"count":N},"crc64":N}}"#,
    r#"{"wrote":{"range":{"first":N,"count":N},"seed":N}}"#,
    r#"{"zeroed":{"range":{"first":N,"count":N}}}"#,
    r#"{"undefined":{"range":{"first":N,"count":N}}}"#,
    r#"{"file":{"path":"W","bytes":N,"crc64":N}}"#,
    r#"{"bench":{"name":"W","depth":N,"bytes":N,"ops":N,"micros":N,"notifies":N,"interrupts":N,"instructions":N}}"#,
    r#"{"load":{"label":"W","acknowledged":N,"reads":N,"writes":N,"retried":N,"reopened":N}}"#,
    r#"{"started":{"label":"W","endpoint":N,"program":"W"}}"#,
    r#"{"ended":{"label":"W","endpoint":N,"how":"exit","result":N}}"#,
    r#"{"restarted":{"label":"W","old":N,"new":N}}"#,
    r#"{"killed":{"label":"W","round":N,"micros":N,"in_flight":N}}"#,
    r#"{"poison":{"frames":N,"before":N,"after":N}}"#,
    r#"{"down":{"label":"W","micros":N,"since":"term","status":N,"forced":true}}"#,
    r#"{"measure":{"name":"W","label":"W","instructions":N,"micros":N}}"#,
    r#"{"violation":{"text":"W"}}"#,
    r#"{"error":{"stage":"W","kind":"W","text":"W"}}"#,
    r#"{"done":{"passed":N,"failed":N}}"#,
];

const WORDS: &[&str] = &[
    "",
    "a b",
    "load0",
    "blocktest",
    "second_disk",
    "virtio_blk_mmio",
    "\u{fffd}",
    "\\n",
    "\\ud800",
];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2147483647",
    "4294967296",
    "9223372036854775808",
    "18446744073709551614",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "0.5",
    "",
];

/// The record with its numbers and words taken from the lists in turn.
fn fill(shape: &str, numbers: &[&str], words: &[&str]) -> String {
    let (mut numbers, mut words) = (numbers.iter().cycle(), words.iter().cycle());
    let filled = shape.chars().map(|c| match c {
        'N' => numbers.next().map_or("", |number| *number).to_owned(),
        'W' => words.next().map_or("", |word| *word).to_owned(),
        other => other.to_string(),
    });
    format!("\u{1e}{}\n", filled.collect::<String>())
}

fn line() -> impl Strategy<Value = String> {
    let numbers = prop::collection::vec(prop::sample::select(NUMBERS), 8);
    let words = prop::collection::vec(prop::sample::select(WORDS), 4);
    let record = (prop::sample::select(SHAPES), numbers, words);
    prop_oneof![
        9 => record.prop_map(|(shape, numbers, words)| fill(shape, &numbers, &words)),
        1 => "\\PC{0,40}\n"
    ]
}

/// A run that is judged in a way of its own: the arguments, the scenario, the disks.
type Way = (QemuArgs, Option<Scenario>, Vec<Disk>);

static WAYS: LazyLock<Vec<Way>> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let flags = [
        "--bare",
        "--verbose",
        "--scenario kills",
        "--scenario throttled",
        "--scenario life",
        "--scenario two-disks",
    ];
    let way = |flags| {
        let args = qemu_args(flags, None).unwrap();
        let disks = crate::session::make_disks(&args, None, directory.path()).unwrap();
        let scenario = (!args.bare).then(|| Scenario::new(&args, &disks, directory.path()).unwrap());
        (args, scenario, disks)
    };
    flags.into_iter().map(way).collect()
});

/// From the bytes of the UART to the last line on the terminal.
fn judge(output: &str) {
    for (args, scenario, disks) in WAYS.iter() {
        let mut guest = Guest::default();
        guest.hear(Duration::ZERO, output.as_bytes());
        for number in 0..disks.len() {
            super::disk::last_changes(&guest.changes(number));
        }
        let ended = Ended {
            status: Some(ExitStatus::from_raw(0)),
            abandoned: false,
            guest,
            complaints: Vec::new(),
            spoke: true,
            duration: Duration::ZERO,
        };
        let case = Case {
            args,
            scenario: scenario.as_ref(),
            disks,
            ended: &ended,
            host: &Host::default(),
            defmt: Count::default(),
        };
        let report = Report {
            reasons: case.findings(),
            guest: ended.guest,
            ..Report::default()
        };
        assert!(!print::screen(&report, args, None, output, None).is_empty());
        assert!(serde_json::to_string(&report).is_ok());
    }
}

#[test]
fn counters_of_all_ones_are_judged_and_summed_up() {
    for largest in ["18446744073709551615", "4294967295", "2147483647"] {
        let lines = SHAPES.iter().map(|shape| fill(shape, &[largest], &["load0"]));
        // Twice, so that there is something to add up.
        judge(&lines.collect::<String>().repeat(2));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_guest_may_say_anything(lines in prop::collection::vec(line(), 0..60)) {
        judge(&lines.concat());
    }
}
