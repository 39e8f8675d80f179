//! Disks that behave as devices in the field do: the service makes the whole block test on each, with contiguous and with
//! scattered memory, and the bare image its self-test. A back-end of its own serves the disk and counts what the driver sends.

use super::boot::{self, Disk, expect};
use super::{Check, Guest, Verdict};
use crate::report::Report;

/// What a back-end must have seen beyond the run's own verdict.
type Expectation = fn(&vhost_user_disk::Report) -> Verdict;

/// The suffix of the name where more is checked than one run of the tour.
const BLOCK_TEST: &str = "/block-test";

/// Name, manner, and what the back-end must have seen.
const MANNERS: [(&str, &str, Expectation); 6] = [
    // Without a manner of its own: where this fails, the others say nothing.
    ("back-end", "plain", plain),
    ("one-segment/block-test", "one-segment", one_segment),
    ("used-length/none", "used-length-none", odd_lengths),
    ("used-length/one", "used-length-one", odd_lengths),
    ("used-length/data-only", "used-length-data-only", odd_lengths),
    ("used-length/too-much", "used-length-too-much", odd_lengths),
];

/// Ways to use the device with one data descriptor: name, flags, and how often the block test runs.
const ONE_SEGMENT: [(&str, &str, usize); 6] = [
    ("legacy", "--legacy", 2),
    ("queue-4", "--queue-size 4", 2),
    ("large", "--scenario large", 4),
    ("read-only", "--read-only", 2),
    ("flushes", "--scenario flushes", 0),
    ("kills", "--kill-during-io --rounds 10 --seed 11", 0),
];

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, manner, expectation) in MANNERS {
        checks.push(service(name, format!("--foreign {manner}"), 2, expectation));
        let name = name.trim_end_matches(BLOCK_TEST);
        checks.push(bare(name, format!("--foreign {manner}"), expectation));
    }
    for (name, flags, runs) in ONE_SEGMENT {
        let flags = format!("--foreign one-segment {flags}");
        checks.push(service(&format!("one-segment/{name}"), flags, runs, one_segment));
    }
    checks
}

/// A scenario that must pass, with so many runs of the block test.
fn service(name: &str, flags: String, runs: usize, expectation: Expectation) -> Check {
    Check::foreign(Guest::Minix, format!("minix/{name}"), move |context| {
        let report = boot::boot(context, &flags, &Disk::Prepared)?;
        let made = report.guest.block_tests().len();
        expect(made == runs, &format!("{made} runs of the block test, wanted {runs}"))?;
        seen(&report, expectation)
    })
}

/// A self-test of the bare image that must pass.
fn bare(name: &str, flags: String, expectation: Expectation) -> Check {
    Check::foreign(Guest::Bare, format!("qemu/{name}"), move |context| {
        let report = boot::boot(context, &format!("--bare --no-bench {flags}"), &Disk::Prepared)?;
        seen(&report, expectation)
    })
}

fn seen(report: &Report, expectation: Expectation) -> Verdict {
    match report.host.backends.as_slice() {
        [seen] => expectation(seen.report.as_ref().ok_or("there is no report of the back-end")?),
        other => Err(format!("{} back-ends, wanted 1", other.len())),
    }
}

/// The driver sends several data descriptors where the device takes them, and every length was right.
fn plain(report: &vhost_user_disk::Report) -> Verdict {
    many_segments(report)?;
    expect(report.odd_lengths == 0, "the device said wrong lengths")
}

/// Each request came with one data descriptor.
fn one_segment(report: &vhost_user_disk::Report) -> Verdict {
    let most = report.most_data_descriptors;
    expect(most == 1, &format!("up to {most} data descriptors, wanted 1"))
}

/// The device said what its manner makes it say.
fn odd_lengths(report: &vhost_user_disk::Report) -> Verdict {
    many_segments(report)?;
    expect(report.odd_lengths > 0, "the device never said a wrong length")
}

fn many_segments(report: &vhost_user_disk::Report) -> Verdict {
    let most = report.most_data_descriptors;
    expect(most > 1, &format!("up to {most} data descriptors, wanted several"))
}
