//! The self-test: small tests that each pass, fail, or do not apply to this disk.
//!
//! A failing test stops none of the others. Each write is reported as it is done, so that the host can look at the disk
//! afterwards and judge for itself; that a write changes no other sector, for one, only the host sees.

mod device;
mod endurance;
mod in_flight;
mod ranges;
mod refusals;
mod transfers;

use alloc::format;
use alloc::string::String;
use core::error::Error;
use core::fmt;

use board_qemu_virt::println;
use guest_protocol::{Outcome, Record};
use image_blk::SECTOR_BYTES;
use image_blk::options::SectorRange;

use super::scratch::Scratch;
use super::session::{Failure, Session};
use bare_image::memory::DmaMemory;
use bare_image::report::record;

/// The tools of a test.
pub(crate) struct Context<'s> {
    pub(crate) session: &'s mut Session,
    pub(crate) scratch: &'s mut Scratch,
    /// The ranges that the host wants the digests of.
    pub(crate) digests: &'s [SectorRange],
}

impl Context<'_> {
    /// Skips what needs so many whole blocks on a disk that has fewer.
    fn needs_blocks(&mut self, blocks: u64) -> Result<(), Failure> {
        let limits = self.session.limits();
        if limits.capacity.get() / limits.block_sectors() < blocks {
            skip!("the disk has fewer than {blocks} blocks");
        }
        Ok(())
    }

    /// Whole blocks of scratch with at least so many bytes.
    fn area(&mut self, bytes: usize) -> Result<SectorRange, Failure> {
        let sectors = bytes.div_ceil(SECTOR_BYTES) as u64;
        let area = self.scratch.take(sectors).filter(|area| area.count > 0);
        area.ok_or_else(|| Skip("the region that may be written is too small".into()).into())
    }
}

/// The failure of a test that does not apply to this disk.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Skip {}

/// Ends a test that found something wrong.
macro_rules! fail {
    ($($arg:tt)*) => { return Err(::alloc::format!($($arg)*).into()) };
}
/// Ends a test that does not apply.
macro_rules! skip {
    ($($arg:tt)*) => { return Err($crate::image::selftest::Skip(::alloc::format!($($arg)*)).into()) };
}
use fail;
pub(crate) use skip;

/// A pass has a detail for people.
pub(crate) type TestResult = Result<String, Failure>;

/// How often the device is started again before the rest of the tests is given up. Each hang costs seconds.
const MAX_RESTARTS: u32 = 2;

type Test = fn(&mut Context<'_>) -> TestResult;

/// All tests in the order they run in: reads come first, so that they see the content that the host prepared.
const TESTS: [(&str, Test); 21] = [
    ("digests", transfers::digests),
    ("read-odd-address", |context| transfers::read(context, transfers::ODD)),
    ("read-vector", |context| transfers::read(context, transfers::VECTOR)),
    ("read-split", |context| transfers::read(context, transfers::SPLIT)),
    ("read-many-in-flight", in_flight::reads),
    ("refusals", refusals::refusals),
    ("write-plain", |context| transfers::write(context, transfers::PLAIN)),
    ("write-odd-address", |context| transfers::write(context, transfers::ODD)),
    ("write-vector", |context| transfers::write(context, transfers::VECTOR)),
    ("write-split", |context| transfers::write(context, transfers::SPLIT)),
    ("write-zeroes", |context| ranges::write_zeroes(context, false)),
    ("write-zeroes-unmap", |context| ranges::write_zeroes(context, true)),
    ("discard", ranges::discard),
    ("secure-erase", ranges::secure_erase),
    ("indices-start-over", endurance::indices_start_over),
    // This one takes the rest of the scratch region.
    ("write-many-in-flight", in_flight::writes),
    ("id", device::id),
    ("lifetime", device::lifetime),
    ("write-cache", device::write_cache),
    ("flush", device::flush),
    ("completions", device::completions),
];

/// How many tests ended in which way.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
}

/// Runs all tests, or only the one that reads what the host wants to have read.
pub(crate) fn run(context: &mut Context<'_>, only_digests: bool, tally: &mut Tally) {
    println!("self-test:");
    defmt::info!("self-test begins");
    let mut restarts = 0;
    let tests = if only_digests { &TESTS[..1] } else { &TESTS[..] };
    for &(name, test) in tests {
        if restarts > MAX_RESTARTS {
            tally.add(name, Err("not run: the device hangs again and again".into()));
            continue;
        }
        let result = test(context);
        tally.add(name, result);
        restarts += u32::from(context.session.recover());
    }
}

/// Everything that was allocated for a device has come back.
pub(crate) fn all_memory_is_back() -> TestResult {
    match DmaMemory::bytes_in_use() {
        0 => Ok("all memory back".into()),
        left => fail!("{left} bytes of DMA memory did not come back"),
    }
}

impl Tally {
    /// Shuts the disk down, which is the last test.
    pub(crate) fn shut_down(&mut self, session: &mut Session) {
        self.add("shut-down", device::shut_down(session));
    }

    pub(crate) fn add(&mut self, name: &str, result: TestResult) {
        let (outcome, word, detail) = match result {
            Ok(detail) => (Outcome::Pass, "pass", detail),
            Err(failure) if failure.is::<Skip>() => (Outcome::Skip, "skip", format!("{failure}")),
            Err(failure) => (Outcome::Fail, "FAIL", format!("{failure}")),
        };
        match outcome {
            Outcome::Pass => self.passed += 1,
            Outcome::Skip => self.skipped += 1,
            Outcome::Fail => self.failed += 1,
        }
        println!("  {word}  {name:<20} {detail}");
        defmt::debug!("test {=str}: {=str}", name, word);
        record(Record::Test {
            group: "",
            number: 0,
            name,
            outcome,
            detail: &detail,
        });
    }
}
