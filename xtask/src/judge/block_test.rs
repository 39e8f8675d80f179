//! What the block test must have to say: every check by its number, and a skip only where there is nothing to check.

use crate::minix::scenario::Name;
use crate::report::Minix;

/// Checks of the block test, numbered from 1.
pub(crate) const CHECKS: u64 = 51;

/// What is asked of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    /// All of it passes.
    Pass,
    /// Some of it passes, the rest may be skipped.
    Partly,
    /// It may be skipped, but must say so.
    MaySkip,
    /// There need be no trace of it.
    Nothing,
}

/// The duty of a check on a disk with sectors of 512 bytes. `run` is the label of the block test.
fn duty(number: u64, scenario: Name, read_only: bool, run: &str) -> Duty {
    // Only the largest disk reaches as far as these go. Minor 0 starts where the disk does: nothing is far from its start only.
    let far = match (scenario, number) {
        (Name::Large, 49) if run.starts_with("whole") => Duty::MaySkip,
        (Name::Large, _) => Duty::Partly,
        _ => Duty::MaySkip,
    };
    match number {
        // Elements and positions smaller than a sector: the service knows none.
        44..=46 => Duty::MaySkip,
        48..=50 => far,
        _ if !read_only => Duty::Pass,
        23..=26 | 28 => Duty::MaySkip,
        30 | 47 => Duty::Partly,
        37..=43 => Duty::Nothing,
        _ => Duty::Pass,
    }
}

/// Every run of the block test has done its duty, and nothing failed.
pub(super) fn judge(minix: &Minix, scenario: Name, read_only: bool, reasons: &mut Vec<String>) {
    for check in minix.checks.iter().filter(|check| check.result == "fail") {
        reasons.push(format!(
            "check {} of {} failed: {}: {}",
            check.number, check.run, check.name, check.detail
        ));
    }
    for run in minix.block_test_labels() {
        let has = |number: u64, result: &str| {
            let mut checks = minix.checks.iter();
            checks.any(|check| check.run == run && check.number == number && check.result == result)
        };
        let (mut missing, mut skipped) = (Vec::new(), Vec::new());
        for number in 1..=CHECKS {
            let (passed, failed, left_out) = (has(number, "pass"), has(number, "fail"), has(number, "skip"));
            let duty = duty(number, scenario, read_only, run);
            if duty != Duty::Nothing && !passed && !failed && !left_out {
                missing.push(number.to_string());
            } else if left_out && (duty == Duty::Pass || duty == Duty::Partly && !passed) {
                skipped.push(number.to_string());
            }
        }
        for (what, numbers) in [("did not make", missing), ("may not skip", skipped)] {
            if !numbers.is_empty() {
                reasons.push(format!("{run} {what} check {}", numbers.join(", ")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Guest;

    /// The reasons against a run in which the checks of these numbers only skipped, or passed and skipped.
    fn reasons(label: &str, scenario: Name, read_only: bool, skipped: &[u64], mixed: &[u64]) -> Vec<String> {
        let mut lines = vec![format!("\x1estarted label={label} endpoint=9 program=blocktest")];
        for number in 1..=CHECKS {
            let mut say = |result: &str| {
                lines.push(format!(
                    "\x1echeck number={number} group=A name=n result={result} detail="
                ));
            };
            if !skipped.contains(&number) {
                say("pass");
            }
            if skipped.contains(&number) || mixed.contains(&number) {
                say("skip");
            }
        }
        let guest = Guest::of_minix(&lines);
        let mut reasons = Vec::new();
        judge(&guest.minix.unwrap(), scenario, read_only, &mut reasons);
        reasons
    }

    #[test]
    fn nothing_but_skips_fails() {
        let all: Vec<u64> = (1..=CHECKS).collect();
        for (scenario, read_only) in [(Name::Tour, false), (Name::Tour, true), (Name::Large, false)] {
            let reasons = reasons("blocktest", scenario, read_only, &all, &[]);
            assert!(
                reasons[0].starts_with("blocktest may not skip check 1, 2, "),
                "{reasons:?}"
            );
        }
    }

    #[test]
    fn a_skip_is_for_what_there_is_not() {
        let none = Vec::<String>::new();
        let tour = |skipped: &[u64]| reasons("blocktest", Name::Tour, false, skipped, &[]);
        assert_eq!(tour(&[44, 45, 46, 48, 49, 50]), none);
        for number in (1..=43).chain([47, 51]) {
            assert_eq!(tour(&[number]), [format!("blocktest may not skip check {number}")]);
        }
        let part = |skipped: &[u64], mixed: &[u64]| reasons("part_sc", Name::Large, false, skipped, mixed);
        assert_eq!(part(&[44, 45, 46], &[48, 49, 50]), none);
        assert_eq!(part(&[48, 49, 50], &[]), ["part_sc may not skip check 48, 49, 50"]);
        assert_eq!(part(&[], &[30]), ["part_sc may not skip check 30"]);
        let whole = |skipped: &[u64]| reasons("whole", Name::Large, false, skipped, &[]);
        assert_eq!(whole(&[44, 45, 46, 49]), none);
        assert_eq!(whole(&[48, 49, 50]), ["whole may not skip check 48, 50"]);
    }

    #[test]
    fn a_disk_that_cannot_be_written_skips_the_writes() {
        let all_writes = [23, 24, 25, 26, 28, 37, 41, 44, 45, 46, 48, 49, 50];
        let run = |skipped: &[u64]| reasons("blocktest", Name::Tour, true, skipped, &[30, 47]);
        assert_eq!(run(&all_writes), Vec::<String>::new());
        assert_eq!(run(&[29, 30]), ["blocktest may not skip check 29, 30"]);
    }
}
