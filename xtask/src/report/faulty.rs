//! What the service made of the faults of scenario `faults`: each request answered once, each error told, each fault survived.

use guest_protocol::{Load, Record};
use serde_json::Value;

use super::check::{Case, require};
use super::parse::{Guest, records, total};
use crate::faults::{Made, Total};
use crate::minix::faults::{AWAY, clients, label};
use crate::minix::scenario::Scenario;

/// Adds the clients of the last boot that wait for an answer, if the guest did not come to its end.
pub(super) fn lost(guest: &Guest, scenario: &Scenario, findings: &mut Vec<String>) {
    if guest.done().is_some() {
        return;
    }
    for wanted in scenario.clients() {
        let started = records!(guest, Record::Started { label, .. } if label == wanted => ()).count();
        let ended = records!(guest, Record::Ended { label, .. } if label == wanted => ()).count();
        // A boot that came to no end left some, and each of them is started again in the next.
        require!(
            findings,
            started == 0 || ended > 0,
            "{wanted} has not come to its end: it waits for an answer, or was not told to end"
        );
    }
}

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<String>) {
    let guest = &case.ended.guest;
    if let Some(made) = &case.host.faults {
        all_made(case, made, findings);
    }
    resized(case, findings);
    let loads: Vec<Load<'_>> = guest.loads();
    for (label, _) in clients() {
        let load = loads.iter().find(|load| load.label == label);
        require!(
            findings,
            load.is_some_and(|load| load.reads > 0 && load.writes > 0),
            "{label} did not read and write"
        );
    }
    match json(case, label::COUNTED) {
        Ok(counted) => answers(case, &counted, &loads, findings),
        Err(finding) => findings.push(finding),
    }
    let events = guest.output(label::EVENTS, 1);
    let is_told = ["reset worked", "flush failed", "resize: "]
        .iter()
        .any(|event| events.contains(event));
    require!(
        findings,
        is_told,
        "the log of the service tells of none of it: {events}"
    );
}

/// Each kind of fault happened in each round.
fn all_made(case: &Case<'_>, made: &Total, findings: &mut Vec<String>) {
    let rounds = u64::from(case.args.rounds());
    for Made { fault, times } in Total::wanted(rounds) {
        let found = made.made.iter().find(|made| made.fault == fault);
        let found = found.map_or(0, |made| made.times);
        require!(
            findings,
            found == times,
            "there was a {fault} {found} times, wanted {times}"
        );
    }
    require!(
        findings,
        made.unanswered > 0,
        "no kill of QEMU met a write that was not answered"
    );
}

/// The service has seen the disk smaller, and as it was.
fn resized(case: &Case<'_>, findings: &mut Vec<String>) {
    let Some(disk) = case.disks.first() else { return };
    for (label, wanted) in [(label::SMALLER, disk.sectors - AWAY), (label::LARGER, disk.sectors)] {
        match json(case, label) {
            Ok(info) => require!(
                findings,
                info["sectors"].as_u64() == Some(wanted),
                "{label}: the service tells {} sectors, the disk has {wanted}",
                info["sectors"]
            ),
            Err(finding) => findings.push(finding),
        }
    }
}

/// Each request was answered once, and each error of the disk is the error of a client.
fn answers(case: &Case<'_>, counted: &Value, loads: &[Load<'_>], findings: &mut Vec<String>) {
    let count = |path: &str| counted.pointer(path).and_then(Value::as_u64).unwrap_or(u64::MAX);
    // The request that asks is the one that is not answered.
    let (requests, replies) = (count("/counts/requests"), count("/counts/replies"));
    require!(
        findings,
        requests == replies.wrapping_add(1),
        "the service has taken {requests} requests and answered {replies}"
    );
    let (told, seen) = (count("/counts/errors"), total(loads.iter().map(|load| load.failed)));
    // And that of the discard.
    require!(
        findings,
        u128::from(told) == seen + 1 && seen > 0,
        "the service has answered {told} requests with an error, and the clients have seen {seen} beside the discard"
    );
    require!(findings, count("/counts/resets") > 0, "the service has reset nothing");
    require!(
        findings,
        count("/counts/failed_resets") == 0 && count("/counts/stray_completions") == 0,
        "a reset failed, or the device completed a request that it did not have"
    );
    let failed = case.host.faults.as_ref().map_or([0; 3], |made| made.failed);
    for (kind, by_qemu) in ["read", "write", "flush"].into_iter().zip(failed) {
        let told = count(&format!("/kinds/{kind}/errors"));
        require!(
            findings,
            told == by_qemu && told > 0,
            "the service counts {told} errors of {kind}, QEMU {by_qemu}"
        );
    }
    let discards = count("/kinds/discard/errors");
    require!(
        findings,
        discards == 1,
        "the service counts {discards} errors of discard, wanted 1"
    );
}

fn json(case: &Case<'_>, label: &str) -> Result<Value, String> {
    // Of the last boot: the others end before the first of these.
    let output = case.ended.guest.output(label, 1);
    serde_json::from_str(&output).map_err(|error| format!("{label} printed no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use guest_protocol::End;

    use super::*;
    use crate::cli::qemu_args;
    use crate::report::{Count, Host};
    use crate::run::Ended;

    const COUNTED: &str = r#"{"counts":{"requests":900,"replies":899,"errors":21,"resets":1,"failed_resets":0,"stray_completions":0},
        "kinds":{"read":{"errors":7},"write":{"errors":8},"flush":{"errors":9},"discard":{"errors":1}}}"#;

    fn says(record: &Record<'_>) -> String {
        format!("\u{1e}{}\n", serde_json::to_string(record).unwrap())
    }

    /// What a guest says of a run in which all was well.
    fn right() -> String {
        let output = |label, text| {
            says(&Record::Output {
                label,
                descriptor: 1,
                text,
            })
        };
        let mut text = output(label::SMALLER, r#"{"sectors":129024}"#);
        text += &output(label::LARGER, r#"{"sectors":131072}"#);
        text += &output(label::COUNTED, COUNTED);
        text += &output(label::EVENTS, "1 s ago  reset worked: 0 requests");
        for (label, _) in clients() {
            let load = Load {
                label: &label,
                acknowledged: 9,
                reads: 3,
                writes: 4,
                failed: 5,
                retried: 0,
                reopened: 0,
            };
            text += &says(&Record::Load(load));
        }
        text
    }

    /// The findings against a guest that says something else in one place.
    fn findings((was, is): (&str, &str), change: impl FnOnce(&mut Total)) -> Vec<String> {
        let args = qemu_args("--scenario faults --rounds 3", None).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let disks = crate::session::make_disks(&args, None, directory.path()).unwrap();
        let right = right();
        assert!(right.contains(was), "{was}");
        let mut guest = Guest::default();
        guest.hear(Duration::ZERO, right.replacen(was, is, 1).as_bytes());
        let ended = Ended {
            guest,
            spoke: true,
            ..Ended::default()
        };
        let mut made = Total {
            made: Total::wanted(3).collect(),
            failed: [7, 8, 9],
            unanswered: 4,
            compared: 10,
        };
        change(&mut made);
        let host = Host {
            faults: Some(made),
            ..Host::default()
        };
        let case = Case {
            args: &args,
            scenario: None,
            disks: &disks,
            ended: &ended,
            host: &host,
            defmt: Count::default(),
        };
        let mut findings = Vec::new();
        check(&case, &mut findings);
        findings
    }

    #[test]
    fn each_wrong_count_is_one_finding() {
        assert_eq!(findings(("", ""), |_| {}), Vec::<String>::new());
        for (was, is, part) in [
            ("129024", "131072", "smaller: the service tells 131072 sectors"),
            ("131072", "129024", "larger: the service tells 129024 sectors"),
            ("reset worked", "hello", "tells of none of it"),
            (r#""reads":3"#, r#""reads":0"#, "load0 did not read and write"),
            (r#""failed":5"#, r#""failed":4"#, "answered 21 requests with an error"),
            ("900", "901", "has taken 901 requests and answered 899"),
            ("899", "900", "has taken 900 requests and answered 900"),
            (r#"resets\":1"#, r#"resets\":0"#, "has reset nothing"),
            (r#"completions\":0"#, r#"completions\":1"#, "did not have"),
            (r#"errors\":7}"#, r#"errors\":6}"#, "counts 6 errors of read, QEMU 7"),
            (r#"errors\":1}"#, r#"errors\":0}"#, "counts 0 errors of discard"),
        ] {
            let found = findings((was, is), |_| {});
            assert!(matches!(&found[..], [only] if only.contains(part)), "{part}: {found:?}");
        }
    }

    #[test]
    fn a_fault_that_was_not_made_and_a_kill_that_met_nothing_are_findings() {
        let found = findings(("", ""), |made| made.made[2].times = 1);
        assert!(found[0].ends_with("1 times, wanted 3"), "{found:?}");
        let found = findings(("", ""), |made| made.made.truncate(4));
        assert_eq!(found.len(), 12, "{found:?}");
        let found = findings(("", ""), |made| made.unanswered = 0);
        assert_eq!(found, ["no kill of QEMU met a write that was not answered"]);
    }

    #[test]
    fn a_reset_may_tear_one_record_and_no_more() {
        let torn = "\u{1e}{\"wrote\":{\"range\":{\"first\":1,\"cou\n";
        let damaged = |text: &str, resets| {
            let args = qemu_args("--scenario faults", None).unwrap();
            let mut guest = Guest::default();
            guest.hear(Duration::ZERO, text.as_bytes());
            let ended = Ended {
                abandoned: true,
                guest,
                spoke: true,
                ..Ended::default()
            };
            let mut made = Total::default();
            made.made
                .extend(Total::wanted(resets).filter(|made| made.fault.ends_with("is reset")));
            let host = Host {
                faults: Some(made),
                ..Host::default()
            };
            let case = Case {
                args: &args,
                scenario: None,
                disks: &[],
                ended: &ended,
                host: &host,
                defmt: Count::default(),
            };
            let findings = case.findings();
            findings
                .iter()
                .filter(|line| line.starts_with("damaged record"))
                .count()
        };
        assert_eq!(damaged(torn, 1), 0);
        assert_eq!(damaged(torn, 0), 1);
        assert_eq!(damaged(&torn.repeat(3), 2), 1);
        assert_eq!(damaged("\u{1e}{\"wrote\":7}\n", 1), 1);
    }

    #[test]
    fn a_client_that_waits_to_the_end_is_named() {
        let args = qemu_args("--scenario faults", None).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let disks = crate::session::make_disks(&args, None, directory.path()).unwrap();
        let scenario = Scenario::new(&args, &disks, directory.path()).unwrap();
        let mut guest = Guest::default();
        let mut named = |record: Record<'_>| {
            guest.hear(Duration::ZERO, says(&record).as_bytes());
            let mut findings = Vec::new();
            lost(&guest, &scenario, &mut findings);
            findings.len()
        };
        for label in ["load1", "load2"] {
            let started = Record::Started {
                label,
                endpoint: 9,
                program: "load",
            };
            named(started);
        }
        let ended = Record::Ended {
            label: "load2",
            endpoint: 9,
            how: End::Exit,
            result: 0,
        };
        assert_eq!(named(ended), 1);
        assert_eq!(named(Record::Done { passed: 1, failed: 0 }), 0);
    }
}
