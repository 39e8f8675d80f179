//! The block test: what MINIX's own test of block drivers checks, by its numbers.
//!
//! | number | group | what |
//! |---|---|---|
//! | 1 to 5 | A | opening and counting |
//! | 6 to 10 | B | vectors that are wrong |
//! | 11 to 22 | C | elements that are wrong, for reading |
//! | 23 to 25 | D | the same for writing |
//! | 26 to 29 | E | 64 elements of 4096 bytes |
//! | 30 | F | 64 elements, as large as `max` allows |
//! | 31 to 40 | G | partitions that are set, and their ends |
//! | 41 to 43 | H | partitions from a table, and their ends |
//! | 44 | I | elements smaller than a sector: not for disks |
//! | 45, 46 | J | positions between sectors: not for disks |
//! | 47 to 50 | K | sweeps, at places whose numbers are long as well |
//! | 51 | L | closing |
//!
//! A number can have several checks, each with a name. Everything that is written is told to the host, so that it can look
//! at the disk afterwards.

mod large;
mod limits;
mod opening;
mod partitions;
mod settings;
mod sweep;
mod tester;
mod vectors;
mod verdict;

pub use settings::{LARGEST_MAX, Settings};

use minix_abi::Errno;
use minix_rt::{Args, Ipc};

use crate::client::Client;
use tester::Tester;

/// Runs the test that the arguments ask for.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) if a check failed or the arguments make no sense; what the system says if there is no driver or
/// no memory.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let settings = match Settings::parse(args) {
        Ok(settings) => settings,
        Err(bad) => {
            client.error("arguments", "bad-word", &bad);
            return Err(Errno::EINVAL);
        }
    };
    match Tester::new(client, settings) {
        Ok(mut tester) => run(&mut tester),
        Err(errno) => {
            client.error("start", "refused", &errno);
            return Err(errno);
        }
    }
    let tally = client.tally();
    client.say(format_args!(
        "blocktest: {} passed, {} failed, {} skipped",
        tally.passed, tally.failed, tally.skipped
    ));
    if tally.failed == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}

fn run<I: Ipc>(tester: &mut Tester<'_, I>) {
    if !tester.opening() {
        return;
    }
    tester.bad_vectors();
    tester.bad_reads();
    tester.bad_writes();
    tester.large_common();
    tester.large_max();
    tester.virtual_partitions();
    tester.real_partitions();
    tester.group('I', "small elements");
    tester.skip(44, "small_elements", &"elements are sectors");
    tester.group('J', "positions between sectors");
    tester.skip(45, "unaligned_reads", &"positions are those of sectors");
    tester.skip(46, "unaligned_vectors", &"positions are those of sectors");
    tester.sweeps();
    tester.closing();
}
