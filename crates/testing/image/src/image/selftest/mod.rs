//! The self-test: small tests that each say whether they passed, failed, or do not apply to this disk.
//!
//! A failing test stops none of the others. What is written is reported as it is written, so that the host can look at
//! the disk afterwards and judge for itself.

mod cache;
mod content;
mod digests;
mod identity;
mod in_flight;
mod ranges;
mod refusals;
mod shapes;
mod wrap_up;
mod writes;

use board_qemu_virt::println;
use guest_protocol::{Outcome, Record};
use image_blk::options::Options;

use super::describe::Partitions;
use super::report::{Text, record, text};
use super::scratch::Scratch;
use super::session::{Failure, Session};

/// How many tests ended in which way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
}

/// What a test has to work with.
pub(crate) struct Context<'s> {
    pub(crate) session: &'s mut Session,
    pub(crate) options: &'s Options,
    pub(crate) partitions: &'s Partitions,
    pub(crate) scratch: &'s mut Scratch,
}

/// Why a test did not pass.
enum Miss {
    /// It does not apply here.
    Skip(Text),
    /// It found something wrong.
    Fail(Text),
}

/// A pass carries what a person should know about it.
type TestResult = Result<Text, Miss>;

impl From<Failure> for Miss {
    fn from(failure: Failure) -> Self {
        Miss::Fail(text!("{failure}"))
    }
}

/// Ends a test that found something wrong.
macro_rules! fail {
    ($($arg:tt)*) => { return Err($crate::image::selftest::Miss::Fail($crate::image::report::text!($($arg)*))) };
}
/// Ends a test that does not apply.
macro_rules! skip {
    ($($arg:tt)*) => { return Err($crate::image::selftest::Miss::Skip($crate::image::report::text!($($arg)*))) };
}
use {fail, skip};

/// How often the device is started again before the rest of the tests is given up. Each hang costs seconds.
const MAX_RESTARTS: u32 = 2;

type Test = fn(&mut Context<'_>) -> TestResult;

/// All tests in the order they run in: what only reads comes first, so that it sees what the host wrote.
const TESTS: [(&str, Test); 24] = [
    ("id-string", identity::id_string),
    ("digests", digests::digests),
    ("host-content", content::host_content),
    ("unaligned-read", shapes::unaligned_read),
    ("vectored-read", shapes::vectored_read),
    ("split-read", shapes::split_read),
    ("many-in-flight-read", in_flight::reads),
    ("out-of-range-refused", refusals::out_of_range),
    ("misaligned-refused", refusals::misaligned),
    ("read-only-refused", refusals::read_only),
    ("unsupported-refused", refusals::unsupported),
    ("write-flush-read", writes::write_flush_read),
    ("neighbours-untouched", writes::neighbours),
    ("unaligned-write", shapes::unaligned_write),
    ("vectored-write", shapes::vectored_write),
    ("write-zeroes", ranges::write_zeroes),
    ("write-zeroes-unmap", ranges::write_zeroes_unmap),
    ("discard", ranges::discard),
    // These two take what is left of the scratch region.
    ("split-write", shapes::split_write),
    ("many-in-flight-write", in_flight::writes),
    ("lifetime", identity::lifetime),
    ("write-cache", cache::switch),
    ("flush", cache::flush),
    ("completions", wrap_up::completions),
];

/// Runs all tests.
pub(crate) fn run(context: &mut Context<'_>, tally: &mut Tally) {
    println!("self-test:");
    defmt::info!("self-test begins, {=usize} tests", TESTS.len());
    let mut restarts = 0;
    for (name, test) in TESTS {
        if restarts > MAX_RESTARTS {
            tell(
                tally,
                name,
                &Err(Miss::Fail(text!("not run: the device hangs again and again"))),
            );
            continue;
        }
        defmt::debug!("test {=str}", name);
        let result = test(context);
        tell(tally, name, &result);
        restarts += u32::from(context.session.recover());
    }
}

/// Shuts the disk down, which is the last test.
pub(crate) fn shut_down(session: &mut Session, tally: &mut Tally) {
    // A test that failed may have left buffers behind; only without one is missing memory the driver's doing.
    let judge_memory = tally.failed == 0;
    tell(tally, "shut-down", &wrap_up::shut_down(session, judge_memory));
}

/// Measurements that came to no end, told like a test that failed: a failure without a name is hard to find.
pub(crate) fn measurement_failed(tally: &mut Tally, why: &dyn core::fmt::Display) {
    tell(tally, "measurements", &Err(Miss::Fail(text!("{why}"))));
}

fn tell(tally: &mut Tally, name: &str, result: &TestResult) {
    let (outcome, word, detail) = match result {
        Ok(detail) => (Outcome::Pass, "pass", detail),
        Err(Miss::Skip(detail)) => (Outcome::Skip, "skip", detail),
        Err(Miss::Fail(detail)) => (Outcome::Fail, "FAIL", detail),
    };
    match outcome {
        Outcome::Pass => tally.passed += 1,
        Outcome::Skip => tally.skipped += 1,
        Outcome::Fail => tally.failed += 1,
    }
    println!("  {word}  {name:<21} {detail}");
    match outcome {
        Outcome::Fail => defmt::error!("test {=str} failed: {=str}", name, detail.as_str()),
        _ => defmt::debug!("test {=str}: {=str}", name, word),
    }
    record(Record::Test {
        group: "",
        number: 0,
        name,
        outcome,
        detail,
    });
}
