//! The disk is taken away while every hart uses it. The run itself judges: each request is answered once, and the disk holds every
//! write that was acknowledged.

use guest_protocol::Record;

use super::boot::{Run, Variant, expect, passes, same};
use super::check::{Check, Verdict};
use crate::report::records;

const CASES: [Variant; 8] = [
    // The guest answers the button of the slot, and takes the disk that is plugged in afterwards into use.
    ("hot/line", "--bus pci --queues 2 --remove hot", back_again),
    (
        "hot/messages",
        "--bus pci-transitional --aia aplic-imsic --queues 3 --remove hot",
        back_again,
    ),
    ("hot/legacy", "--bus pci --legacy --aia aplic --remove hot", back_again),
    // Nothing tells the guest.
    ("surprise/line", "--bus pci --remove surprise", in_flight),
    (
        "surprise/messages",
        "--bus pci --aia aplic-imsic --queues 2 --remove surprise",
        in_flight,
    ),
    (
        "surprise/polled",
        "--bus pci --poll --queues 2 --remove surprise",
        in_flight,
    ),
    // The requests in flight are lost.
    ("killed/mmio", "--foreign plain --remove killed", in_flight),
    (
        "killed/pci",
        "--bus pci --aia aplic-imsic --queues 2 --foreign storage-daemon --remove killed",
        in_flight,
    ),
];

pub(super) fn checks() -> Vec<Check> {
    let cases = CASES.into_iter();
    let check = |(name, flags, expectation): Variant| {
        passes(&format!("removal/{name}"), format!("--bare {flags}"), expectation)
    };
    cases.map(check).collect()
}

/// Requests were in flight when the guest said that the disk may go.
fn in_flight(run: &Run) -> Verdict {
    let in_flight = records!(run.report.guest, Record::Removable { in_flight } => in_flight);
    let in_flight: Vec<u64> = in_flight.collect();
    expect(
        matches!(in_flight[..], [number] if number > 0),
        &format!("requests in flight before the removal: {in_flight:?}"),
    )
}

/// The disk came back, and was used by all harts.
fn back_again(run: &Run) -> Verdict {
    in_flight(run)?;
    let loads = records!(run.report.guest, Record::Loaded { requests, .. } => requests);
    same("loads afterwards", loads.filter(|requests| *requests > 0).count(), 1)
}
