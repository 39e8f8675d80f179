//! The driver without a bug: every client passes, and the disk holds the content of the records.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use fake_minix::Process;
use guest_protocol::{Load, Outcome, Record, SectorRange, pattern};
use minix_abi::partition::SystemId;
use minix_abi::{Errno, Instant};
use minix_rt::Args;
use test_clients::client::Client;
use test_clients::{abuse, blocktest, load, shell};

use crate::served::{Bug, LARGE, Minix, ORIGINAL_SEED, SMALL};

fn all(ranges: &[RangeInclusive<u32>]) -> BTreeSet<u32> {
    ranges.iter().cloned().flatten().collect()
}

/// Runs the block test, which has to pass, and returns the numbers of passed and skipped cases.
fn block_test(minix: &Minix, words: &str) -> [BTreeSet<u32>; 2] {
    let result = minix.run(blocktest::main, words);
    assert_eq!(result, Some(Ok(())), "{:#?}", minix.failures());
    minix.verify_disk();
    [minix.numbers(Outcome::Pass), minix.numbers(Outcome::Skip)]
}

#[test]
fn block_test_reports_every_number() {
    let [passed, skipped] = block_test(&Minix::new(SMALL, Bug::None), "label=disk minor=0 rw");
    assert_eq!(passed, all(&[1..=43, 47..=47, 51..=51]));
    assert_eq!(skipped, all(&[44..=46, 48..=50]));
    let minix = Minix::new(LARGE, Bug::None);
    let [passed, _] = block_test(&minix, "label=disk minor=0 rw");
    assert_eq!(passed, all(&[1..=43, 47..=48, 50..=51]));
    let records = minix.records().into_iter();
    let sweeps = records.filter(|record| matches!(record, Record::Test { number: 50, .. }));
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
    assert!(minix.numbers(Outcome::Skip).is_superset(&all(&[31..=31, 41..=41])));
    assert!(!minix.numbers(Outcome::Pass).contains(&49));
    let result = minix.run(blocktest::main, "label=disk minor=1 rw");
    assert_eq!(result, Some(Ok(())), "{:#?}", minix.failures());
    // 4 GiB from the start of the partition.
    assert!(minix.numbers(Outcome::Pass).contains(&49));
    let inside = 64..64 + u64::from(size);
    let content = minix.content.borrow();
    let mut written = content.written.keys();
    assert!(written.all(|sector| inside.contains(sector) || before.contains(sector)));
}

#[test]
fn words_that_make_no_sense_are_refused() {
    let minix = Minix::new(SMALL, Bug::None);
    type Program = fn(&mut Client<Process>, Args) -> Result<(), Errno>;
    let cases: [(Program, &str); 20] = [
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
        (measure, "label=disk"),
        (measure, "label=disk read=1:1:4096"),
        (measure, "label=disk read=1:1:4096:1:1"),
        (measure, "label=disk read=65:1:4096:1"),
        (measure, "label=disk write=1:0:4096:1"),
        (measure, "label=disk read=1:16:4096:1"),
        (shell::main, "label= open"),
        (
            shell::main,
            "label=disk flush flush flush flush flush flush flush flush flush flush flush",
        ),
    ];
    for (program, words) in cases {
        assert_eq!(minix.run(program, words), Some(Err(Errno::EINVAL)), "{words}");
    }
    assert!(minix.numbers(Outcome::Pass).is_empty() && minix.content.borrow().written.is_empty());
    assert_eq!(minix.run(blocktest::main, "label=tape"), Some(Err(Errno::ESRCH)));
}

#[test]
fn shell_does_each_command_and_sees_wrong_content() {
    let minix = Minix::new(SMALL, Bug::None);
    minix.put_table(0, &[(SystemId::MINIX, 64, 1000), (SystemId(0x83), 2000, 500)]);
    let words = "label=disk minor=1 open partitions geometry write=10:300:0x500000000 force=400:1:0x600000000 read=0:2 \
                 digest=8:4 flush close";
    assert_eq!(minix.run(shell::main, words), Some(Ok(())), "{:?}", minix.failures());
    let range = |first, count| SectorRange { first, count };
    let mut digest = pattern::Digest::new();
    (72..76).for_each(|sector| digest.update(&minix.content.borrow().read(sector)));
    let (mut partitions, mut wrote, mut digests) = (vec![], vec![], vec![]);
    for record in minix.records() {
        match record {
            Record::Partition {
                number,
                first_byte,
                bytes,
                ..
            } => partitions.push((number, first_byte, bytes)),
            Record::Wrote { range, .. } => wrote.push(range),
            Record::Digest { range, crc64 } => digests.push((range, crc64)),
            _ => {}
        }
    }
    assert_eq!(
        partitions,
        [(0, 0, SMALL * 512), (1, 64 * 512, 512_000), (2, 1_024_000, 256_000)]
    );
    // Of 300 sectors, as many as fit into a request at a time; sectors are those of the disk.
    assert_eq!(wrote, [range(74, 256), range(330, 44), range(464, 1)]);
    assert_eq!(digests, [(range(72, 4), digest.finish())]);
    minix.verify_disk();

    let words = format!("label=disk open verify=100:300:0x7 verify=9000:9:{ORIGINAL_SEED:#x} read={SMALL}:1 close");
    assert_eq!(minix.run(shell::main, &words), Some(Err(Errno::EIO)));
    let tests = minix.records().into_iter().filter_map(|record| match record {
        Record::Test { outcome, .. } => Some(outcome),
        _ => None,
    });
    let [pass, fail] = [Outcome::Pass, Outcome::Fail];
    assert_eq!(tests.skip(9).collect::<Vec<_>>(), [pass, fail, pass, fail, pass]);
}

fn load_record(minix: &Minix) -> Load<'static> {
    let records = minix.records().into_iter().rev();
    let mut loads = records.filter_map(|record| match record {
        Record::Load(load) => Some(load),
        _ => None,
    });
    loads.next().unwrap()
}

#[test]
fn load_survives_restarts_of_the_driver() {
    for (depth, deaths) in [(1, 17), (5, 23), (16, 40)] {
        let minix = Minix::stopping(SMALL, Bug::DiesEvery(deaths), Some(2000));
        let words = format!("label=disk first=1000 count=5000 seed=0x{deaths}00000000 depth={depth}");
        assert_eq!(minix.run(load::main, &words), Some(Ok(())), "{:?}", minix.failures());
        assert!(minix.verify_disk() > 1000);
        let load = load_record(&minix);
        assert!(load.reopened > 40 && load.retried > 40, "{load:?}");
        assert!(load.reads > 200 && load.writes > 200, "{load:?}");
    }
}

#[test]
fn load_goes_on_with_a_disk_that_fails_where_errors_are_allowed() {
    let words = "label=disk first=1000 count=500 seed=0x700000000 depth=5";
    for (more, result) in [(" errors", Ok(())), (" errors told", Ok(())), ("", Err(Errno::EIO))] {
        let fails = Bug::Answers(Errno::EIO.into(), |asked, _| {
            (asked.reads() || asked.writes()) && asked.nth % 7 == 5
        });
        let minix = Minix::stopping(SMALL, fails, Some(2000));
        assert_eq!(minix.run(load::main, &format!("{words}{more}")), Some(result), "{more}");
        let load = load_record(&minix);
        assert_eq!(load.failed > 100, result.is_ok(), "{load:?}");
        assert!(load.reads > 5 && load.writes > 5, "{load:?}");
        if result.is_ok() {
            assert!(minix.verify_disk() > 100);
        }
    }
}

#[test]
fn load_tells_of_each_write_before_and_after() {
    let minix = Minix::stopping(SMALL, Bug::None, Some(500));
    let words = "label=disk first=1000 count=500 seed=0x700000000 depth=1 told";
    assert_eq!(minix.run(load::main, words), Some(Ok(())), "{:?}", minix.failures());
    let writes = load_record(&minix).writes;
    let records = minix.records();
    let is_told = |pair: &[Record<'_>]| matches!(pair, [Record::Undefined { range }, Record::Wrote { range: of, .. }] if range == of);
    let told = records.windows(2).filter(|pair| is_told(pair)).count();
    assert_eq!(told as u64, writes);
    // Ranges that are zeroed are told as writes are.
    let is_zeroed = |pair: &[Record<'_>]| matches!(pair, [Record::Undefined { range }, Record::Zeroed { range: of }] if range == of);
    let zeroed = records.windows(2).filter(|pair| is_zeroed(pair)).count();
    let sent = records
        .iter()
        .filter(|record| matches!(record, Record::Undefined { .. }));
    assert!(zeroed > 0);
    assert_eq!(sent.count(), told + zeroed);
}

#[test]
fn overlap_has_its_requests_in_flight() {
    let minix = Minix::new(SMALL, Bug::None);
    let words = "label=disk first=3000 count=7680 seed=0x123400000000 depth=3 ops=100";
    assert_eq!(minix.run(load::overlap, words), Some(Ok(())), "{:?}", minix.failures());
    assert!(minix.verify_disk() < 7680);
    assert_eq!(load_record(&minix).retried, 0);
    let last = minix.records().pop().unwrap();
    assert!(
        matches!(last, Record::Test { detail, .. } if detail.ends_with(" 3 at a time")),
        "{last:?}"
    );
}

#[test]
fn abuse_is_answered_by_the_rules_and_harms_nothing() {
    for seed in 1..4 {
        let minix = Minix::new(SMALL, Bug::None);
        let words = format!("label=disk minor=0 seed={seed} count=2000 scratch=2000:2048");
        assert_eq!(minix.run(abuse::main, &words), Some(Ok(())), "{:#?}", minix.failures());
        // Nothing was written outside of the scratch range.
        assert_eq!(minix.verify_disk(), 2048);
        let has_sent =
            |record: &Record<'_>| matches!(record, Record::Test { detail, .. } if detail.starts_with("2000 sent"));
        assert!(minix.records().iter().any(has_sent), "{seed}");
    }
}

/// The program `measure` with a clock that goes on by ten microseconds whenever it is read.
pub(crate) fn measure(client: &mut Client<Process>, args: Args) -> Result<(), Errno> {
    let now = Cell::new(0);
    let clock = || {
        now.set(now.get() + 10);
        Instant::from_micros(now.get())
    };
    test_clients::measure::program(client, args, clock)
}

#[test]
fn measure_times_each_request_and_reports() {
    let minix = Minix::new(SMALL, Bug::None);
    let words = "label=disk minor=0 read=1:1:4096:100 write=8:1:65536:20 read=64:1:4096:100 read=1:64:262144:9";
    assert_eq!(minix.run(measure, words), Some(Ok(())), "{:?}", minix.failures());
    let records = minix.records().into_iter();
    let measured: Vec<_> = records
        .filter_map(|record| match record {
            Record::Requests {
                name,
                depth,
                segments,
                bytes,
                ops,
                nanos,
                buckets,
                ..
            } => {
                assert_eq!(u64::from(buckets.iter().sum::<u32>()), ops, "{name}");
                Some((name, (depth, segments, bytes, ops), nanos))
            }
            _ => None,
        })
        .collect();
    // With one request at a time the clock is read at its start and at its end.
    assert_eq!(measured[0], ("read:1:1:4096", (1, 1, 4096, 100), [10_000; 3]));
    assert_eq!(measured[3], ("read:1:64:262144", (1, 64, 262_144, 9), [10_000; 3]));
    for ((name, case, [p50, p90, p99]), wanted) in [
        (measured[1], ("write:8:1:65536", (8, 1, 65_536, 20))),
        (measured[2], ("read:64:1:4096", (64, 1, 4096, 100))),
    ] {
        assert_eq!((name, case), wanted);
        assert!(p50 > 10_000 && p50 <= p90 && p90 <= p99, "{name}");
    }
    assert_eq!(measured.len(), 4);
    // It says of the whole disk that it may have changed.
    assert_eq!(minix.verify_disk(), SMALL as usize);
}

#[test]
fn measure_sends_requests_that_do_not_touch() {
    let minix = Minix::new(SMALL, Bug::None);
    assert_eq!(minix.run(measure, "label=disk write=32:1:4096:200"), Some(Ok(())));
    let content = minix.content.borrow();
    let blocks: BTreeSet<u64> = content.written.keys().map(|sector| sector / 8).collect();
    assert_eq!(
        blocks.len(),
        200 + 32,
        "each in a place of its own, the first ones unmeasured"
    );
    assert!(blocks.iter().all(|block| !blocks.contains(&(block + 1))));
}
