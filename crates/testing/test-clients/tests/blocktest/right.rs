//! The driver does everything right.

use std::collections::BTreeSet;

use guest_protocol::{Record, pattern};
use minix_abi::Errno;
use minix_abi::partition::{PartitionEntry, SystemId, write_table};

use super::system::disk::ORIGINAL_SEED;
use super::system::{Trap, bug::Bug};
use super::{LARGE, Run, SMALL, partitioned, run, run_on};

fn all_pass(run: &Run) {
    assert_eq!(run.failures(), [""; 0]);
    assert_eq!(run.result, Ok(()));
}

fn numbers(ranges: &[std::ops::RangeInclusive<u32>]) -> BTreeSet<u32> {
    ranges.iter().cloned().flatten().collect()
}

#[test]
fn a_small_disk_passes_and_every_number_is_reported() {
    let run = run_on(SMALL, Bug::None);
    all_pass(&run);
    assert_eq!(run.numbers("pass"), numbers(&[1..=43, 47..=47, 51..=51]));
    assert_eq!(run.numbers("skip"), numbers(&[44..=46, 48..=50]));
}

#[test]
fn a_large_disk_is_swept_at_all_places() {
    let run = run_on(LARGE, Bug::None);
    all_pass(&run);
    assert_eq!(run.numbers("pass"), numbers(&[1..=43, 47..=48, 50..=51]));
    let sweeps = run.named("pass").filter(|check| check.number == 50).count();
    assert_eq!(sweeps, 8, "two addresses with four checks each");
}

#[test]
fn scattered_memory_and_other_sizes_pass() {
    all_pass(&run(
        Trap::new(SMALL, Bug::None),
        &["label=disk", "minor=0", "rw", "max=524288", "nocontig"],
    ));
    let small_max = run(
        Trap::new(SMALL, Bug::None),
        &["label=disk", "minor=0", "rw", "max=16384"],
    );
    all_pass(&small_max);
    let skipped = small_max.named("skip").find(|check| check.number == 30).unwrap();
    assert_eq!(skipped.detail, "less than a sector per element");
    let same = run(
        Trap::new(SMALL, Bug::None),
        &["label=disk", "minor=0", "rw", "max=262144"],
    );
    assert!(same.named("skip").any(|check| check.number == 30));
}

#[test]
fn a_disk_that_may_not_be_written_is_not() {
    let run = run(Trap::new(LARGE, Bug::None), &["label=disk", "minor=0"]);
    all_pass(&run);
    assert_eq!(run.trap.0.borrow().driver.disk.written().count(), 0);
    let skipped = run.numbers("skip");
    assert!(skipped.is_superset(&numbers(&[23..=26, 28..=28, 37..=37, 41..=41])));
    assert!(
        run.numbers("pass")
            .is_superset(&numbers(&[27..=27, 29..=36, 47..=48, 50..=50]))
    );
}

#[test]
fn a_partition_passes_and_nothing_outside_of_it_is_written() {
    let size = (1 << 28) + 4096;
    let trap = partitioned(LARGE, size, Bug::None);
    let run = run(trap, &["label=disk", "minor=1", "rw"]);
    all_pass(&run);
    assert!(
        run.numbers("pass").contains(&49),
        "4 GiB from the start of the partition"
    );
    let system = run.trap.0.borrow();
    let inside = 64..64 + u64::from(size);
    assert!(
        system
            .driver
            .disk
            .written()
            .all(|sector| sector == 0 || inside.contains(&sector))
    );
}

#[test]
fn a_sub_partition_has_no_partitions_of_its_own() {
    let trap = partitioned(SMALL, 65536, Bug::None);
    let mut sector = [0; 512];
    let mut table = [PartitionEntry::new(SystemId::NONE, 0, 0); 4];
    table[0] = PartitionEntry::new(SystemId::MINIX, 65, 65000);
    write_table(&mut sector, &table);
    trap.0.borrow_mut().driver.disk.write(64, &sector);
    let run = run(trap, &["label=disk", "minor=128", "rw"]);
    all_pass(&run);
    assert!(run.numbers("skip").is_superset(&numbers(&[31..=31, 41..=41])));
}

#[test]
fn what_is_on_the_disk_is_what_was_reported() {
    let run = run_on(SMALL, Bug::None);
    // Later records override earlier ones: seeds of sectors, `None` for those that are anything.
    let mut expected = std::collections::BTreeMap::new();
    for line in run.lines() {
        let (range, seed) = match Record::parse(&line) {
            Some(Ok(Record::Wrote { range, seed })) => (range, Some(seed)),
            Some(Ok(Record::Undefined { range })) => (range, None),
            _ => continue,
        };
        assert_ne!(range.count, 0);
        for sector in range.first..range.end() {
            expected.insert(sector, seed);
        }
    }
    let system = run.trap.0.borrow();
    let written: BTreeSet<_> = system.driver.disk.written().collect();
    assert_eq!(written, expected.keys().copied().collect());
    for (sector, seed) in expected {
        if let Some(seed) = seed {
            let content = system.driver.disk.read(sector);
            assert_eq!(pattern::check(seed, sector, &content), Ok(()), "sector {sector}");
            assert_ne!(seed, ORIGINAL_SEED);
        }
    }
}

#[test]
fn bad_arguments_end_it_before_it_starts() {
    for words in [
        &["label=disk", "minor=0", "speed=fast"][..],
        &["minor=0"],
        &["label=disk", "minor=300"],
    ] {
        let run = run(Trap::new(SMALL, Bug::None), words);
        assert_eq!(run.result, Err(Errno::EINVAL));
        assert!(run.checks.is_empty());
        assert!(
            run.lines()
                .iter()
                .any(|line| matches!(Record::parse(line), Some(Ok(Record::Error { stage: "arguments", .. }))))
        );
    }
    let run = run(Trap::new(SMALL, Bug::None), &["label=tape", "minor=0"]);
    assert_eq!(run.result, Err(Errno::ESRCH));
}
