//! What a program tells: lines for people, and records for the host.
//!
//! Each line leaves in one call of the kernel, so lines of several programs never get mixed up.

use core::fmt::{self, Write};

pub use guest_protocol::Outcome;
use guest_protocol::{LINE_BYTES, Record};
use minix_abi::kernel_call::MAX_DIAG_BYTES;
use minix_rt::{Ipc, kernel};

const _: () = assert!(LINE_BYTES <= MAX_DIAG_BYTES);

/// Bytes of the longest text in a record. JSON may need two bytes for one.
const TEXT_BYTES: usize = 160;

/// What became of the checks so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Passed.
    pub passed: u32,
    /// Failed.
    pub failed: u32,
    /// Left out.
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

/// A line that is put together. What does not fit is dropped, so that a line always gets out.
#[derive(Debug)]
pub struct Line {
    bytes: [u8; LINE_BYTES],
    used: usize,
}

impl Line {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            bytes: [0; LINE_BYTES],
            used: 0,
        }
    }

    /// What there is.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    /// Ends the line, in its last byte if it is full.
    fn end(&mut self) {
        let last = self.used.min(LINE_BYTES - 1);
        self.bytes[last] = b'\n';
        self.used = last + 1;
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.used..];
        let fits = text.floor_char_boundary(room.len());
        room[..fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.used += fits;
        Ok(())
    }
}

/// Prints a line for people.
pub fn say(ipc: &mut impl Ipc, text: fmt::Arguments<'_>) {
    let mut line = Line::new();
    // A line takes everything.
    let _ = line.write_fmt(text);
    line.end();
    kernel::diag(ipc, line.as_bytes());
}

/// Prints a record for the host.
pub fn record(ipc: &mut impl Ipc, record: &Record<'_>) {
    kernel::diag(ipc, record.line(&mut [0; LINE_BYTES]));
}

/// The start of a text, as much as fits beside the other fields of a record.
pub fn text(text: &dyn fmt::Display) -> heapless::String<TEXT_BYTES> {
    struct Cut(heapless::String<TEXT_BYTES>);
    impl Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            text.chars().try_for_each(|c| self.0.push(c).map_err(|_| fmt::Error))
        }
    }
    let mut cut = Cut(heapless::String::new());
    // An error says that there was more text.
    let _ = write!(cut, "{text}");
    cut.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_still_ends() {
        let mut line = Line::new();
        for _ in 0..LINE_BYTES {
            line.write_str("ä").unwrap();
        }
        line.end();
        assert_eq!(line.as_bytes().len(), LINE_BYTES);
        assert_eq!(line.as_bytes().last(), Some(&b'\n'));
    }

    #[test]
    fn outcomes_are_counted() {
        let mut tally = Tally::default();
        tally.count(Outcome::of(true));
        tally.count(Outcome::of(false));
        tally.count(Outcome::Skip);
        tally.count(Outcome::Skip);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (1, 1, 2));
    }
}
