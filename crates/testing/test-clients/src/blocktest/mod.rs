//! The block test: the checks of MINIX's own test of block drivers, by their numbers.
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
//! A number can have several checks, each with a name. Every write is recorded for the host, which compares the
//! disk afterwards.

mod large;
mod limits;
mod partitions;
mod sweep;
mod tester;
mod vectors;
mod verdict;

use minix_abi::{Errno, Status};
use minix_rt::{Args, Ipc};

use crate::args::{self, Target};
use crate::buffer::Kind;
use crate::client::Client;
use tester::Tester;
use verdict::{Expect, Fault};

/// The largest `max`: buffers have to fit into one piece of contiguous memory, with noise around them.
const LARGEST_MAX: u64 = (1 << 20) - 8192;

#[derive(Clone, Copy, Debug, Default)]
struct Settings {
    target: Target,
    write: bool,
    /// Bytes of the largest transfer to try, apart from those that are always tried.
    max: usize,
    kind: Kind,
}

/// Runs the test that the words `label= minor= rw max= nocontig` ask for.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) if a check failed or a word makes no sense; what the system says if there is no driver or no memory.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let mut settings = Settings {
        max: 128 << 10,
        ..Settings::default()
    };
    let target = args::parse(client, args, |word| {
        match word.key {
            "rw" => settings.write = word.switch().map(|()| true)?,
            "max" => settings.max = word.number_up_to(LARGEST_MAX)? as usize,
            "nocontig" => settings.kind = word.switch().map(|()| Kind::Scattered)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    settings.target = target;
    let tested = Tester::new(client, settings).map(|mut tester| run(&mut tester));
    if let Err(errno) = tested {
        client.error("start", "refused", &errno);
        return Err(errno);
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

impl<I: Ipc> Tester<'_, I> {
    /// Group A: the minor is opened, placed and counted. Without that there is nothing to test.
    fn opening(&mut self) -> bool {
        self.group('A', "opening");
        let minor = self.settings.target.minor;
        let result = self.open(minor);
        if !self.check(1, "open", result) {
            return false;
        }
        let place = self.partition(minor);
        let is_placed = self.check(2, "place", place);
        self.place = place.unwrap_or_default();
        if self.place.bytes < 2 * self.settings.max as u64 {
            self.session.client.say(format_args!(
                "  the partition of {} bytes is small for transfers of {}",
                self.place.bytes, self.settings.max
            ));
        }
        self.counts(3, "open_count", 1);
        let result = self.open(minor);
        self.check(4, "second_open", result);
        self.counts(4, "open_count_after_second_open", 2);
        let result = self.close(minor);
        self.check(5, "close", result);
        self.counts(5, "open_count_after_close", 1);
        is_placed
    }

    /// Group L.
    fn closing(&mut self) {
        self.group('L', "closing");
        let result = self.close(self.settings.target.minor);
        self.check(51, "close", result);
    }

    /// Whether the drive is open so often. This client has to be the only one.
    fn counts(&mut self, number: u32, name: &str, expected: u32) {
        let result = self.open_count(expected);
        self.check(number, name, result);
    }

    fn open_count(&mut self, expected: u32) -> Result<Status, Fault> {
        let (status, count) = self.session.open_count(self.settings.target.minor)?;
        let status = Expect::OK.judge(Ok(status))?;
        // A negative count becomes a large one.
        Fault::number("open count", u64::from(count as u32), u64::from(expected))?;
        Ok(status)
    }
}
