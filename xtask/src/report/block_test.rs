//! What a run of the block test must report: every check by its number, and a skip only where there is nothing to check.

use guest_protocol::Outcome;

use super::parse::Guest;
use crate::minix::scenario::Name;

/// Checks of the block test, numbered from 1.
pub(super) const CHECKS: u32 = 51;

/// What is asked of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    /// All of it passes.
    Pass,
    /// Some of it passes, the rest may be skipped.
    Partly,
    /// It may be skipped, but must say so.
    MaySkip,
    /// No report is needed.
    Nothing,
}

/// The duty of a check on a disk with sectors of 512 bytes. `run` is the label of the block test.
fn duty(number: u32, scenario: Name, read_only: bool, run: &str) -> Duty {
    match number {
        // Elements and positions smaller than a sector: the service knows none.
        44..=46 => Duty::MaySkip,
        // Only the largest disk reaches beyond 2^32 bytes. Minor 0 starts where the disk does, so no place of it is far only from
        // its own start.
        49 if run.starts_with("whole") => Duty::MaySkip,
        48..=50 if scenario == Name::Large => Duty::Partly,
        48..=50 => Duty::MaySkip,
        _ if !read_only => Duty::Pass,
        23..=26 | 28 => Duty::MaySkip,
        30 | 47 => Duty::Partly,
        37..=43 => Duty::Nothing,
        _ => Duty::Pass,
    }
}

/// Every run of the block test has made every check.
pub(super) fn check(guest: &Guest, scenario: Name, read_only: bool, findings: &mut Vec<String>) {
    for run in guest.block_tests() {
        let (mut missing, mut skipped) = (Vec::new(), Vec::new());
        for wanted in 1..=CHECKS {
            let of_number = guest.tests_of(run).filter(|(_, number, ..)| *number == wanted);
            let outcomes: Vec<Outcome> = of_number.map(|(.., outcome)| outcome).collect();
            let has = |outcome| outcomes.contains(&outcome);
            let duty = duty(wanted, scenario, read_only, run);
            if duty != Duty::Nothing && outcomes.is_empty() {
                missing.push(wanted.to_string());
            } else if has(Outcome::Skip) && (duty == Duty::Pass || duty == Duty::Partly && !has(Outcome::Pass)) {
                skipped.push(wanted.to_string());
            }
        }
        for (what, numbers) in [("did not make", missing), ("may not skip", skipped)] {
            if !numbers.is_empty() {
                findings.push(format!("{run} {what} check {}", numbers.join(", ")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_skipped_only_where_it_does_not_apply() {
        // Numbers that must pass, and those of which some part must.
        let duties = |scenario, read_only, run| {
            [Duty::Pass, Duty::Partly].map(|wanted| {
                let numbers = (1..=CHECKS).filter(|number| duty(*number, scenario, read_only, run) == wanted);
                numbers.collect::<Vec<_>>()
            })
        };
        let all: Vec<u32> = (1..=43).chain([47, 51]).collect();
        assert_eq!(duties(Name::Tour, false, "blocktest"), [all.clone(), vec![]]);
        assert_eq!(duties(Name::Large, false, "part_sc"), [all.clone(), vec![48, 49, 50]]);
        assert_eq!(duties(Name::Large, false, "whole"), [all, vec![48, 50]]);
        let reading = (1..=22).chain([27, 29]).chain(31..=36).chain([51]).collect();
        assert_eq!(duties(Name::Tour, true, "blocktest"), [reading, vec![30, 47]]);
    }
}
