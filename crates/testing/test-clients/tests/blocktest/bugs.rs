//! The driver does one thing wrong. What is written down here is which numbers fail, and no others may: a check that fails
//! for somebody else's mistake leads astray.

use std::collections::BTreeSet;

use minix_abi::Errno;

use super::system::bug::Bug;
use super::{LARGE, Run, partitioned, run, run_on};

/// Runs the test on a large disk. The first number is the check that is there for this mistake.
fn finds(bug: Bug, numbers: &[u32]) -> Run {
    let run = run_on(LARGE, bug);
    let failed = run.numbers("fail");
    let expected: BTreeSet<_> = numbers.iter().copied().collect();
    assert_eq!(failed, expected, "{bug:?}: {:#?}", run.failures());
    assert_eq!(run.result, Err(Errno::EINVAL), "{bug:?}");
    run
}

fn names(run: &Run) -> Vec<&str> {
    run.named("fail").map(|check| check.name.as_str()).collect()
}

/// All numbers of checks that read and look at what they read.
const READS: &[u32] = &[
    6, 10, 11, 22, 23, 24, 25, 27, 29, 30, 33, 37, 38, 39, 40, 43, 47, 48, 50,
];

#[test]
fn opening_and_counting() {
    assert_eq!(
        finds(Bug::OpenFails, &[1]).checks.len(),
        1,
        "without a disk there is nothing else"
    );
    assert_eq!(finds(Bug::NoPlace, &[2]).checks.len(), 7, "without its place as well");
    finds(Bug::CountsNothing, &[3, 4, 5]);
    finds(Bug::CountsOnce, &[4, 5, 41]);
    finds(Bug::CloseDoesNotCount, &[5, 41, 42]);
    finds(Bug::CloseFails, &[51, 5, 32, 41]);
}

#[test]
fn vectors() {
    finds(Bug::ReadsHalfASector, READS);
    finds(Bug::ReadsNothing, READS);
    finds(Bug::NoElementsIsSuccess, &[7]);
    finds(Bug::BadVectorIsEmpty, &[8]);
    finds(Bug::RevokedVectorIsEmpty, &[9]);
    finds(Bug::ErrorsWedge, &[10]);
}

#[test]
fn elements() {
    finds(Bug::EmptyElementIsFine, &[12]);
    finds(Bug::LengthsIn32Bits, &[13, 14, 15]);
    finds(Bug::TotalIsNotChecked, &[14, 15]);
    finds(Bug::TotalWraps, &[15]);
    finds(Bug::OddLengthRoundsUp, &[16, 20, 24]);
    finds(Bug::OddLengthIsIo, &[14, 15, 16, 20, 24]);
    finds(Bug::BadElementIsSkipped, &[17]);
    finds(Bug::RevokedIsIo, &[18, 19, 25]);
    finds(Bug::AccessIsIgnored, &[19, 25]);
    finds(Bug::OddAddressIsRounded, &[20, 15, 24]);
    finds(Bug::OddPositionIsRounded, &[21, 23]);
    finds(Bug::OddPositionWedges, &[22, 23]);
    finds(Bug::ChangesBeforeChecking, &[12, 13, 14, 15]);
    finds(Bug::DisturbsMemoryOnWrites, &[26, 28, 30, 37, 43, 47, 48, 50]);
}

#[test]
fn the_first_buffer_may_be_filled_before_a_mistake_is_seen() {
    assert_eq!(run_on(LARGE, Bug::RefusesAfterTheFirst).failures(), [""; 0]);
}

#[test]
fn large_transfers() {
    finds(Bug::AtMost64K, &[26, 27, 28, 29, 30]);
    let half = finds(Bug::SilentlyHalf, &[27, 29]);
    assert_eq!(names(&half), ["vector_read", "read"]);
    finds(Bug::LastByteTooMuch, READS);
    finds(Bug::FirstByteTooEarly, READS);
    finds(Bug::ElementsSwapped, &[29, 30]);
    finds(Bug::ScatterTakesTheFirstOnly, &[29, 24, 25, 30, 47, 48, 50]);
}

#[test]
fn partitions() {
    finds(Bug::EmptyPartitionIsNone, &[31, 41]);
    finds(Bug::SetIsIgnored, &[32]);
    finds(Bug::SetForgetsSize, &[32]);
    finds(Bug::TableIsReadOnce, &[42, 41]);
    finds(Bug::TableStays, &[41]);
    finds(Bug::TableIsRelative, &[42]);
}

#[test]
fn ends_of_partitions() {
    finds(Bug::BaseIsIgnored, &[33, 37, 38, 43]);
    finds(Bug::NoEnd, &[33, 37, 38, 39, 43]);
    finds(Bug::EndIsAnError, &[33, 37, 38, 40, 43]);
    finds(Bug::BehindTheEndIsAnError, &[34, 38, 43]);
    // A successor does not know of partitions that were set, only of those in the table.
    let far = finds(Bug::DiesFarAway, &[35, 43, 37, 38, 39, 40]);
    assert!(
        far.named("fail")
            .all(|check| check.number != 43 || check.name == "read_far_away")
    );
    finds(Bug::NegativeIsAnError, &[36, 40, 43]);
    finds(Bug::NegativeWraps, &[40, 36, 43]);
    finds(Bug::WritesHaveNoEnd, &[37, 38, 39, 43]);
    finds(Bug::WritesBehindTheEnd, &[39, 38, 43]);
}

#[test]
fn long_numbers() {
    finds(Bug::ThreeSectorsAreFour, &[47, 48, 50]);
    finds(Bug::Position32, &[48, 50]);
    let damage = finds(Bug::WritePosition32, &[48, 50]);
    assert!(names(&damage).contains(&"no_damage_at_the_start"));
    finds(Bug::Lba24, &[50]);
    let last = finds(Bug::Lba28, &[50]);
    assert_eq!(names(&last), ["lba_2_28_windows"]);

    let trap = partitioned(LARGE, 1 << 24, Bug::PartitionPosition32);
    let run = run(trap, &["label=disk", "minor=1", "rw", "silent"]);
    let failed = run.numbers("fail");
    assert!(failed.contains(&49), "{:#?}", run.failures());
}

#[test]
fn a_driver_that_dies_is_found_again() {
    for nth in [3, 20, 60, 120] {
        let run = run_on(LARGE, Bug::DiesAt(nth));
        let died = run.named("fail").filter(|check| check.detail == "driver died").count();
        assert_eq!(died, 1, "{:#?}", run.failures());
        // What failed afterwards needed what was not done, and is of the same group.
        assert!(run.failures().len() <= 10, "{:#?}", run.failures());
        assert!(run.numbers("pass").contains(&51));
    }
}

#[test]
fn a_write_that_failed_is_no_measure_for_reads() {
    let failed: Vec<_> = (25..45)
        .map(|nth| run_on(LARGE, Bug::DiesAt(nth)))
        .filter(|run| run.numbers("fail").contains(&26))
        .collect();
    // It is one request, and nothing is to be learnt from what is on the disk after it.
    assert_eq!(failed.len(), 1);
    assert_eq!(names(&failed[0]), ["write"]);
}

#[test]
fn replies_have_to_belong_to_requests() {
    let run = finds(Bug::WrongIdAt(10), &[8]);
    assert!(run.failures()[0].contains("reply to"));
    let run = finds(Bug::WrongTypeAt(10), &[8]);
    assert!(run.failures()[0].contains("reply of type 0xffffffea"));
}
