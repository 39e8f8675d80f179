//! The output of a program: lines for people, and records for the host.
//!
//! Each line leaves in one call of the kernel, so lines of several programs never get mixed up.

use core::fmt::{self, Write};

pub use guest_protocol::Outcome;
use guest_protocol::{LINE_BYTES, Record};
use minix_abi::kernel_call::MAX_DIAG_BYTES;
use minix_rt::{Ipc, kernel};

const _: () = assert!(LINE_BYTES <= MAX_DIAG_BYTES);

/// Bytes of the longest text in a record. JSON may need two bytes for one.
pub const TEXT_BYTES: usize = 160;

/// The checks so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u32,
    pub failed: u32,
    pub skipped: u32,
}

impl Tally {
    /// Counts one more.
    pub const fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Pass => self.passed += 1,
            Outcome::Fail => self.failed += 1,
            Outcome::Skip => self.skipped += 1,
        }
    }
}

/// Prints a line for people.
pub fn say(ipc: &mut impl Ipc, line: fmt::Arguments<'_>) {
    let line = text::<{ LINE_BYTES - 1 }>(&line);
    let mut ended = heapless::String::<LINE_BYTES>::new();
    // It is one byte longer.
    let _ = writeln!(ended, "{line}");
    kernel::diag(ipc, ended.as_bytes());
}

/// Prints a record for the host.
pub fn record(ipc: &mut impl Ipc, record: &Record<'_>) {
    kernel::diag(ipc, record.line(&mut [0; LINE_BYTES]));
}

/// The start of a text, as much as fits.
pub fn text<const N: usize>(text: &dyn fmt::Display) -> heapless::String<N> {
    struct Cut<const N: usize>(heapless::String<N>);
    impl<const N: usize> Write for Cut<N> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            text.chars().try_for_each(|c| self.0.push(c).map_err(|_| fmt::Error))
        }
    }
    let mut cut = Cut(heapless::String::new());
    // An error says that there was more text.
    let _ = write!(cut, "{text}");
    cut.0
}
