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
    use std::time::Duration;

    use super::*;

    /// The findings on a run in which the checks of these numbers only skipped, or passed and skipped.
    fn findings(label: &str, scenario: Name, read_only: bool, skipped: &[u32], mixed: &[u32]) -> Vec<String> {
        let mut guest = Guest::default();
        let mut hear = |json: String| guest.hear(Duration::ZERO, format!("\u{1e}{json}\n").as_bytes());
        hear(format!(
            r#"{{"started":{{"label":"{label}","endpoint":9,"program":"blocktest"}}}}"#
        ));
        for number in 1..=CHECKS {
            let (is_skipped, is_mixed) = (skipped.contains(&number), mixed.contains(&number));
            for (outcome, is_said) in [("pass", !is_skipped), ("skip", is_skipped || is_mixed)] {
                if is_said {
                    let test = format!(r#""group":"A","number":{number},"name":"n","outcome":"{outcome}""#);
                    hear(format!(r#"{{"test":{{{test},"detail":""}}}}"#));
                }
            }
        }
        let mut findings = Vec::new();
        check(&guest, scenario, read_only, &mut findings);
        findings
    }

    #[test]
    fn a_check_is_skipped_only_where_it_does_not_apply() {
        let may_not = |label: &str, numbers: &str| vec![format!("{label} may not skip check {numbers}")];
        let small = [44, 45, 46, 48, 49, 50];
        let (tour, large) = (Name::Tour, Name::Large);
        for number in (1..=43).chain([47, 51]) {
            let found = findings("blocktest", tour, false, &[number], &[]);
            assert_eq!(found, may_not("blocktest", &number.to_string()));
        }
        for (label, scenario, read_only, skipped, mixed, expected) in [
            ("blocktest", tour, false, &small[..], &[][..], vec![]),
            ("part_sc", large, false, &[44, 45, 46], &[48, 49, 50], vec![]),
            (
                "part_sc",
                large,
                false,
                &[48, 49, 50],
                &[],
                may_not("part_sc", "48, 49, 50"),
            ),
            ("part_sc", large, false, &[], &[30], may_not("part_sc", "30")),
            ("whole", large, false, &[44, 45, 46, 49], &[], vec![]),
            ("whole", large, false, &[48, 49, 50], &[], may_not("whole", "48, 50")),
            (
                "blocktest",
                tour,
                true,
                &[23, 24, 25, 26, 28, 37, 41, 44, 48],
                &[30, 47],
                vec![],
            ),
            ("blocktest", tour, true, &[29, 30], &[], may_not("blocktest", "29, 30")),
        ] {
            assert_eq!(findings(label, scenario, read_only, skipped, mixed), expected);
        }
    }
}
