//! Whether the load on all harts and the removal of the disk went as the host had set them up: what queues, vectors and harts counted
//! must add up.

use std::collections::BTreeMap;

use guest_protocol::Record;

use super::check::require;
use super::parse::{Guest, Reported, total};
use crate::cli::{QemuArgs, Removal};

/// A queue as the guest reported it.
struct Queue {
    number: u32,
    hart: u64,
    vector: Option<u32>,
    requests: u64,
    sent: u64,
}

/// Adds what is wrong with the load on one disk.
pub(super) fn check(args: &QemuArgs, guest: &Guest, disk: usize, findings: &mut Vec<String>) {
    let (mut queues, mut loaded) = (Vec::new(), Vec::new());
    let mut harts: BTreeMap<Option<u32>, Vec<u64>> = BTreeMap::new();
    for Reported { record, .. } in guest.of_disk(disk) {
        match *record {
            Record::Queue {
                number,
                hart,
                vector,
                requests,
                sent,
                ..
            } => queues.push(Queue {
                number,
                hart,
                vector,
                requests,
                sent,
            }),
            Record::Vector {
                vector,
                hart,
                interrupts: 1..,
            } => harts.entry(vector).or_default().push(hart),
            Record::Loaded { requests, .. } => loaded.push(requests),
            _ => {}
        }
    }
    let wanted = usize::from(args.hardware.queues);
    let used = queues.len();
    require!(
        findings,
        used == wanted,
        "disk {disk}: {used} queues were loaded, wanted {wanted}"
    );
    let (sum, all) = (total(queues.iter().map(|queue| queue.requests)), total(loaded));
    require!(
        findings,
        sum == all && all > 0,
        "disk {disk}: the queues had {sum} requests, the load {all}"
    );
    for queue in &queues {
        let Queue {
            number,
            hart,
            requests,
            sent,
            ..
        } = queue;
        require!(
            findings,
            sent == requests,
            "disk {disk}, queue {number}: the driver sent {sent} requests, the load had {requests}"
        );
        // A vector that queues of several harts share interrupts one of them.
        let is_own = queues.iter().filter(|other| other.vector == queue.vector).count() == 1;
        if let Some(vector) = queue.vector
            && is_own
        {
            let seen = harts.get(&Some(vector)).map(Vec::as_slice).unwrap_or_default();
            require!(
                findings,
                seen == [*hart],
                "disk {disk}, queue {number}: vector {vector} interrupted the harts {seen:?}, wanted hart {hart}"
            );
        }
    }
    for (vector, harts) in harts {
        let name = vector.map_or("the line".to_owned(), |vector| format!("vector {vector}"));
        require!(
            findings,
            harts.len() == 1,
            "disk {disk}: {name} interrupted the harts {harts:?}"
        );
    }
}

/// Adds what is wrong with the removal of the disk.
pub(super) fn check_removal(removal: Removal, guest: &Guest, findings: &mut Vec<String>) {
    let removed = guest.of_disk(0).filter_map(|reported| match reported.record {
        Record::Removed {
            submitted,
            completed,
            given_back,
        } => Some([submitted, completed, given_back]),
        _ => None,
    });
    let removed: Vec<_> = removed.collect();
    let [[submitted, completed, given_back]] = removed[..] else {
        findings.push(format!("the disk was removed {} times, wanted once", removed.len()));
        return;
    };
    require!(
        findings,
        total([completed, given_back]) == u128::from(submitted) && completed > 0,
        "of {submitted} requests {completed} completed and {given_back} were given back"
    );
    // QEMU completes all requests before it removes a disk by itself.
    let is_lost = removal != Removal::Killed || given_back > 0;
    require!(findings, is_lost, "no request was in flight as the back-end was killed");
    let found = guest
        .of_disk(0)
        .filter(|reported| matches!(reported.record, Record::Device(_)));
    let (found, wanted) = (found.count(), if removal == Removal::Hot { 2 } else { 1 });
    require!(
        findings,
        found == wanted,
        "the disk was found {found} times, wanted {wanted}"
    );
}
