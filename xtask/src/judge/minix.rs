//! What the test kernel and the clients are asked: no breach of protocol, no process that died of itself, every check of
//! every block test, every file, and what the scenario was made to show.

use guest_protocol::SECTOR_BYTES;

use super::pressure::throttled;
use super::{Case, block_test};
use crate::disk::{Disk, Origin};
use crate::minix::scenario::{Name, Scenario, TWINS, must_fail};
use crate::report::{GuestError, Minix, MinorPartition};

/// A service that is told to stop while nobody has it open is gone within this time, in microseconds of the guest.
const STOP_LIMIT: u64 = 100_000;

/// What services that do not get a disk tell RS: the disk is another one's, or a word makes no sense.
const EBUSY: i32 = -16;
const EINVAL: i32 = -22;

/// What a service that is about to stop answers who wants to open.
const REFUSAL: &str = "ENXIO";

impl Case<'_> {
    pub(super) fn minix(&self, scenario: &Scenario, reasons: &mut Vec<String>) {
        let Some(minix) = &self.guest.minix else { return };
        for text in &minix.violations {
            reasons.push(format!("the kernel saw a breach of protocol: {text}"));
        }
        for ended in minix
            .ended
            .iter()
            .filter(|ended| ended.how == "segv" || ended.how == "panic")
        {
            reasons.push(format!("{} died: {}", ended.label, ended.how));
        }
        for poison in minix.poison.iter().filter(|poison| poison.after > 0) {
            reasons.push(format!(
                "{} frames of a dead instance changed after the system could have given them away",
                poison.after
            ));
        }
        block_test::judge(minix, scenario.name, self.args.read_only, reasons);
        // What follows needs a scenario that went to its end.
        if self.guest.done.is_none() {
            return;
        }
        for (number, disk) in self.disks.iter().enumerate() {
            partitions(minix, number, disk, reasons);
        }
        if self.host.files_equal < self.host.files {
            reasons.push(self.host.first_wrong_file.clone().unwrap_or_default());
        }
        for down in &minix.downs {
            if down.forced {
                reasons.push(format!("{} did not stop when told to, and was killed", down.label));
            }
            if down.status != 0 {
                reasons.push(format!("{} did not reset its device when it stopped", down.label));
            }
            // Only there, time does not depend on how busy the host is.
            if scenario.name == Name::Life && down.micros > STOP_LIMIT {
                let (took, limit) = (down.micros / 1000, STOP_LIMIT / 1000);
                reasons.push(format!("{} took {took} ms to stop, {limit} are allowed", down.label));
            }
        }
        match scenario.name {
            Name::Kills | Name::SlowKills => self.kills(scenario, minix, reasons),
            Name::Throttled => throttled(minix, reasons),
            Name::Overlap => self.overlap(reasons),
            Name::Flushes => self.flushes(reasons),
            Name::Twins => twins(minix, reasons),
            _ => {}
        }
        scenario_wanted(scenario, minix, &self.guest.errors, reasons);
    }
}

/// The first four minors after the whole disk are the partitions of a disk that was made here.
fn partitions(minix: &Minix, number: usize, disk: &Disk, reasons: &mut Vec<String>) {
    let Origin::Prepared { layout, .. } = &disk.origin else {
        return;
    };
    for (minor, (_, range)) in (1..).zip(&layout.partitions) {
        let made = MinorPartition {
            disk: number,
            minor,
            first_byte: range.first * SECTOR_BYTES as u64,
            bytes: range.count * SECTOR_BYTES as u64,
        };
        if !minix.partitions.contains(&made) {
            reasons.push(format!(
                "the guest did not find partition {minor} of disk {number} where the host made it"
            ));
        }
    }
}

/// Services that want the disk of another one are refused, each for its reason.
fn twins(minix: &Minix, reasons: &mut Vec<String>) {
    let [twin, mute, odd, late, _] = TWINS;
    for (label, result) in [(twin, EBUSY), (mute, EBUSY), (odd, EINVAL), (late, EBUSY)] {
        if !minix
            .ended
            .iter()
            .any(|ended| ended.label == label && ended.result == result)
        {
            reasons.push(format!("{label} was not refused with {result}"));
        }
    }
}

/// Every client of the scenario has run, and its services left when they were told to.
fn scenario_wanted(scenario: &Scenario, minix: &Minix, errors: &[GuestError], reasons: &mut Vec<String>) {
    for label in scenario.clients() {
        if !minix.started.iter().any(|started| started.label == label) {
            reasons.push(format!("{label} was never started"));
        }
    }
    for label in scenario.clients().filter(|label| must_fail(label)) {
        // It must get as far as the service, and hear this from it.
        if !errors
            .iter()
            .any(|error| error.client == label && error.kind == "open" && error.text.contains(REFUSAL))
        {
            reasons.push(format!(
                "{label} was not refused with {REFUSAL} when it opened the disk"
            ));
        }
    }
    for label in scenario.must_leave() {
        let wanted = scenario.must_leave().filter(|other| *other == label).count();
        let left = minix
            .ended
            .iter()
            .filter(|ended| ended.label == label && ended.how == "exit");
        if left.count() < wanted {
            reasons.push(format!("{label} did not leave by itself each of {wanted} times"));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    //! A shell script plays QEMU, and with it kernel, service and clients. What is tested is that only the truth passes.

    use crate::fake::{poke, report_on, report_on_changed};
    use crate::judge::CHECKS;

    /// What every honest run says: who ran, the partitions, what was read.
    fn honest(scenario: &str) -> String {
        let mut text = String::from("echo 'hello from the guest'\nDIGESTS\n");
        for (minor, first, count) in [(1, 2048, 32_768), (2, 34_816, 65_536), (3, 100_352, 30_720)] {
            text += &format!(
                "record partition minor={minor} base={} bytes={}\n",
                first * 512_u64,
                count * 512_u64
            );
        }
        for label in scenario.split_whitespace() {
            let program = if label.starts_with("blocktest") {
                "blocktest"
            } else {
                "shell"
            };
            text += &format!("record started label={label} endpoint=9 program={program}\n");
            if program == "blocktest" {
                for number in 1..=CHECKS {
                    text += &format!("record check number={number} group=A name=n result=pass detail=\n");
                }
            }
        }
        text += "record ended label=virtio_blk_mmio endpoint=5 how=exit result=0\n";
        text + "record down label=virtio_blk_mmio us=9000 status=0 forced=0 since=term\n"
    }

    const DONE: &str = "record done passed=9 failed=0\n";
    const TOUR: &str = "look1 look2 writer blocktest blocktest_sc mfs1";

    fn reasons(flags: &str, script: &str) -> Vec<String> {
        let report = report_on(flags, script);
        assert_eq!(report.passed, report.reasons.is_empty());
        report.reasons
    }

    fn tour() -> String {
        honest(TOUR) + "FILES\n" + DONE
    }

    #[test]
    fn an_honest_tour_passes() {
        let report = report_on("", &tour());
        assert_eq!(report.reasons, Vec::<String>::new());
        assert_eq!((report.host.files, report.host.files_equal), (112, 112));
        assert_eq!((report.host.digests, report.host.digests_equal), (5, 5));
        assert_eq!(report.host.comparison.unwrap().compared, 131_072);
    }

    #[test]
    fn what_is_not_the_truth_fails() {
        let added = |line: &str| (DONE, format!("{line}\n{DONE}"));
        for ((was, is), part) in [
            ((DONE, "".to_owned()), "without a result"),
            (("failed=0", "failed=2".to_owned()), "2 statements failed"),
            ((DONE, format!("{DONE}exit 1\n")), "status 1"),
            (("number=17", "number=16".to_owned()), "blocktest did not make check 17"),
            (
                ("name=n result=pass", "name=n result=skip".to_owned()),
                "blocktest may not skip check 1",
            ),
            (
                ("name=n result=pass", "name=n result=fail".to_owned()),
                "check 1 of blocktest failed: n",
            ),
            (
                ("label=blocktest_sc", "label=x".to_owned()),
                "blocktest_sc was never started",
            ),
            (
                ("path=/readme bytes=123", "path=/readme bytes=124".to_owned()),
                "file /readme differs",
            ),
            (("path=/readme", "path=/readm".to_owned()), "file /readme is missing"),
            (
                ("digest first=0 ", "digest first=8 ".to_owned()),
                "the guest never read sectors 0 to 63",
            ),
            (("base=1048576", "base=1048064".to_owned()), "partition 1"),
            (("status=0", "status=15".to_owned()), "did not reset its device"),
            (("forced=0", "forced=1".to_owned()), "was killed"),
            (("how=exit", "how=killed".to_owned()), "did not leave by itself"),
            (
                added("record ended label=shell endpoint=3 how=segv result=0"),
                "shell died: segv",
            ),
            (added("record violation text=a_b"), "breach of protocol: a b"),
            (
                added("record poison frames=9 before=1 after=1"),
                "1 frames of a dead instance",
            ),
            (added("record test name=t result=fail detail=d"), "test t failed"),
            (added("record error stage=s kind=k text=t"), "stopped at s: k (t)"),
            (added("record error stage=s"), "damaged record"),
            (
                added("record wrote first=34816 count=8 seed=0x1"),
                "should hold pattern 0x1",
            ),
            (added("record touched first=2048 count=8"), "which it may not"),
            (added(&poke(3000)), "sector 3000 changed"),
        ] {
            let reasons = report_on_changed("", &tour(), (was, &is)).reasons;
            assert!(
                reasons.first().is_some_and(|reason| reason.contains(part)),
                "{part}: {reasons:?}"
            );
        }
    }

    #[test]
    fn a_change_that_is_reported_passes() {
        let script = format!("{}record touched first=34816 count=8\n", poke(34_820));
        let tour = tour().replace(DONE, &(script + DONE));
        assert_eq!(reasons("", &tour), Vec::<String>::new());
    }

    #[test]
    fn a_disk_that_cannot_be_written_is_not_asked_for_writes() {
        let read_only = tour().replace("writer", "reader").replace("number=39", "number=38");
        assert_eq!(reasons("--read-only", &read_only), Vec::<String>::new());
        let reasons = reasons("--read-only", &read_only.replace("number=34", "number=33"));
        assert_eq!(
            reasons,
            ["blocktest did not make check 34", "blocktest_sc did not make check 34"]
        );
    }

    /// Rounds of kills that each met `in_flight` requests.
    fn rounds(number: usize, in_flight: u64) -> String {
        let once = format!(
            "record killed label=virtio_blk_mmio round=1 us=5 inflight={in_flight}\n\
             record restarted label=virtio_blk_mmio old=1 new=2\n\
             record poison frames=300 before=1 after=0\n"
        );
        once.repeat(number)
    }

    #[test]
    fn kills_are_counted() {
        let load = |number| format!("record load label=load{number} acked=9 reads=4 writes=5 retried=10 reopened=2\n");
        let loads: String = (0..4).map(load).collect();
        let honest = honest("look1 look2 load0 load1 load2 load3 after");
        let script = format!("{honest}{}{}{loads}{DONE}", rounds(15, 7), rounds(5, 0));
        let flags = "--kill-during-io --rounds 20";
        assert_eq!(reasons(flags, &script), Vec::<String>::new());
        for (was, is, part) in [
            ("round=1", "round=1 nonsense", ""),
            ("record killed", "# ", "19 kills, wanted 20"),
            ("record restarted", "# ", "19 restarts, wanted 20"),
            ("record poison", "# ", "looked at 19 times"),
            ("inflight=7", "inflight=0", "only 14 of 20 kills met requests"),
            ("retried=10", "retried=0", ""),
            // 15 times two that cannot have been opens.
            ("inflight=7", "inflight=16", ""),
            ("inflight=7", "inflight=18", "at least 41 transfers"),
            ("reads=4", "reads=0", "load0 did not read and write"),
            ("writes=5", "writes=0", "load0 did not read and write"),
            ("reopened=2", "reopened=0", "load0 did not notice"),
            ("label=load2 acked", "label=load1 acked", "load2 did not report"),
            ("record load label=load3", "# ", "load3 did not report"),
            // The last report of a client counts, and only that.
            (
                DONE,
                &(load(3).replace("writes=5", "writes=0") + DONE),
                "load3 did not read and write",
            ),
            (DONE, &(load(3) + DONE), ""),
        ] {
            let reasons = reasons(flags, &script.replacen(was, is, 1));
            match part {
                "" => assert_eq!(reasons, Vec::<String>::new()),
                part => assert!(reasons[0].contains(part), "{part}: {reasons:?}"),
            }
        }
    }

    #[test]
    fn a_few_kills_must_meet_something() {
        let load = |number| format!("record load label=load{number} acked=9 reads=4 writes=0 retried=4 reopened=0\n");
        let others: String = (1..4).map(load).collect();
        let first = "record load label=load0 acked=9 reads=4 writes=5 retried=4 reopened=2\n";
        let honest = honest("look1 look2 load0 load1 load2 load3 after");
        let script = format!("{honest}{}{}{first}{others}{DONE}", rounds(1, 7), rounds(1, 0));
        let flags = "--scenario slow-kills --rounds 2";
        assert_eq!(reasons(flags, &script), Vec::<String>::new());
        for (was, is, part) in [
            ("inflight=7", "inflight=0", "only 0 of 2 kills met requests"),
            ("writes=5", "writes=0", "the load did not read and write"),
            ("reopened=2", "reopened=0", "no client noticed"),
        ] {
            let reasons = reasons(flags, &script.replacen(was, is, 1));
            assert!(reasons[0].contains(part), "{part}: {reasons:?}");
        }
    }

    #[test]
    fn waiting_must_cost_little_and_be_waiting() {
        let clients = "look1 look2 overlap0 overlap1 overlap2 overlap3";
        let run = |instructions: u64, micros: u64| {
            let measure = format!("record measure name=waiting label=x instructions={instructions} us={micros}\n");
            reasons("--scenario throttled", &(honest(clients) + &measure + DONE))
        };
        assert_eq!(run(159_999_999, 3_200_000), Vec::<String>::new());
        assert!(run(160_000_000, 3_200_000)[0].contains("5 % of a hart"));
        assert!(run(100, 3_199_999)[0].contains("the slow disk needs 3200000 us"));
        let nothing = reasons("--scenario throttled", &(honest(clients) + DONE));
        assert_eq!(nothing, ["nothing was measured"]);
    }

    /// Has QEMU write down requests: so many writes that are in the device at once, then as many flushes.
    fn trace(writes: u64, flushes: u64) -> String {
        let event = |name: &str, request: u64| format!("virtio_blk_{name} vdev 0x1 req {request:#x} x 0\n");
        let mut text: String = (1..=writes).map(|request| event("handle_write", request)).collect();
        text.extend((1..=writes + flushes).map(|request| event("req_complete", request)));
        format!(
            "for word in \"$@\"; do case $before in -D) printf '{}' >\"$word\";; esac; before=$word; done\n",
            text.replace('\n', "\\n")
        )
    }

    #[test]
    fn requests_must_meet_in_the_device() {
        // What the service counts does not matter.
        let counters = "record counters label=virtio_blk_mmio max_in_flight=8\n";
        let said = honest("look1 look2 overlap0 overlap1 overlap2 overlap3") + counters + DONE;
        let run = |trace: String| reasons("--scenario overlap", &(trace + &said));
        assert_eq!(run(trace(8, 0)), Vec::<String>::new());
        assert_eq!(
            run(trace(7, 0)),
            ["at most 7 requests were in the device at once, wanted 8"]
        );
        assert_eq!(run(trace(0, 0)), ["QEMU did not write down the requests of the device"]);
    }

    #[test]
    fn what_is_to_be_on_the_disk_is_flushed() {
        let said = honest("look1 look2 flusher") + DONE;
        let run = |trace: String| reasons("--scenario flushes", &(trace + &said));
        assert_eq!(run(trace(2, 2)), Vec::<String>::new());
        for seen in [1, 3] {
            assert_eq!(
                run(trace(2, seen)),
                [format!("the device saw {seen} flushes after the last write, wanted 2")]
            );
        }
        assert_eq!(run(trace(0, 0)), ["QEMU did not write down the requests of the device"]);
    }

    #[test]
    fn a_second_service_on_a_disk_must_be_refused() {
        let ended =
            |label: &str, result: i32| format!("record ended label={label} endpoint=5 how=killed result={result}\n");
        let refused: String = [("twin", -16), ("mute", -16), ("odd", -22), ("late", -16)]
            .map(|(name, result)| ended(&format!("virtio_blk_{name}"), result))
            .concat();
        let left = ended("virtio_blk_heir", 0).replace("killed", "exit");
        let said = honest("look1 look2 busy writer owner still heir") + &left + &refused + DONE;
        let run = |text: &str| reasons("--scenario twins", text);
        assert_eq!(run(&said), Vec::<String>::new());
        assert_eq!(
            run(&said.replacen("result=-16", "result=0", 1)),
            ["virtio_blk_twin was not refused with -16"]
        );
        assert_eq!(
            run(&said.replace("result=-22", "result=-16")),
            ["virtio_blk_odd was not refused with -22"]
        );
    }

    #[test]
    fn who_is_to_be_refused_must_be() {
        let clients = "look1 look2 before after holder ready refused again";
        let left = "record ended label=virtio_blk_mmio endpoint=5 how=exit result=0\n".repeat(2);
        let failed = "record done passed=9 failed=1\nexit 1\n";
        let error = "record started label=refused endpoint=9 program=shell\n\
                     record error stage=shell kind=open 'text=the_driver_says_Err(ENXIO)'\nrecord test name=open result=fail detail=\n";
        let script = honest(clients) + &left + error + failed;
        assert_eq!(reasons("--scenario life", &script), Vec::<String>::new());
        let slow = script.replace("us=9000", "us=100001");
        assert!(reasons("--scenario life", &slow)[0].contains("took 100 ms to stop"));
        let passed = script.replace(failed, DONE);
        assert!(reasons("--scenario life", &passed)[0].contains("1 statements passed in the guest that must fail"));
        let other = script.replace(
            "label=refused endpoint=9 program=shell\nrecord error",
            "label=x endpoint=9 program=shell\nrecord error",
        );
        assert!(reasons("--scenario life", &other)[0].contains("stopped at shell: open"));
        for (was, is) in [("ENXIO", "EIO"), ("kind=open", "kind=read")] {
            let other = reasons("--scenario life", &script.replace(was, is));
            assert_eq!(other, ["refused was not refused with ENXIO when it opened the disk"]);
        }
    }

    #[test]
    fn a_write_that_never_came_is_seen_where_nothing_is_stored() {
        // Asked where something is stored.
        if crate::tools::find_program(crate::tools::QEMU_IMG).is_none() {
            return;
        }
        let said = "record started label=look1 endpoint=1 program=shell\n";
        let all = |line: &str| reasons("--scenario large", &format!("{said}{line}\n{DONE}"));
        assert!(all("").iter().all(|reason| !reason.contains("should hold")));
        let lost = all("record wrote first=200000000 count=8 seed=0x1");
        let text = "sector 200000000 should hold pattern 0x1, but differs at byte 0";
        assert!(lost.iter().any(|reason| reason == text), "{lost:?}");
    }
}
