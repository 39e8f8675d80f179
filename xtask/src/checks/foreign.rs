//! Disks that behave as devices in the field do: the service makes the whole block test on each, with contiguous and with
//! scattered memory, and the bare image its self-test. A back-end of its own serves the disk and counts what the driver sends.
//! And the driver as a program of the host, on devices of QEMU and its storage daemon.

use super::boot::{Expectation, Run, expect, passes, same};
use super::cargo;
use super::check::{Check, Guest, Verdict};

/// Behaviour, and what the back-end must have seen.
const BEHAVIOURS: [(&str, Expectation); 6] = [
    // As the specification says: where this fails, the others say nothing.
    ("plain", |run| odd_lengths(run, false)),
    ("one-segment", one_segment),
    ("used-length-none", wrong_lengths),
    ("used-length-one", wrong_lengths),
    ("used-length-data-only", wrong_lengths),
    ("used-length-too-much", wrong_lengths),
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

/// Checks that run the tests of a crate on devices of QEMU: name, crate.
pub(super) const ON_THE_HOST: [(&str, &str); 2] = [("qtest", "virtio-qtest"), ("random", "foreign-devices")];

const DAEMON: &str = "storage-daemon";

pub(super) fn checks() -> Vec<Check> {
    let service = |name: &str, flags: String, runs, expectation: Expectation| {
        passes(&format!("foreign/{name}"), flags, move |run| {
            run.block_tests(runs)?;
            expectation(run)
        })
    };
    let mut checks = Vec::new();
    for (behaviour, expectation) in BEHAVIOURS {
        checks.push(service(behaviour, format!("--foreign {behaviour}"), 2, expectation));
        let bare = format!("--bare --foreign {behaviour}");
        checks.push(passes(&format!("foreign/{behaviour}"), bare, expectation));
    }
    for (name, flags, runs) in ONE_SEGMENT {
        let flags = format!("--foreign one-segment {flags}");
        checks.push(service(&format!("one-segment/{name}"), flags, runs, one_segment));
    }
    // A device of another implementation, whose requests nothing counts.
    checks.push(service(DAEMON, format!("--foreign {DAEMON}"), 2, |_| Ok(())));
    checks.push(passes(
        &format!("foreign/{DAEMON}"),
        format!("--bare --foreign {DAEMON}"),
        |_| Ok(()),
    ));
    checks.extend(ON_THE_HOST.map(|(name, package)| Check {
        boots: Some(Guest::Host),
        ..Check::new(format!("foreign/{name}"), move |context| {
            let mut test = context.workspace.cargo();
            // Where QEMU is missing these tests would say that they are skipped, and pass.
            test.args(["test", "--package", package])
                .env("FOREIGN_DEVICES_REQUIRED", "1");
            cargo::run(&mut test).map(drop)
        })
    }));
    checks
}

/// Each request came with one data descriptor.
fn one_segment(run: &Run) -> Verdict {
    same("most data descriptors", run.backend()?.most_data_descriptors, 1)
}

/// The device reported wrong lengths.
fn wrong_lengths(run: &Run) -> Verdict {
    odd_lengths(run, true)
}

/// The driver sends several data descriptors where the device takes them, and some lengths were wrong, or none.
fn odd_lengths(run: &Run, some: bool) -> Verdict {
    let report = run.backend()?;
    expect(report.most_data_descriptors > 1, "never more than one data descriptor")?;
    same("the device said wrong lengths", report.odd_lengths > 0, some)
}
