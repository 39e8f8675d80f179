//! The programs as a whole, in the made-up system: that a driver by the book passes, and that others do not.

#[path = "../mfs/image.rs"]
#[allow(dead_code, reason = "what breaks file systems is for other tests")]
mod image;
#[path = "../system/mod.rs"]
mod system;

mod world;

use std::collections::BTreeMap;

use guest_protocol::{Record, pattern};
use image::Image;
use minix_abi::Errno;
use minix_abi::partition::{PartitionEntry, SystemId, write_table};
use minix_rt::Args;
use minix_rt::grant::Table;
use system::bug::Bug;
use system::disk::ORIGINAL_SEED;
use test_clients::client::Client;
use test_clients::mfs::layout::ROOT_INODE;
use world::World;

/// 16 MiB.
const SECTORS: u64 = 32_768;

/// Runs each case of a test in a process of its own, since a program's statics can be had once in the life of a process.
///
/// In the test itself it starts all of them and returns nothing; in the processes, the number of the case to run.
fn isolated(test: &str, cases: usize) -> Option<usize> {
    const CASE: &str = "TEST_CLIENTS_CASE";
    if let Ok(case) = std::env::var(CASE) {
        return Some(case.parse().unwrap());
    }
    for case in 0..cases {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(CASE, case.to_string())
            .output()
            .unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        // A test that is not there would be a success as well.
        let has_run = out.contains("1 passed");
        assert!(output.status.success() && has_run, "case {case}\n{out}{err}");
    }
    None
}

fn start<R>(world: &World, program: impl FnOnce(&mut Client<World>, Args) -> R, words: &str) -> R {
    let words: Vec<&'static str> = String::leak(words.to_owned()).split(' ').collect();
    let args = Args::new("client", Vec::leak(words));
    let mut client = Client::new(world.clone(), Box::leak(Box::new(Table::new()))).unwrap();
    let result = program(&mut client, args);
    check_records(world);
    result
}

/// The host understands every record that a program prints.
fn check_records(world: &World) {
    for line in &world.trap.0.borrow().console {
        if let Some(Err(bad)) = Record::parse(line) {
            panic!("{bad}: {line:?}");
        }
    }
}

/// Records by name, each with its fields.
fn records(world: &World, wanted: &str) -> Vec<BTreeMap<String, String>> {
    let system = world.trap.0.borrow();
    let records = system.console.iter().filter_map(|line| Record::parse(line)?.ok());
    records
        .filter_map(|record| match &serde_json::to_value(record).unwrap()[wanted] {
            serde_json::Value::Object(fields) => Some(flat(fields)),
            _ => None,
        })
        .collect()
}

/// The fields as text, those of a range beside the others.
fn flat(fields: &serde_json::Map<String, serde_json::Value>) -> BTreeMap<String, String> {
    let text = |(key, value): (&String, &serde_json::Value)| match value {
        serde_json::Value::Object(range) => flat(range),
        serde_json::Value::String(text) => BTreeMap::from([(key.clone(), text.clone())]),
        other => BTreeMap::from([(key.clone(), other.to_string())]),
    };
    fields.iter().flat_map(text).collect()
}

fn number(record: &BTreeMap<String, String>, key: &str) -> u64 {
    guest_protocol::number(&record[key]).unwrap()
}

/// What the host does: every sector holds what the records say, and where they say nothing, what it held.
fn verify_disk(world: &World) -> u64 {
    let mut wanted: BTreeMap<u64, Option<u64>> = BTreeMap::new();
    for (name, is_known) in [("undefined", false), ("wrote", true)] {
        for record in records(world, name) {
            let (first, count) = (number(&record, "first"), number(&record, "count"));
            let seed = is_known.then(|| number(&record, "seed"));
            wanted.extend((first..first + count).map(|sector| (sector, seed)));
        }
    }
    let system = world.trap.0.borrow();
    for sector in 0..SECTORS {
        let seed = wanted.get(&sector).copied().unwrap_or(Some(ORIGINAL_SEED));
        if let Some(seed) = seed {
            let content = system.driver.disk.read(sector);
            assert_eq!(
                pattern::check(seed, sector, &content),
                Ok(()),
                "sector {sector}, seed {seed:#x}"
            );
        }
    }
    wanted.len() as u64
}

fn put_table(world: &World, entries: &[(SystemId, u32, u32)]) {
    let mut table = [PartitionEntry::new(SystemId::NONE, 0, 0); 4];
    for (entry, (system, first, sectors)) in table.iter_mut().zip(entries) {
        *entry = PartitionEntry::new(*system, *first, *sectors);
    }
    let mut sector = [0; 512];
    write_table(&mut sector, &table);
    world.trap.0.borrow_mut().driver.disk.write(0, &sector);
}

fn failures(world: &World) -> Vec<String> {
    let tests = records(world, "test");
    let failed = tests.iter().filter(|test| test["outcome"] == "fail");
    let errors = records(world, "error");
    failed
        .map(|test| format!("{}: {}", test["name"], test["detail"]))
        .chain(
            errors
                .iter()
                .map(|error| format!("{}: {}", error["kind"], error["text"])),
        )
        .collect()
}

#[test]
fn a_shell_does_what_it_is_told() {
    let world = World::new(SECTORS);
    put_table(&world, &[(SystemId::MINIX, 64, 1000), (SystemId(0x83), 2000, 500)]);
    let words = "label=disk minor=1 open partitions geometry write=10:300:0x5_ read=0:2 digest=8:4 flush close";
    let words = words.replace("0x5_", "0x500000000");
    assert_eq!(
        start(&world, test_clients::shell::main, &words),
        Ok(()),
        "{:?}",
        failures(&world)
    );
    let partitions: Vec<_> = records(&world, "partition")
        .iter()
        .map(|record| ["number", "first_byte", "bytes"].map(|key| number(record, key)))
        .collect();
    assert_eq!(
        partitions,
        [[0, 0, SECTORS * 512], [1, 64 * 512, 512_000], [2, 1_024_000, 256_000]]
    );
    // Of 300 sectors, as many as fit into a request at a time; sectors are those of the disk.
    let wrote: Vec<_> = records(&world, "wrote")
        .iter()
        .map(|record| [number(record, "first"), number(record, "count")])
        .collect();
    assert_eq!(wrote, [[74, 256], [330, 44]]);
    let digest = &records(&world, "digest")[0];
    let mut expected = pattern::Digest::new();
    for sector in 72..76 {
        expected.update(&world.trap.0.borrow().driver.disk.read(sector));
    }
    assert_eq!((number(digest, "first"), number(digest, "count")), (72, 4));
    assert_eq!(number(digest, "crc64"), expected.finish());
}

#[test]
fn a_shell_sees_what_is_not_there() {
    let world = World::new(SECTORS);
    let words =
        format!("label=disk minor=0 open verify=100:300:{ORIGINAL_SEED:#x} verify=100:300:0x7 read={SECTORS}:1 close");
    assert_eq!(start(&world, test_clients::shell::main, &words), Err(Errno::EIO));
    let results: Vec<_> = records(&world, "test")
        .iter()
        .map(|test| test["outcome"].clone())
        .collect();
    assert_eq!(results, ["pass", "pass", "fail", "fail", "pass"]);
    let world = World::with_bug(SECTORS, Bug::OpenFails);
    assert_eq!(
        start(&world, test_clients::shell::main, "label=disk minor=0 open"),
        Err(Errno::EIO)
    );
    assert_eq!(
        start(&world, test_clients::shell::main, "label=disk minor=0 oepn"),
        Err(Errno::EINVAL)
    );
}

fn world_with_files(world: World) -> (World, Vec<(String, u64)>) {
    let mut image = Image::new(4096, 0, 64, 500);
    let mut contents = vec![0; 700_001];
    pattern::fill(7, 0, &mut contents);
    let sub = image.directory(ROOT_INODE, "usr");
    image.file(sub, "long", &contents);
    image.file(ROOT_INODE, "short", b"hello");
    let image = image.finish();
    put_table(&world, &[(SystemId::MINIX, 64, 8000)]);
    for (sector, bytes) in (64..).zip(image.bytes.chunks(512)) {
        let content = bytes.try_into().unwrap();
        world.trap.0.borrow_mut().driver.disk.write(sector, content);
    }
    let crc64 = |bytes: &[u8]| {
        let mut digest = pattern::Digest::new();
        digest.update(bytes);
        digest.finish()
    };
    let files = vec![
        ("/usr/long".to_owned(), crc64(&contents)),
        ("/short".to_owned(), crc64(b"hello")),
    ];
    (world, files)
}

fn found_files(world: &World) -> Vec<(String, u64)> {
    records(world, "file")
        .iter()
        .map(|file| (file["path"].clone(), number(file, "crc64")))
        .collect()
}

#[test]
fn files_are_read_through_the_driver() {
    if isolated("files_are_read_through_the_driver", 1).is_none() {
        return;
    }
    let (world, files) = world_with_files(World::new(SECTORS));
    assert_eq!(
        start(&world, test_clients::mfs::main, "label=disk minor=1"),
        Ok(()),
        "{:?}",
        failures(&world)
    );
    assert_eq!(found_files(&world), files);
}

#[test]
fn files_are_read_across_restarts_of_the_driver() {
    if isolated("files_are_read_across_restarts_of_the_driver", 1).is_none() {
        return;
    }
    let (world, files) = world_with_files(World::new(SECTORS).kill_every(7));
    assert_eq!(
        start(&world, test_clients::mfs::main, "label=disk minor=1"),
        Ok(()),
        "{:?}",
        failures(&world)
    );
    assert_eq!(found_files(&world), files);
}

#[test]
fn no_file_system_is_an_error() {
    if isolated("no_file_system_is_an_error", 1).is_none() {
        return;
    }
    let world = World::new(SECTORS);
    assert_eq!(
        start(&world, test_clients::mfs::main, "label=disk minor=0"),
        Err(Errno::EIO)
    );
    assert_eq!(failures(&world).len(), 1);
}

#[test]
fn a_load_survives_the_driver() {
    if isolated("a_load_survives_the_driver", 1).is_none() {
        return;
    }
    let world = World::new(SECTORS).kill_every(23).stop_after(2000);
    let words = "label=disk first=1000 count=5000 seed=0x123400000000 depth=5";
    assert_eq!(
        start(&world, test_clients::load::main, words),
        Ok(()),
        "{:?}",
        failures(&world)
    );
    assert!(verify_disk(&world) > 2000);
    let load = records(&world, "load").pop().unwrap();
    assert!(
        number(&load, "reopened") > 50 && number(&load, "retried") > 50,
        "{load:?}"
    );
    assert!(
        number(&load, "reads") > 200 && number(&load, "writes") > 200,
        "{load:?}"
    );
}

#[test]
fn a_load_sees_a_driver_that_writes_to_the_wrong_place() {
    if isolated("a_load_sees_a_driver_that_writes_to_the_wrong_place", 1).is_none() {
        return;
    }
    let world = World::with_bug(SECTORS, Bug::ThreeSectorsAreFour).stop_after(3000);
    let words = "label=disk first=1000 count=500 seed=0x123400000000 depth=5";
    assert_eq!(start(&world, test_clients::load::main, words), Err(Errno::EIO));
    let failures = failures(&world);
    assert!(
        failures.iter().any(|failure| failure.contains("does not hold")),
        "{failures:?}"
    );
}

#[test]
fn a_load_sees_a_driver_that_answers_somebody_else() {
    if isolated("a_load_sees_a_driver_that_answers_somebody_else", 1).is_none() {
        return;
    }
    let world = World::with_bug(SECTORS, Bug::WrongIdAt(80));
    let words = "label=disk first=1000 count=500 seed=0x123400000000 depth=1 ops=300";
    // The right reply never comes, so that the load would wait for ever.
    let waits = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        start(&world, test_clients::load::main, words)
    }));
    assert!(waits.is_err());
}

#[test]
fn an_overlap_has_its_requests_out() {
    if isolated("an_overlap_has_its_requests_out", 1).is_none() {
        return;
    }
    let world = World::new(SECTORS);
    let words = "label=disk first=3000 count=7680 seed=0x123400000000 depth=3 ops=100";
    assert_eq!(
        start(&world, test_clients::overlap::main, words),
        Ok(()),
        "{:?}",
        failures(&world)
    );
    assert!(verify_disk(&world) < 7680);
    let test = records(&world, "test").pop().unwrap();
    assert!(test["detail"].ends_with(" 3 at a time"), "{test:?}");
}

#[test]
fn words_that_make_no_sense_are_refused() {
    let world = World::new(SECTORS);
    for words in [
        "label=disk",
        "first=1 count=2",
        "label=disk count=0",
        "label=disk count=1 depth=17",
        "label=disk count=1 x=1",
    ] {
        assert_eq!(
            start(&world, test_clients::load::main, words),
            Err(Errno::EINVAL),
            "{words}"
        );
    }
    assert_eq!(start(&world, test_clients::mfs::main, "minor=1"), Err(Errno::EINVAL));
    for words in ["minor=0", "label=disk scratch=5", "label=disk scratch=32760:100"] {
        assert_eq!(
            start(&world, test_clients::abuse::main, words),
            Err(Errno::EINVAL),
            "{words}"
        );
    }
}

#[test]
fn abuse_finds_mistakes() {
    // Not every mistake is one that this is about, but these are.
    let bugs = [
        (Bug::NoElementsIsSuccess, "gather-0"),
        (Bug::BadVectorIsEmpty, "no-grant-gather"),
        (Bug::RevokedVectorIsEmpty, "revoked-grant-gather"),
        (Bug::EmptyElementIsFine, "empty-element-gather"),
        (Bug::LengthsIn32Bits, "element-of-2-to-the-63-gather"),
        (Bug::TotalIsNotChecked, "sum-beyond-63-bits-gather"),
        (Bug::OddLengthRoundsUp, "read-of-511"),
        (Bug::OddPositionIsRounded, "read-at-1"),
        (Bug::AccessIsIgnored, "wrong-access-read"),
        (Bug::RevokedIsIo, "revoked-grant-read"),
        (Bug::NegativeIsAnError, "minus-512-read"),
        (Bug::EndIsAnError, "clipped-read"),
        (Bug::NoEnd, "clipped-read"),
        (Bug::AtMost64K, "512-kib-read"),
        (Bug::SilentlyHalf, "512-kib-read"),
        (Bug::CountsNothing, "random-messages"),
        (Bug::CloseDoesNotCount, "random-messages"),
        (Bug::WrongIdAt(1200), "random-messages"),
        (Bug::WrongTypeAt(1200), "random-messages"),
        (Bug::RefusesEverything, "random-messages"),
        (Bug::StrangeFlagsAreInvalid, "random-messages"),
        (Bug::AccessIsIgnored, "random-messages"),
        (Bug::EndIsAnError, "random-messages"),
    ];
    let Some(case) = isolated("abuse_finds_mistakes", bugs.len()) else {
        return;
    };
    let (bug, name) = bugs[case];
    let world = World::with_bug(SECTORS, bug);
    let words = "label=disk minor=0 seed=5 count=2000 scratch=2000:2048";
    assert_eq!(start(&world, test_clients::abuse::main, words), Err(Errno::EIO));
    let failures = failures(&world);
    assert!(
        failures.iter().any(|failure| failure.starts_with(name)),
        "{bug:?}: {failures:#?}"
    );
}

#[test]
fn abuse_is_answered_by_the_book() {
    if isolated("abuse_is_answered_by_the_book", 1).is_none() {
        return;
    }
    let world = World::new(SECTORS);
    let words = "label=disk minor=0 seed=5 count=2000 scratch=2000:2048";
    assert_eq!(start(&world, test_clients::abuse::main, words), Err(Errno::EIO));
    // The made-up driver has no device that minds odd addresses, and adds lengths up before it looks at the sum.
    let lenient = ["read-to-", "write-from-", "sum-beyond-64-bits-"];
    let failures = failures(&world);
    let serious = failures
        .iter()
        .find(|failure| !lenient.iter().any(|name| failure.starts_with(name)));
    let errors = records(&world, "error");
    assert_eq!((serious, failures.len()), (None, 10), "{errors:#?}");
    assert_eq!(verify_disk(&world), 2048);
    let storm = &records(&world, "test");
    let storm = storm.iter().find(|test| test["name"] == "random-messages").unwrap();
    assert!(storm["detail"].starts_with("2000 sent"), "{storm:?}");
}
