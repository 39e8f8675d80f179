//! Whether a run is a success: what the guest reported against what the host set up and found.
//!
//! Every reason against it is one line. What holds for any guest is here; [`bare`] and [`minix`] add what only one kind of
//! guest can be asked, [`foreign`] what the back-end of a disk has seen.

mod bare;
mod block_test;
mod foreign;
#[cfg(test)]
mod hostile;
mod minix;
mod pressure;

use guest_protocol::SectorRange;

use crate::cli::QemuArgs;
use crate::disk::Disk;
use crate::minix::scenario::{Scenario, must_fail};
use crate::report::{Guest, Host};
use crate::run::Ended;

pub(crate) use block_test::CHECKS;

/// Everything there is to judge by.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) args: &'a QemuArgs,
    /// None: the bare image.
    pub(crate) scenario: Option<&'a Scenario>,
    pub(crate) disks: &'a [Disk],
    pub(crate) ended: &'a Ended,
    pub(crate) guest: &'a Guest,
    pub(crate) host: &'a Host,
}

impl Case<'_> {
    /// Every reason why the run is not a success, the most telling first.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        // The user's file comes first: nothing else matters as much.
        if self.host.file_unchanged == Some(false) {
            reasons.push("the disk image given with --disk has changed".to_owned());
        }
        let expected = |client: &str| self.scenario.is_some() && must_fail(client);
        for error in self.guest.errors.iter().filter(|error| !expected(&error.client)) {
            reasons.push(format!(
                "the guest stopped at {}: {} ({})",
                error.stage, error.kind, error.text
            ));
        }
        // Of the bare image, the end says what went wrong; a scenario goes on after a failure, and the end only counts.
        match self.scenario {
            None => {
                self.end(&mut reasons);
                self.tests(&mut reasons);
            }
            Some(scenario) => {
                self.tests(&mut reasons);
                self.minix(scenario, &mut reasons);
                self.end(&mut reasons);
            }
        }
        let whole_run = !self.args.shell && self.guest.done.is_some();
        if whole_run {
            self.digests(&mut reasons);
            if self.scenario.is_none() {
                self.agreement(&mut reasons);
            }
        }
        self.backends(&mut reasons);
        self.changes(&mut reasons);
        if let Some(comparison) = &self.host.comparison {
            reasons.extend(comparison.differences.iter().cloned());
        }
        reasons.extend(self.guest.damaged.iter().map(|line| format!("damaged record: {line}")));
        reasons
    }

    fn tests(&self, reasons: &mut Vec<String>) {
        let expected = |client: &str| self.scenario.is_some() && must_fail(client);
        let failed = self.guest.tests.iter().filter(|test| test.result == "fail");
        for test in failed.filter(|test| !expected(&test.client)) {
            reasons.push(format!("test {} failed in the guest: {}", test.name, test.detail));
        }
    }

    /// How the run ended.
    fn end(&self, reasons: &mut Vec<String>) {
        let Some(status) = self.ended.status else {
            if self.ended.abandoned {
                // One without a report is a reason of its own.
                if self.host.backends.iter().all(|seen| seen.report.is_some()) {
                    reasons.push("the back-end of a disk ended before the guest did".to_owned());
                }
                return;
            }
            reasons.push(format!(
                "the guest did not end within {} s and was stopped (--timeout sets the limit)",
                self.args.timeout
            ));
            return;
        };
        let quoted = |line: Option<&String>| line.map(|line| format!(": {line}")).unwrap_or_default();
        let complaints = &self.ended.complaints;
        if !self.ended.spoke && !status.success() {
            // The first complaint is the cause, unless it only warns; those after it are what came of that.
            let cause = complaints.iter().find(|line| !line.contains("warning:"));
            let complaint = quoted(cause.or(complaints.last()));
            reasons.push(format!("QEMU did not start the guest{complaint}"));
            return;
        }
        let Some(code) = status.code() else {
            reasons.push(format!("QEMU was killed ({status})"));
            return;
        };
        let (what, failures) = match self.scenario {
            None => ("test", 0),
            Some(scenario) => ("statement", scenario.failures() as u64),
        };
        match &self.guest.done {
            _ if self.args.shell => {}
            Some(done) if done.failed > failures => {
                reasons.push(format!("{} {what}s failed in the guest", done.failed - failures));
            }
            Some(done) if done.failed < failures => {
                reasons.push(format!(
                    "{} {what}s passed in the guest that must fail",
                    failures - done.failed
                ));
            }
            Some(done) if done.passed == 0 => reasons.push(format!("the guest ran no {what}")),
            None if self.guest.errors.is_empty() => {
                let complaint = quoted(complaints.last());
                reasons.push(format!("the guest ended without a result{complaint}"));
            }
            _ => {}
        }
        if code != i32::from(failures > 0) {
            reasons.push(format!("the guest powered off with status {code}"));
        }
    }

    /// Whether both sides read the same.
    fn digests(&self, reasons: &mut Vec<String>) {
        for (number, disk) in self.disks.iter().enumerate() {
            let differs =
                |(range, expected): &&(SectorRange, u64)| self.guest.digest(number, *range) != Some(*expected);
            if let Some((range, _)) = disk.digests.iter().find(differs) {
                let (first, last) = (range.first, range.end() - 1);
                reasons.push(match self.guest.digest(number, *range) {
                    Some(_) => format!("sectors {first} to {last} read differently in the guest and on the host"),
                    None => format!("the guest never read sectors {first} to {last}"),
                });
            }
        }
    }

    /// Whether the guest changed only what it may. In the shell a person types what to change.
    fn changes(&self, reasons: &mut Vec<String>) {
        for (disk, changes) in self.disks.iter().zip(&self.guest.disks) {
            let allowed = if self.args.shell {
                vec![disk.whole()]
            } else {
                disk.outline.scratch.clone()
            };
            let is_allowed = |range: &SectorRange| allowed.iter().any(|allowed| allowed.contains(*range));
            if let Some(SectorRange { first, count }) = changes.ranges.iter().find(|range| !is_allowed(range)) {
                reasons.push(format!(
                    "the guest says it changed {count} sectors at {first}, which it may not"
                ));
            }
        }
    }
}
