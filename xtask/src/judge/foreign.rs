//! What the back-end of a disk has seen: a driver that kept to the rules, and left nothing unflushed.

use super::Case;
use crate::foreign::Seen;

impl Case<'_> {
    pub(super) fn backends(&self, reasons: &mut Vec<String>) {
        let ended = self.guest.done.is_some() && self.scenario.is_some();
        for (number, seen) in self.host.backends.iter().enumerate() {
            reasons.extend(against(number, seen, ended));
        }
    }
}

/// The reasons against what one back-end saw. `ended`: the last user of the disk has closed it.
fn against(number: usize, seen: &Seen, ended: bool) -> Vec<String> {
    let Some(report) = &seen.report else {
        let complaint = seen.complaints.last().map(|line| format!(": {line}"));
        return vec![format!(
            "the back-end of disk {number} ended without a report{}",
            complaint.unwrap_or_default()
        )];
    };
    let mut reasons = Vec::new();
    if report.violations > 0 {
        let first = report.described.first().map(String::as_str).unwrap_or_default();
        reasons.push(format!(
            "the back-end of disk {number} saw {} broken chains, first: {first}",
            report.violations
        ));
    }
    if report.reads == 0 {
        reasons.push(format!("the back-end of disk {number} never served a read"));
    }
    if ended && report.writes_not_flushed > 0 {
        reasons.push(format!(
            "the driver left {} writes to disk {number} unflushed",
            report.writes_not_flushed
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use vhost_user_disk::Report;

    fn reasons(change: impl FnOnce(&mut Report)) -> Vec<String> {
        let mut report = Report {
            reads: 1,
            ..Report::default()
        };
        change(&mut report);
        let seen = Seen {
            report: Some(report),
            complaints: Vec::new(),
        };
        against(0, &seen, true)
    }

    #[test]
    fn a_driver_that_breaks_a_rule_fails() {
        assert_eq!(reasons(|_| ()), Vec::<String>::new());
        let broken = reasons(|report| {
            report.violations = 3;
            report.described = vec!["a chain is too long".into()];
        });
        assert_eq!(
            broken,
            ["the back-end of disk 0 saw 3 broken chains, first: a chain is too long"]
        );
        assert!(reasons(|report| report.reads = 0)[0].contains("never served a read"));
        assert!(reasons(|report| report.writes_not_flushed = 2)[0].contains("left 2 writes"));
    }

    #[test]
    fn a_back_end_that_died_fails() {
        let seen = Seen {
            report: None,
            complaints: vec!["error: broken".into()],
        };
        assert_eq!(
            against(1, &seen, true),
            ["the back-end of disk 1 ended without a report: error: broken"]
        );
    }
}
