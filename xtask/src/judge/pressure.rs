//! What must come of the scenarios that press the service: kills, a slow disk, many requests at once, flushes.

use super::Case;
use crate::minix::scenario::{LOADS, Name, Scenario, THROTTLED_OPS, THROTTLED_RATE};
use crate::report::{Minix, total};

/// Instructions that a hart does in a microsecond where one takes a nanosecond.
const INSTRUCTIONS_PER_MICRO: u128 = 1000;
/// Share of these, in percent, that the service may take while its clients wait for the disk.
const BUSY_LIMIT: u128 = 5;

/// Requests that must be in the device at once where four clients have two each.
const OVERLAP: u64 = 8;

/// A forced write and a flush that is asked for make one flush each. The last close makes none, as there is nothing left.
const FLUSHES: u64 = 2;

/// With fewer kills chance has more to say: one of the clients may not have come to write, or not have met a kill.
const MANY_ROUNDS: usize = 20;

/// Those who open the disk again after a kill, the file server among them. A kill that comes then meets an open of theirs, which
/// does not count as sent again.
const OPENERS: u64 = LOADS + 1;

/// Least time that the requests of the slow disk take, in microseconds: four fifths of what its rate comes to, as the first few
/// may pass at once.
const THROTTLED_MICROS: u64 = LOADS * THROTTLED_OPS * 1_000_000 / THROTTLED_RATE * 4 / 5;

impl Case<'_> {
    pub(super) fn kills(&self, scenario: &Scenario, minix: &Minix, reasons: &mut Vec<String>) {
        let wanted = self.args.rounds() as usize;
        for (what, number) in [("kills", minix.kills.len()), ("restarts", minix.restarts.len())] {
            if number != wanted {
                reasons.push(format!("{number} {what}, wanted {wanted}"));
            }
        }
        // One after each kill, and one when it is all over.
        if minix.poison.len() < wanted {
            let looks = minix.poison.len();
            reasons.push(format!(
                "the memory of dead instances was looked at {looks} times, wanted {wanted}"
            ));
        }
        // A kill of an idle service shows nothing.
        let at_work = minix.kills.iter().filter(|kill| kill.in_flight > 0).count();
        let are_many = wanted >= MANY_ROUNDS;
        if at_work == 0 || are_many && at_work * 4 < minix.kills.len() * 3 {
            reasons.push(format!(
                "only {at_work} of {} kills met requests that were not answered",
                minix.kills.len()
            ));
        }
        let lost = total(minix.kills.iter().map(|kill| kill.in_flight.saturating_sub(OPENERS)));
        let retried = total(minix.loads.iter().map(|load| load.retried));
        if retried < lost {
            reasons.push(format!(
                "at least {lost} transfers were not answered when the service died, but only {retried} were sent again"
            ));
        }
        for number in 0..LOADS {
            let label = format!("load{number}");
            let Some(load) = minix.loads.iter().find(|load| load.label == label) else {
                reasons.push(format!("{label} did not report"));
                continue;
            };
            // On a slow disk a client does so little that chance may leave it without a write.
            let did_too_little = match scenario.name {
                Name::SlowKills => load.acknowledged == 0,
                _ => load.writes == 0 || load.reads == 0,
            };
            if are_many && did_too_little {
                reasons.push(format!("{label} did not read and write"));
            }
            if are_many && load.reopened == 0 {
                reasons.push(format!("{label} did not notice that the service had died"));
            }
        }
        if minix.loads.iter().all(|load| load.writes == 0) || minix.loads.iter().all(|load| load.reads == 0) {
            reasons.push("the load did not read and write".to_owned());
        }
        if minix.loads.iter().all(|load| load.reopened == 0) {
            reasons.push("no client noticed that the service had died".to_owned());
        }
    }

    /// What counts is what the device saw: the service and its clients cannot know.
    pub(super) fn overlap(&self, reasons: &mut Vec<String>) {
        match self.host.requests_at_once {
            Some(seen) if seen >= OVERLAP => {}
            Some(seen) => reasons.push(format!(
                "at most {seen} requests were in the device at once, wanted {OVERLAP}"
            )),
            None => reasons.push(NO_TRACE.to_owned()),
        }
    }

    pub(super) fn flushes(&self, reasons: &mut Vec<String>) {
        match self.host.flushes_after_writes {
            Some(FLUSHES) => {}
            Some(seen) => reasons.push(format!(
                "the device saw {seen} flushes after the last write, wanted {FLUSHES}"
            )),
            None => reasons.push(NO_TRACE.to_owned()),
        }
    }
}

const NO_TRACE: &str = "QEMU did not write down the requests of the device";

pub(super) fn throttled(minix: &Minix, reasons: &mut Vec<String>) {
    let Some(measure) = minix.measures.first() else {
        reasons.push("nothing was measured".to_owned());
        return;
    };
    let hart = u128::from(measure.micros) * INSTRUCTIONS_PER_MICRO;
    if u128::from(measure.instructions) * 100 >= hart * BUSY_LIMIT {
        reasons.push(format!(
            "the service took {} instructions in {} us, {BUSY_LIMIT} % of a hart and more",
            measure.instructions, measure.micros
        ));
    }
    if measure.micros < THROTTLED_MICROS {
        reasons.push(format!(
            "the requests took {} us, but the slow disk needs {THROTTLED_MICROS} us for them",
            measure.micros
        ));
    }
}
