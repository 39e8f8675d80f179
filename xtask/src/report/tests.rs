//! A shell script plays QEMU and the guest. A run passes only if all its records are true, and each finding is seen at least once.

use super::{Case, Count, Host, Report, block_test::CHECKS};
use crate::cli::qemu_args;
use crate::fake::{self, poke};
use crate::run::Ended;

const SERVICE: &str = "virtio_blk_mmio";
const DONE: &str = r#"{"done":{"passed":9,"failed":0}}"#;
const FAILED_TEST: &str = r#"{"test":{"group":"","number":0,"name":"n","outcome":"fail","detail":"d"}}"#;

/// The guest reports this.
fn said(json: &str) -> String {
    format!("record '{json}'\n")
}

fn done() -> String {
    said(DONE)
}

fn check_made(number: u32) -> String {
    said(&format!(
        r#"{{"test":{{"group":"A","number":{number},"name":"n","outcome":"pass","detail":"d"}}}}"#
    ))
}

fn started(label: &str) -> String {
    let program = if label.starts_with("blocktest") {
        "blocktest"
    } else {
        "shell"
    };
    said(&format!(
        r#"{{"started":{{"label":"{label}","endpoint":9,"program":"{program}"}}}}"#
    ))
}

fn ended(label: &str, how: &str, result: i32) -> String {
    said(&format!(
        r#"{{"ended":{{"label":"{label}","endpoint":5,"how":"{how}","result":{result}}}}}"#
    ))
}

fn range(kind: &str, first: u64, more: &str) -> String {
    said(&format!(
        r#"{{"{kind}":{{"range":{{"first":{first},"count":8}}{more}}}}}"#
    ))
}

fn partition(number: i32, first: u64, count: u64) -> String {
    let (first, bytes) = (first * 512, count * 512);
    said(&format!(
        r#"{{"partition":{{"number":{number},"first_byte":{first},"bytes":{bytes}}}}}"#
    ))
}

/// What an honest bare image says of a prepared disk it only reads.
fn bare() -> String {
    let device = r#"{"device":{"bus":"mmio","version":2,"queues":1,"vectors":0,"offered":0,"accepted":0,"capacity":131072,"block_bytes":512,
        "queue_size":4,"read_only":false,"id":"xtask-disk-0"}}"#;
    let device = said(&device.replace("\n        ", ""));
    let test = said(&FAILED_TEST.replace("fail", "pass"));
    let queue = r#"{"queue":{"number":0,"hart":0,"vector":null,"requests":7,"sent":7,"notifies":1,"interrupts":1}}"#;
    let load = said(queue) + &said(r#"{"loaded":{"queues":1,"requests":7,"micros":1}}"#);
    format!("echo hello\n{device}{test}DIGESTS\n{load}{}", done())
}

/// What an honest scenario says: its clients, the partitions, the digests.
fn minix(clients: &str) -> String {
    let mut text = String::from("echo hello\nDIGESTS\n");
    for (number, first, count) in [(1, 2048, 32_768), (2, 34_816, 65_536), (3, 100_352, 30_720)] {
        text += &partition(number, first, count);
    }
    for label in clients.split_whitespace() {
        text += &started(label);
        if label.starts_with("blocktest") {
            text.extend((1..=CHECKS).map(check_made));
        }
    }
    text += &ended(SERVICE, "exit", 0);
    text + &said(r#"{"down":{"label":"virtio_blk_mmio","micros":9000,"since":"term","status":0,"forced":false}}"#)
}

fn tour() -> String {
    minix("look1 look2 writer blocktest blocktest_sc mfs1") + "FILES\n" + &done()
}

/// Runs the honest script with the first occurrence of a text changed, for each row. The last part of a row is in the first reason
/// against the run; empty: the run passes.
fn check(flags: &str, honest: &str, rows: &[(&str, &str, &str)]) {
    for (was, is, part) in rows {
        let report = fake::report_on_changed(flags, honest, (was, is));
        assert_eq!(report.passed, report.reasons.is_empty());
        match report.reasons.first() {
            None => assert!(part.is_empty(), "{was} -> {is}: {part}"),
            Some(reason) => assert!(
                !part.is_empty() && reason.contains(part),
                "{part}: {:?}",
                report.reasons
            ),
        }
    }
}

/// The honest script is changed before its end.
fn check_added(flags: &str, honest: &str, rows: &[(String, &str)]) {
    let end = done();
    for (line, part) in rows {
        check(flags, honest, &[(end.as_str(), &format!("{line}\n{end}"), part)]);
    }
}

#[test]
fn an_honest_run_passes() {
    let report = fake::report_on("--bare", &bare());
    assert_eq!(report.reasons, Vec::<String>::new());
    assert_eq!((report.host.digests.equal, report.host.digests.of), (4, 4));
    let report = fake::report_on("", &tour());
    assert_eq!(report.reasons, Vec::<String>::new());
    assert_eq!((report.host.digests.equal, report.host.digests.of), (5, 5));
    assert_eq!((report.host.files.equal, report.host.files.of), (112, 112));
    let comparison = report.host.comparison.as_ref().unwrap();
    assert_eq!((comparison.compared, comparison.unexpected), (131_072, 0));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["guest"]["records"][8]["client"], "look1");
    assert_eq!(json["guest"]["records"][8]["started"]["program"], "shell");
}

#[test]
fn a_run_that_does_not_end_well_fails() {
    for (script, part) in [
        (bare().replace(&done(), ""), "without a result"),
        (bare().replace("\"failed\":0", "\"failed\":2"), "2 tests failed"),
        (bare().replace("\"passed\":9", "\"passed\":0"), "ran no test"),
        (bare() + "exit 3\n", "status 3"),
        (bare() + "kill -9 $$\n", "killed"),
        (bare() + "exec sleep 60\n", "within 1 s"),
        (bare() + "printf '\\036{\"done\"'\n", "damaged record"),
        (
            "echo 'qemu: warning: old' >&2; echo 'qemu: port in use' >&2; echo 'qemu: no gdb' >&2; exit 1\n".to_owned(),
            "did not start the guest: qemu: port in use",
        ),
    ] {
        check("--bare --timeout 1", &script, &[("", "", part)]);
    }
}

#[test]
fn what_the_host_sees_by_itself_fails_a_run() {
    let changed = Host {
        file_unchanged: Some(false),
        ..Host::default()
    };
    let damaged = Count { decoded: 1, damaged: 2 };
    for (host, defmt, part) in [
        (
            changed,
            Count::default(),
            "the disk image given with --disk has changed",
        ),
        (Host::default(), damaged, "2 defmt frames are malformed"),
    ] {
        let ended = Ended {
            spoke: true,
            ..Ended::default()
        };
        let case = Case {
            args: &qemu_args("--bare", None).unwrap(),
            scenario: None,
            disks: &[],
            ended: &ended,
            host: &host,
            defmt,
        };
        assert!(case.findings().iter().any(|finding| finding == part), "{part}");
    }
}

#[test]
fn a_bare_image_that_sees_something_else_fails() {
    check(
        "--bare",
        &bare(),
        &[
            ("\"capacity\":131072", "\"capacity\":131071", "capacity"),
            ("\"version\":2", "\"version\":1", "register layout"),
            ("\"block_bytes\":512", "\"block_bytes\":4096", "block size"),
            ("\"read_only\":false", "\"read_only\":true", "read-only"),
            ("xtask-disk-0", "", "id"),
            ("\"device\"", "\"gadget\"", "the guest reported no device"),
            ("\"bus\":\"mmio\"", "\"bus\":\"pci\"", "the guest found bus `pci`"),
            ("\"queues\":1", "\"queues\":2", "number of queues"),
            ("{\"queue\":", "{\"row\":", "0 queues were loaded, wanted 1"),
            ("{\"loaded\":", "{\"laden\":", "the queues had 7 requests, the load 0"),
            (
                "\"digest\":{\"range\":{\"first\":0",
                "\"digest\":{\"range\":{\"first\":8",
                "sectors 0 to 63: never read",
            ),
            (
                "\"crc64\":",
                "\"crc64\":0,\"was\":",
                "sectors 0 to 63: read differently",
            ),
        ],
    );
}

#[test]
fn only_reported_changes_in_the_scratch_region_pass() {
    let zero = |first: u64| {
        let zeroed = range("zeroed", first, "");
        format!("dd if=/dev/zero of=\"$disk\" bs=512 seek={first} count=8 conv=notrunc 2>/dev/null\n{zeroed}")
    };
    let wrote = range("wrote", 65_536, ",\"seed\":1");
    let should = "sector 65536 should hold pattern 0x1";
    let mut rows = vec![
        (zero(65_536), ""),
        (wrote.clone(), should),
        // The last change counts.
        (wrote.clone() + &zero(65_536), ""),
        (zero(65_536) + &wrote, should),
        (range("zeroed", 65_536, ""), "sector 65536 should hold zeros"),
        // Meant for another place.
        (
            zero(65_544) + &range("zeroed", 65_536, ""),
            "sector 65536 should hold zeros",
        ),
    ];
    rows.extend([65_530, 81_920, 2048].map(|first| (zero(first), "which it may not")));
    rows.extend([0, 1, 65_536, 131_071].map(|sector| (poke(sector), "which the guest did not report")));
    check_added("--bare", &bare(), &rows);
    let read_only = bare().replace("\"read_only\":false", "\"read_only\":true");
    check_added("--bare --read-only", &read_only, &[(zero(65_536), "which it may not")]);
}

#[test]
fn a_tour_that_is_not_the_truth_fails() {
    let check_17 = "\"number\":17";
    let pass = "\"outcome\":\"pass\"";
    check(
        "",
        &tour(),
        &[
            ("\"failed\":0", "\"failed\":2", "2 statements failed"),
            (check_17, "\"number\":16", "blocktest did not make check 17"),
            (pass, "\"outcome\":\"skip\"", "blocktest may not skip check 1"),
            (
                "\"number\":44,\"name\":\"n\",\"outcome\":\"pass\"",
                "\"number\":44,\"name\":\"n\",\"outcome\":\"skip\"",
                "",
            ),
            (pass, "\"outcome\":\"fail\"", "check 1 of blocktest failed: n"),
            ("\"blocktest_sc\"", "\"x\"", "blocktest_sc was never started"),
            (
                "\"/readme\",\"bytes\":123",
                "\"/readme\",\"bytes\":124",
                "file /readme: read differently",
            ),
            ("\"/readme\"", "\"/readm\"", "file /readme: never read"),
            ("\"first_byte\":1048576", "\"first_byte\":1048575", "partition 1"),
            ("\"status\":0", "\"status\":15", "did not reset its device"),
            ("\"forced\":false", "\"forced\":true", "was killed"),
            ("\"exit\"", "\"killed\"", "did not exit by itself"),
        ],
    );
    let changed = poke(34_820) + &range("undefined", 34_816, "");
    check_added(
        "",
        &tour(),
        &[
            (ended("shell", "segv", 0), "shell died: Segv"),
            (
                said(r#"{"violation":{"text":"a b"}}"#),
                "violation of the protocol: a b",
            ),
            (
                said(r#"{"poison":{"frames":9,"before":1,"after":1}}"#),
                "1 frames of a dead instance",
            ),
            (said(FAILED_TEST), "test n failed in the guest: d"),
            (
                said(r#"{"error":{"stage":"s","kind":"k","text":"t"}}"#),
                "stopped at s: k (t)",
            ),
            (said(r#"{"error":{"stage":"s"}}"#), "damaged record"),
            (range("wrote", 34_816, ",\"seed\":1"), "should hold pattern 0x1"),
            (range("undefined", 2048, ""), "which it may not"),
            (poke(3000), "sector 3000 changed"),
            (changed, ""),
        ],
    );
}

#[test]
fn a_disk_that_cannot_be_written_needs_no_write_checks() {
    let read_only = tour()
        .replace("\"writer\"", "\"reader\"")
        .replace("\"number\":39", "\"number\":38");
    let fewer = read_only.replace("\"number\":34", "\"number\":33");
    check("--read-only", &read_only, &[("", "", "")]);
    check("--read-only", &fewer, &[("", "", "blocktest did not make check 34")]);
}

/// Rounds of kills that each met `in_flight` requests.
fn rounds(number: usize, in_flight: u64) -> String {
    let kill = said(&format!(
        r#"{{"killed":{{"label":"s","round":1,"micros":5,"in_flight":{in_flight}}}}}"#
    ));
    let restart = said(r#"{"restarted":{"label":"s","old":1,"new":2}}"#);
    let poison = said(r#"{"poison":{"frames":300,"before":1,"after":0}}"#);
    format!("{kill}{restart}{poison}").repeat(number)
}

fn load(number: u32, writes: u64, retried: u64, reopened: u64) -> String {
    let counts = format!(r#""reads":4,"writes":{writes},"failed":0,"retried":{retried},"reopened":{reopened}"#);
    said(&format!(
        r#"{{"load":{{"label":"load{number}","acknowledged":9,{counts}}}}}"#
    ))
}

const KILLED: &str = "look1 look2 load0 load1 load2 load3 after";

#[test]
fn kills_must_meet_work_and_lose_nothing() {
    let loads: String = (0..4).map(|number| load(number, 5, 10, 2)).collect();
    let script = format!("{}{}{}{loads}{}", minix(KILLED), rounds(15, 7), rounds(5, 0), done());
    check(
        "--kill-during-io --rounds 20",
        &script,
        &[
            ("", "", ""),
            ("record '{\"killed\"", "# '", "19 kills, wanted 20"),
            ("record '{\"restarted\"", "# '", "19 restarts, wanted 20"),
            ("record '{\"poison\"", "# '", "looked at 19 times"),
            ("\"in_flight\":7", "\"in_flight\":0", "only 14 of 20 kills met requests"),
            ("\"retried\":10", "\"retried\":0", ""),
            // 15 times two that cannot have been opens.
            ("\"in_flight\":7", "\"in_flight\":16", ""),
            ("\"in_flight\":7", "\"in_flight\":18", "at least 41 transfers"),
            ("\"reads\":4", "\"reads\":0", "load0 did not read and write"),
            ("\"writes\":5", "\"writes\":0", "load0 did not read and write"),
            ("\"reopened\":2", "\"reopened\":0", "load0 did not see that"),
            (
                "{\"label\":\"load2\",\"ack",
                "{\"label\":\"load1\",\"ack",
                "load2 did not report",
            ),
            // The last report of a client counts, and only that.
            (&done(), &(load(3, 0, 10, 2) + &done()), "load3 did not read and write"),
            (&done(), &(load(3, 5, 10, 2) + &done()), ""),
        ],
    );
}

#[test]
fn a_few_kills_must_meet_something() {
    let others: String = (1..4).map(|number| load(number, 0, 4, 0)).collect();
    let kills = rounds(1, 7) + &rounds(1, 0);
    let script = format!("{}{kills}{}{others}{}", minix(KILLED), load(0, 5, 4, 2), done());
    check(
        "--scenario slow-kills --rounds 2",
        &script,
        &[
            ("", "", ""),
            ("\"in_flight\":7", "\"in_flight\":0", "only 0 of 2 kills met requests"),
            ("\"writes\":5", "\"writes\":0", "the load did not read and write"),
            ("\"reopened\":2", "\"reopened\":0", "no client saw"),
        ],
    );
}

const OVERLAP: &str = "look1 look2 overlap0 overlap1 overlap2 overlap3";

#[test]
fn waiting_must_cost_little_and_be_waiting() {
    let measure = |instructions: u64, micros: u64| {
        let counts = format!(r#""instructions":{instructions},"micros":{micros}"#);
        said(&format!(r#"{{"measure":{{"name":"waiting","label":"s",{counts}}}}}"#))
    };
    check_added(
        "--scenario throttled",
        &(minix(OVERLAP) + &done()),
        &[
            (measure(159_999_999, 3_200_000), ""),
            (measure(160_000_000, 3_200_000), "5 % of a hart"),
            (measure(100, 3_199_999), "the slow disk needs 3200000 us"),
            (String::new(), "nothing was measured"),
        ],
    );
}

/// Has QEMU write down requests: so many writes that are in the device at once, then as many flushes.
fn trace(writes: u64, flushes: u64) -> String {
    let event = |name: &str, request: u64| format!("virtio_blk_{name} vdev 0x1 req {request:#x} x 0\\n");
    // A flush before the writes does not count.
    let early = if writes > 0 {
        event("req_complete", 99)
    } else {
        String::new()
    };
    let writes_begin: String = (1..=writes).map(|request| event("handle_write", request)).collect();
    let mut text = early + &writes_begin;
    text.extend((1..=writes + flushes).map(|request| event("req_complete", request)));
    format!("for word in \"$@\"; do case $before in -D) printf '{text}' >\"$word\";; esac; before=$word; done\n")
}

#[test]
fn requests_and_flushes_count_as_the_device_saw_them() {
    let no_trace = "QEMU recorded no requests";
    let overlap = minix(OVERLAP) + &done();
    let flushes = minix("look1 look2 flusher") + &done();
    for (flags, script, trace, part) in [
        ("--scenario overlap", &overlap, trace(8, 0), ""),
        (
            "--scenario overlap",
            &overlap,
            trace(7, 0),
            "at most 7 requests were in the device at once",
        ),
        ("--scenario overlap", &overlap, trace(0, 0), no_trace),
        ("--scenario flushes", &flushes, trace(2, 2), ""),
        ("--scenario flushes", &flushes, trace(2, 1), "the device saw 1 flushes"),
        ("--scenario flushes", &flushes, trace(2, 3), "the device saw 3 flushes"),
        ("--scenario flushes", &flushes, trace(0, 0), no_trace),
    ] {
        check(flags, &(trace + script), &[("", "", part)]);
    }
}

#[test]
fn a_second_service_on_a_disk_must_be_refused() {
    let refused = [("twin", -16), ("mute", -16), ("odd", -22), ("late", -16)];
    let refused = refused.map(|(name, result)| ended(&format!("virtio_blk_{name}"), "killed", result));
    let left = ended("virtio_blk_heir", "exit", 0);
    let clients = minix("look1 look2 busy writer owner still heir");
    let script = format!("{clients}{left}{}{}", refused.concat(), done());
    check(
        "--scenario twins",
        &script,
        &[
            ("", "", ""),
            (
                "\"result\":-16",
                "\"result\":0",
                "virtio_blk_twin was not refused with -16",
            ),
            (
                "\"result\":-22",
                "\"result\":-16",
                "virtio_blk_odd was not refused with -22",
            ),
        ],
    );
}

#[test]
fn a_client_that_must_be_refused_is_refused() {
    let clients = minix("look1 look2 before after holder ready refused again");
    let left = ended(SERVICE, "exit", 0).repeat(2);
    let error = said(r#"{"error":{"stage":"shell","kind":"open","text":"the driver says Err(ENXIO)"}}"#);
    let fail = said(FAILED_TEST);
    let end = done().replace("\"failed\":0", "\"failed\":1") + "exit 1\n";
    let refused = started("refused") + &error + &fail;
    let script = clients + &left + &refused + &end;
    let other = started("x") + &error + &fail;
    check(
        "--scenario life",
        &script,
        &[
            ("", "", ""),
            ("\"micros\":9000", "\"micros\":100001", "took 100 ms to stop"),
            (&end, &done(), "1 statements passed in the guest that must fail"),
            (&refused, &other, "stopped at shell: open"),
            ("ENXIO", "EIO", "refused was not refused with ENXIO"),
            ("\"open\"", "\"read\"", "refused was not refused with ENXIO"),
        ],
    );
}

#[test]
fn a_write_that_never_came_is_seen_where_nothing_is_stored() {
    // `qemu-img` says where something is stored.
    if crate::tools::find_program(crate::tools::QEMU_IMG).is_none() {
        return;
    }
    let all =
        |line: &str| fake::report_on("--scenario large", &format!("{}{line}{}", started("look1"), done())).reasons;
    assert!(all("").iter().all(|reason| !reason.contains("should hold")));
    let lost = all(&range("wrote", 200_000_000, ",\"seed\":1"));
    let text = "sector 200000000 should hold pattern 0x1, but differs at byte 0";
    assert!(lost.iter().any(|reason| reason == text), "{lost:?}");
}

/// A back-end that has seen this. The words are those of its command line.
fn backend(change: impl FnOnce(&mut vhost_user_disk::Report)) -> String {
    let mut seen = vhost_user_disk::Report {
        reads: 5,
        ..Default::default()
    };
    change(&mut seen);
    let text = serde_json::to_string(&seen).unwrap();
    format!("echo 'listening on it'\n[ $5 = --report ] && echo '{text}' >$6\n")
}

#[test]
fn a_back_end_and_what_it_saw_count() {
    let fine = backend(|_| ());
    let broken = backend(|seen| {
        seen.violations = 3;
        seen.described = vec!["a chain is too long".into()];
    });
    let idle = backend(|seen| seen.reads = 0);
    let unflushed = backend(|seen| seen.writes_not_flushed = 2);
    let gone = "echo 'listening on it'; echo 'error: gone' >&2; exit 2".to_owned();
    // A guest that goes on without its disk is not waited for.
    let stuck = bare().replace(&done(), "exec sleep 1000\n");
    let died = "the back-end of disk 0 ended without a report: error: gone";
    for (flags, script, backend, part) in [
        ("--bare", bare(), &fine, ""),
        (
            "--bare",
            bare(),
            &broken,
            "the back-end of disk 0 saw 3 broken chains, first: a chain is too long",
        ),
        ("--bare", bare(), &idle, "never served a read"),
        ("", tour(), &unflushed, "left 2 writes to disk 0 unflushed"),
        ("--bare", bare(), &gone, died),
        ("--bare", stuck.clone(), &gone, died),
        (
            "--bare",
            stuck,
            &fine,
            "the back-end of a disk ended before the guest did",
        ),
    ] {
        let flags = format!("{flags} --foreign one-segment");
        let Report { reasons, .. } = fake::report_with_backend(&flags, &script, ("", ""), backend);
        match part {
            "" => assert_eq!(reasons, Vec::<String>::new()),
            part => assert!(reasons[0].contains(part), "{part}: {reasons:?}"),
        }
    }
}
