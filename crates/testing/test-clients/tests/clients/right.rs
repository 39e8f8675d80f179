//! The driver as it is: every client passes, and the disk holds what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use guest_protocol::pattern;
use minix_abi::Errno;
use minix_abi::partition::SystemId;
use test_clients::{abuse, blocktest, load, shell};

use crate::served::{Bug, LARGE, Minix, ORIGINAL_SEED, SMALL, number};

fn numbers(minix: &Minix, result: &str) -> BTreeSet<u32> {
    let checks = minix.records("check").into_iter();
    let wanted = checks.filter(|check| check["result"] == result);
    wanted.map(|check| check["number"].parse().unwrap()).collect()
}

fn all(ranges: &[RangeInclusive<u32>]) -> BTreeSet<u32> {
    ranges.iter().cloned().flatten().collect()
}

/// Runs the block test, which has to pass, and returns the numbers that it passed and skipped.
fn block_test(minix: &Minix, words: &str) -> [BTreeSet<u32>; 2] {
    let result = minix.run(blocktest::main, words);
    assert_eq!(result, Some(Ok(())), "{:#?}", minix.failures());
    minix.verify_disk();
    [numbers(minix, "pass"), numbers(minix, "skip")]
}

#[test]
fn block_test_reports_every_number() {
    let [passed, skipped] = block_test(&Minix::new(SMALL, Bug::None), "label=disk minor=0 rw");
    assert_eq!(passed, all(&[1..=43, 47..=47, 51..=51]));
    assert_eq!(skipped, all(&[44..=46, 48..=50]));
    let minix = Minix::new(LARGE, Bug::None);
    let [passed, _] = block_test(&minix, "label=disk minor=0 rw silent");
    assert_eq!(passed, all(&[1..=43, 47..=48, 50..=51]));
    let sweeps = minix
        .records("check")
        .into_iter()
        .filter(|check| check["number"] == "50");
    assert_eq!(sweeps.count(), 8, "two addresses with four checks each");
}

#[test]
fn block_test_takes_other_memory_and_sizes() {
    for (words, number_30) in [
        ("max=524288 nocontig", true),
        ("max=16384", false),
        ("max=262144", false),
    ] {
        let words = format!("label=disk minor=0 rw {words}");
        let [passed, _] = block_test(&Minix::new(SMALL, Bug::None), &words);
        assert_eq!(passed.contains(&30), number_30, "{words}");
    }
}

#[test]
fn block_test_without_rw_writes_nothing() {
    let minix = Minix::new(LARGE, Bug::None);
    let [passed, skipped] = block_test(&minix, "label=disk minor=0");
    assert!(minix.content.borrow().written.is_empty());
    assert!(skipped.is_superset(&all(&[23..=26, 28..=28, 37..=37, 41..=41])));
    assert!(passed.is_superset(&all(&[27..=27, 29..=36, 47..=48, 50..=50])));
}

#[test]
fn block_test_stays_inside_its_partition() {
    let size = (1 << 28) + 4096;
    let minix = Minix::new(LARGE, Bug::None);
    minix.put_table(0, &[(SystemId::MINIX, 64, size)]);
    minix.put_table(64, &[(SystemId::MINIX, 65, 65000)]);
    let before: BTreeSet<_> = minix.content.borrow().written.keys().copied().collect();
    // A sub-partition cannot be divided.
    let result = minix.run(blocktest::main, "label=disk minor=128 rw");
    assert_eq!(result, Some(Ok(())), "{:#?}", minix.failures());
    assert!(numbers(&minix, "skip").is_superset(&all(&[31..=31, 41..=41])));
    assert!(!numbers(&minix, "pass").contains(&49));
    let result = minix.run(blocktest::main, "label=disk minor=1 rw");
    assert_eq!(result, Some(Ok(())), "{:#?}", minix.failures());
    // 4 GiB from the start of the partition.
    assert!(numbers(&minix, "pass").contains(&49));
    let inside = 64..64 + u64::from(size);
    let content = minix.content.borrow();
    let mut written = content.written.keys();
    assert!(written.all(|sector| inside.contains(sector) || before.contains(sector)));
}

#[test]
fn words_that_make_no_sense_are_refused() {
    let minix = Minix::new(SMALL, Bug::None);
    type Program = fn(&mut test_clients::client::Client<fake_minix::Process>, minix_rt::Args) -> Result<(), Errno>;
    let cases: [(Program, &str); 14] = [
        (blocktest::main, "label=disk minor=0 speed=fast"),
        (blocktest::main, "minor=0"),
        (blocktest::main, "label=disk minor=300"),
        (blocktest::main, "label=disk rw=1"),
        (load::main, "label=disk"),
        (load::main, "first=1 count=2"),
        (load::main, "label=disk count=0"),
        (load::main, "label=disk count=1 depth=17"),
        (abuse::main, "label=disk scratch=5"),
        (abuse::main, "label=disk scratch=32760:100"),
        (shell::main, "label=disk opne"),
        (shell::main, "label=disk write=1:2:x"),
        (shell::main, "label= open"),
        (
            shell::main,
            "label=disk flush flush flush flush flush flush flush flush flush flush flush",
        ),
    ];
    for (program, words) in cases {
        assert_eq!(minix.run(program, words), Some(Err(Errno::EINVAL)), "{words}");
    }
    assert!(minix.records("check").is_empty() && minix.content.borrow().written.is_empty());
    assert_eq!(minix.run(blocktest::main, "label=tape"), Some(Err(Errno::ESRCH)));
}

#[test]
fn shell_does_each_command_and_sees_wrong_content() {
    let minix = Minix::new(SMALL, Bug::None);
    minix.put_table(0, &[(SystemId::MINIX, 64, 1000), (SystemId(0x83), 2000, 500)]);
    let words = "label=disk minor=1 open partitions geometry write=10:300:0x500000000 force=400:1:0x600000000 read=0:2 \
                 digest=8:4 flush close";
    assert_eq!(minix.run(shell::main, words), Some(Ok(())), "{:?}", minix.failures());
    let fields = |name, keys: &[&str]| -> Vec<Vec<u64>> {
        let records = minix.records(name).into_iter();
        records
            .map(|record| keys.iter().map(|key| number(&record, key)).collect())
            .collect()
    };
    let disk = vec![0, 0, SMALL * 512];
    let partitions = [disk, vec![1, 64 * 512, 512_000], vec![2, 1_024_000, 256_000]];
    assert_eq!(fields("partition", &["minor", "base", "bytes"]), partitions);
    // Of 300 sectors, as many as fit into a request at a time; sectors are those of the disk.
    assert_eq!(fields("wrote", &["first", "count"]), [[74, 256], [330, 44], [464, 1]]);
    let mut expected = pattern::Digest::new();
    (72..76).for_each(|sector| expected.update(&minix.content.borrow().read(sector)));
    assert_eq!(
        fields("digest", &["first", "count", "crc64"]),
        [[72, 4, expected.finish()]]
    );
    minix.verify_disk();

    let words = format!("label=disk open verify=100:300:0x7 verify=9000:9:{ORIGINAL_SEED:#x} read={SMALL}:1 close");
    assert_eq!(minix.run(shell::main, &words), Some(Err(Errno::EIO)));
    let tests = minix.records("test").into_iter().skip(9);
    let results: Vec<_> = tests.map(|test| test["result"].clone()).collect();
    assert_eq!(results, ["pass", "fail", "pass", "fail", "pass"]);
}

fn last(minix: &Minix, name: &str) -> BTreeMap<String, String> {
    minix.records(name).pop().unwrap()
}

#[test]
fn load_survives_restarts_of_the_driver() {
    for (depth, deaths) in [(1, 17), (5, 23), (16, 40)] {
        let minix = Minix::new(SMALL, Bug::DiesEvery(deaths)).stop_after(Bug::DiesEvery(deaths), 2000);
        let words = format!("label=disk first=1000 count=5000 seed=0x{deaths}00000000 depth={depth}");
        assert_eq!(minix.run(load::main, &words), Some(Ok(())), "{:?}", minix.failures());
        assert!(minix.verify_disk() > 1000);
        let load = last(&minix, "load");
        for (key, least) in [("reopened", 40), ("retried", 40), ("reads", 200), ("writes", 200)] {
            assert!(number(&load, key) > least, "{load:?}");
        }
    }
}

#[test]
fn overlap_has_its_requests_in_flight() {
    let minix = Minix::new(SMALL, Bug::None);
    let words = "label=disk first=3000 count=7680 seed=0x123400000000 depth=3 ops=100";
    assert_eq!(minix.run(load::overlap, words), Some(Ok(())), "{:?}", minix.failures());
    assert!(minix.verify_disk() < 7680);
    let overlap = last(&minix, "overlap");
    assert_eq!(
        (number(&overlap, "outstanding"), number(&overlap, "max_in_flight")),
        (3, 3)
    );
    assert_eq!(number(&last(&minix, "load"), "retried"), 0);
}

#[test]
fn abuse_is_answered_by_the_rules_and_harms_nothing() {
    for seed in 1..6 {
        let minix = Minix::new(SMALL, Bug::None);
        let words = format!("label=disk minor=0 seed={seed} count=2000 scratch=2000:2048");
        assert_eq!(minix.run(abuse::main, &words), Some(Ok(())), "{:#?}", minix.failures());
        // Nothing was written outside of the scratch range.
        assert_eq!(minix.verify_disk(), 2048);
        let tests = minix.records("test");
        let storm = tests.iter().find(|test| test["name"] == "random-messages").unwrap();
        assert!(storm["detail"].starts_with("2000_sent"), "{storm:?}");
    }
}
