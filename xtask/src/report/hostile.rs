//! A guest that says anything: no record, and no number in one, may bring down the tool that judges it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::{Case, Count, Guest, Host, Report, screen};
use crate::cli::{QemuArgs, qemu_args};
use crate::disk::Disk;
use crate::minix::scenario::Scenario;
use crate::run::Ended;

/// Records of every kind; `N` stands for a number, `W` for a word.
const SHAPES: &[&str] = &[
    r#"{"device":{"bus":"pci","version":N,"queues":N,"vectors":N,"offered":N,"accepted":N,"capacity":N,"block_bytes":N,"queue_size":N,"read_only":false,"id":"W"}}"#,
    r#"{"partition":{"number":N,"first_byte":N,"bytes":N}}"#,
    r#"{"test":{"group":"W","number":N,"name":"W","outcome":"skip","detail":"W"}}"#,
    r#"{"test":{"group":"W","number":N,"name":"W","outcome":"fail","detail":"W"}}"#,
    r#"{"digest":{"range":{"first":N,"count":N},"crc64":N}}"#,
    r#"{"wrote":{"range":{"first":N,"count":N},"seed":N}}"#,
    r#"{"zeroed":{"range":{"first":N,"count":N}}}"#,
    r#"{"undefined":{"range":{"first":N,"count":N}}}"#,
    r#"{"file":{"path":"W","bytes":N,"crc64":N}}"#,
    r#"{"driver":{"requests":N,"notifies":N,"interrupts":N}}"#,
    r#"{"disk":{"id":"W"}}"#,
    r#"{"queue":{"number":N,"hart":N,"vector":N,"requests":N,"sent":N,"notifies":N,"interrupts":N}}"#,
    r#"{"vector":{"vector":null,"hart":N,"interrupts":N}}"#,
    r#"{"loaded":{"queues":N,"requests":N,"micros":N}}"#,
    r#"{"cost":{"queues":N,"number":N,"requests":N,"submit":N,"poll":N}}"#,
    r#"{"removable":{"in_flight":N}}"#,
    r#"{"removed":{"submitted":N,"completed":N,"given_back":N}}"#,
    r#"{"counted":{"case":{"contender":"W","operation":"W","mode":"W","chains":"W","buffer":"W","depth":N,"segments":N,"bytes":N},"stage":"W","requests":N,"instructions":N,"notifies":N,"interrupts":N}}"#,
    r#"{"load":{"label":"W","acknowledged":N,"reads":N,"writes":N,"failed":N,"retried":N,"reopened":N}}"#,
    r#"{"asked":{"what":"W"}}"#,
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

/// From the bytes of the UART to the last line on the terminal.
fn judge(output: &str, args: &QemuArgs, scenario: Option<&Scenario>, disks: &[Disk]) {
    let mut guest = Guest::default();
    guest.hear(Duration::ZERO, output.as_bytes());
    for number in 0..disks.len() {
        super::disk::last_changes(&guest.changes(number));
    }
    let ended = Ended {
        status: Some(ExitStatus::from_raw(0)),
        guest,
        spoke: true,
        ..Ended::default()
    };
    let case = Case {
        args,
        scenario,
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
    assert!(!screen::screen(&report, args, None, output, None).is_empty());
    assert!(serde_json::to_string(&report).is_ok());
}

#[test]
fn a_guest_may_say_anything() {
    let directory = tempfile::tempdir().unwrap();
    for flags in [
        "--bare",
        "--bare --bus pci,mmio --aia aplic-imsic",
        "--bare --bus pci --remove hot",
        "--verbose",
        "--scenario kills",
        "--scenario throttled",
        "--scenario life",
        "--scenario two-disks",
        "--scenario faults",
    ] {
        let args = qemu_args(flags, None).unwrap();
        let disks = crate::session::make_disks(&args, None, directory.path()).unwrap();
        let scenario = (!args.bare).then(|| Scenario::new(&args, &disks, directory.path()).unwrap());
        for (number, word) in NUMBERS.iter().zip(WORDS.iter().cycle()) {
            let fill = |shape: &&str| format!("\u{1e}{}\n", shape.replace('N', number).replace('W', word));
            let lines: String = SHAPES.iter().map(fill).collect();
            // Twice, so that there is something to add up.
            judge(&lines.repeat(2), &args, scenario.as_ref(), &disks);
        }
    }
}
