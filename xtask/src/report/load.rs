//! Whether the load on all harts and the removal of the disk went as the host had set them up: what queues, vectors and harts counted
//! must add up.

use std::collections::BTreeMap;

use guest_protocol::Record;

use super::check::require;
use super::parse::{Guest, Reported, total};
use crate::cli::{QemuArgs, Removal};
use crate::disk::Outline;

/// A queue as the guest reported it.
struct Queue {
    number: u32,
    hart: u64,
    vector: Option<u32>,
    requests: u64,
    sent: u64,
}

/// Whether a load is due on a disk. On one of a user's there may not be room for it.
pub(super) fn is_due(disk: &Outline) -> bool {
    disk.pattern.is_some() && !disk.scratch.is_empty()
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
            Record::Loaded { queues, requests, .. } => loaded.push((queues, requests)),
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
    let of = |number: u16| {
        let loads = loaded.iter().filter(move |(queues, _)| *queues == u32::from(number));
        total(loads.map(|(_, requests)| *requests))
    };
    let (sum, all) = (
        total(queues.iter().map(|queue| queue.requests)),
        of(args.hardware.queues),
    );
    require!(
        findings,
        sum == all && all > 0,
        "disk {disk}: the queues had {sum} requests, the load {all}"
    );
    // What the rate of several queues is compared with.
    require!(
        findings,
        args.load.is_none() || of(1) > 0,
        "disk {disk}: one queue alone was not loaded"
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::qemu_args;

    /// What is wrong with records of which the first occurrence of a text was changed.
    fn findings(honest: &str, (was, is): (&str, &str), check: impl FnOnce(&Guest, &mut Vec<String>)) -> Vec<String> {
        assert!(honest.contains(was), "{was}");
        let (mut guest, mut findings) = (Guest::default(), Vec::new());
        for line in honest.replacen(was, is, 1).lines() {
            guest.hear(Duration::ZERO, format!("\u{1e}{}\n", line.trim()).as_bytes());
        }
        assert!(guest.damaged.is_empty(), "{:?}", guest.damaged);
        check(&guest, &mut findings);
        findings
    }

    #[test]
    fn counts_of_queues_vectors_and_harts_add_up() {
        let args = qemu_args("--bare --bus pci --aia aplic-imsic --queues 2", None).unwrap();
        let honest = r#"{"queue":{"number":0,"hart":3,"vector":1,"requests":5,"sent":5,"notifies":1,"interrupts":2}}
            {"vector":{"vector":1,"hart":3,"interrupts":2}}
            {"queue":{"number":1,"hart":4,"vector":2,"requests":6,"sent":6,"notifies":1,"interrupts":2}}
            {"vector":{"vector":2,"hart":4,"interrupts":2}}
            {"vector":{"vector":0,"hart":3,"interrupts":0}}
            {"loaded":{"queues":2,"requests":11,"micros":9}}"#;
        for (was, is, part) in [
            ("", "", ""),
            (
                "\"requests\":11",
                "\"requests\":12",
                "the queues had 11 requests, the load 12",
            ),
            (
                "\"sent\":6",
                "\"sent\":7",
                "queue 1: the driver sent 7 requests, the load had 6",
            ),
            (
                "\"vector\":2,\"hart\":4,\"interrupts\":2",
                "\"vector\":2,\"hart\":3,\"interrupts\":2",
                "queue 1: vector 2 interrupted the harts [3], wanted hart 4",
            ),
            (
                "\"vector\":0,\"hart\":3,\"interrupts\":0",
                "\"vector\":2,\"hart\":3,\"interrupts\":1",
                "queue 1: vector 2 interrupted the harts [4, 3], wanted hart 4",
            ),
        ] {
            let findings = findings(honest, (was, is), |guest, findings| check(&args, guest, 0, findings));
            assert_eq!(findings.is_empty(), part.is_empty(), "{findings:?}");
            assert!(
                part.is_empty() || findings.iter().any(|finding| finding.contains(part)),
                "{part}: {findings:?}"
            );
        }
        let longer = qemu_args("--bare --queues 2 --load 4", None).unwrap();
        let found = findings(honest, ("", ""), |guest, findings| check(&longer, guest, 0, findings));
        assert_eq!(found, ["disk 0: one queue alone was not loaded"]);
        let alone = (
            "{\"loaded\"",
            "{\"loaded\":{\"queues\":1,\"requests\":3,\"micros\":9}}\n{\"loaded\"",
        );
        let found = findings(honest, alone, |guest, findings| check(&longer, guest, 0, findings));
        assert_eq!(found, [""; 0]);
        let one = qemu_args("--bare", None).unwrap();
        let findings = findings(honest, ("", ""), |guest, findings| check(&one, guest, 0, findings));
        let wanted = [
            "disk 0: 2 queues were loaded, wanted 1",
            "disk 0: the queues had 11 requests, the load 0",
        ];
        assert_eq!(findings, wanted);
    }

    #[test]
    fn queues_of_several_harts_may_share_a_vector() {
        let args = qemu_args("--bare --bus pci --aia aplic-imsic --queues 2", None).unwrap();
        let honest = r#"{"queue":{"number":0,"hart":3,"vector":1,"requests":5,"sent":5,"notifies":1,"interrupts":2}}
            {"vector":{"vector":1,"hart":3,"interrupts":2}}
            {"queue":{"number":1,"hart":4,"vector":1,"requests":6,"sent":6,"notifies":1,"interrupts":2}}
            {"loaded":{"queues":2,"requests":11,"micros":9}}"#;
        let found = findings(honest, ("", ""), |guest, findings| check(&args, guest, 0, findings));
        assert_eq!(found, [""; 0]);
        let twice = (
            "{\"loaded\"",
            "{\"vector\":{\"vector\":1,\"hart\":4,\"interrupts\":1}}\n{\"loaded\"",
        );
        let found = findings(honest, twice, |guest, findings| check(&args, guest, 0, findings));
        assert_eq!(found, ["disk 0: vector 1 interrupted the harts [3, 4]"]);
    }

    #[test]
    fn no_request_of_a_removed_disk_is_lost() {
        let honest = r#"{"removed":{"submitted":20,"completed":17,"given_back":3}}
            {"device":{"bus":"pci","version":2,"queues":1,"vectors":0,"offered":0,"accepted":0,"capacity":1,"block_bytes":512,"queue_size":4,"read_only":false,"id":"xtask-disk-0"}}"#;
        for (removal, was, is, part) in [
            (Removal::Killed, "", "", ""),
            (
                Removal::Surprise,
                "\"completed\":17,\"given_back\":3",
                "\"completed\":20,\"given_back\":0",
                "",
            ),
            (
                Removal::Killed,
                "\"completed\":17,\"given_back\":3",
                "\"completed\":20,\"given_back\":0",
                "no request was in flight",
            ),
            (
                Removal::Killed,
                "\"given_back\":3",
                "\"given_back\":2",
                "17 completed and 2 were given back",
            ),
            (Removal::Hot, "", "", "the disk was found 1 times, wanted 2"),
        ] {
            let found = findings(honest, (was, is), |guest, findings| {
                check_removal(removal, guest, findings);
            });
            assert_eq!(found.is_empty(), part.is_empty(), "{found:?}");
            assert!(part.is_empty() || found[0].contains(part), "{part}: {found:?}");
        }
    }
}
