//! What the test kernel and the clients are asked: no breach of protocol, no process that died of itself, every check of
//! every block test, every file, and what the scenario was made to show.

use std::collections::BTreeSet;

use guest_protocol::SECTOR_BYTES;

use super::Case;
use crate::disk::{Disk, Origin};
use crate::minix::scenario::{Name, Scenario};
use crate::report::{Minix, MinorPartition};

/// Checks of the block test, numbered from 1.
pub(crate) const CHECKS: u64 = 51;

/// A service that is told to stop while nobody has it open is gone within this time, in microseconds of the guest.
const STOP_LIMIT: u64 = 100_000;

/// Instructions that a hart does in a microsecond where one takes a nanosecond.
const INSTRUCTIONS_PER_MICRO: u64 = 1000;
/// Share of these, in percent, that the service may take while its clients wait for the disk.
const BUSY_LIMIT: u64 = 5;

/// Requests that must be in the device at once where four clients have two each.
const OVERLAP: u64 = 8;

impl Case<'_> {
    pub(super) fn minix(&self, scenario: &Scenario, reasons: &mut Vec<String>) {
        let Some(minix) = &self.guest.minix else { return };
        for text in &minix.violations {
            reasons.push(format!("the kernel saw a breach of protocol: {text}"));
        }
        for ended in minix.ended.iter().filter(|ended| ended.how == "segv" || ended.how == "panic") {
            reasons.push(format!("{} died: {}", ended.label, ended.how));
        }
        for poison in minix.poison.iter().filter(|poison| poison.after > 0) {
            reasons.push(format!(
                "{} frames of a dead instance changed after its successor had started",
                poison.after
            ));
        }
        block_tests(minix, reasons);
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
            if down.micros > STOP_LIMIT {
                let (took, limit) = (down.micros / 1000, STOP_LIMIT / 1000);
                reasons.push(format!("{} took {took} ms to stop, {limit} are allowed", down.label));
            }
        }
        match scenario.name {
            Name::Kills => self.kills(minix, reasons),
            Name::Throttled => throttled(minix, reasons),
            Name::Overlap => self.overlap(minix, reasons),
            _ => {}
        }
        scenario_wanted(scenario, minix, reasons);
    }

    fn kills(&self, minix: &Minix, reasons: &mut Vec<String>) {
        let wanted = self.args.rounds as usize;
        for (what, number) in [
            ("kills", minix.kills.len()),
            ("restarts", minix.restarts.len()),
            ("looks at the memory of dead instances", minix.poison.len()),
        ] {
            if number != wanted {
                reasons.push(format!("{number} {what}, wanted {wanted}"));
            }
        }
        if minix.loads.iter().any(|load| load.writes == 0 || load.reads == 0) {
            reasons.push("a client of the load did not read and write".to_owned());
        }
        if minix.loads.iter().all(|load| load.reopened == 0) {
            reasons.push("no client noticed that the service had died".to_owned());
        }
    }

    fn overlap(&self, minix: &Minix, reasons: &mut Vec<String>) {
        let counted = minix.counters.iter().filter_map(|counters| counters.get("max_in_flight"));
        let seen = counted.chain(self.host.requests_at_once).max().unwrap_or_default();
        if seen < OVERLAP {
            reasons.push(format!("at most {seen} requests were in the device at once, wanted {OVERLAP}"));
        }
    }
}

/// Every run of the block test has made every check, and none failed.
fn block_tests(minix: &Minix, reasons: &mut Vec<String>) {
    for check in minix.checks.iter().filter(|check| check.result == "fail") {
        reasons.push(format!(
            "check {} of {} failed: {}: {}",
            check.number, check.run, check.name, check.detail
        ));
    }
    for run in minix.block_tests() {
        let made = minix.checks.iter().filter(|check| check.run == run);
        let made: BTreeSet<u64> = made.map(|check| check.number).collect();
        let missing: Vec<String> = (1..=CHECKS)
            .filter(|number| !made.contains(number))
            .map(|number| number.to_string())
            .collect();
        if !missing.is_empty() {
            reasons.push(format!("{run} did not make check {}", missing.join(", ")));
        }
    }
}

/// The first four minors after the whole disk are the partitions of a disk that was made here.
fn partitions(minix: &Minix, number: usize, disk: &Disk, reasons: &mut Vec<String>) {
    let Origin::Prepared { layout, .. } = &disk.origin else { return };
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

fn throttled(minix: &Minix, reasons: &mut Vec<String>) {
    let Some(measure) = minix.measures.first() else {
        reasons.push("nothing was measured".to_owned());
        return;
    };
    let hart = measure.micros * INSTRUCTIONS_PER_MICRO;
    if measure.instructions * 100 >= hart * BUSY_LIMIT {
        reasons.push(format!(
            "the service took {} instructions in {} us, {BUSY_LIMIT} % of a hart and more",
            measure.instructions, measure.micros
        ));
    }
}

/// Every client of the scenario has run, and its services left when they were told to.
fn scenario_wanted(scenario: &Scenario, minix: &Minix, reasons: &mut Vec<String>) {
    for label in scenario.clients() {
        if !minix.started.iter().any(|started| started.label == label) {
            reasons.push(format!("{label} was never started"));
        }
    }
    for label in scenario.must_leave() {
        let wanted = scenario.must_leave().filter(|other| *other == label).count();
        let left = minix.ended.iter().filter(|ended| ended.label == label && ended.how == "exit");
        if left.count() < wanted {
            reasons.push(format!("{label} did not leave by itself each of {wanted} times"));
            return;
        }
    }
}
