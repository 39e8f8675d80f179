//! What is measured.

use core::fmt;

use guest_protocol::SECTOR_BYTES;
use minix_abi::bdev::MAX_ELEMENTS;

use crate::args::{BadWord, Word};
use crate::bdev::Direction;

/// Most requests at a time.
pub(super) const MAX_DEPTH: usize = 64;
/// Most bytes of a request.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// Most requests of a measurement.
pub(super) const MAX_OPS: usize = 1 << 14;

/// Requests that are all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measurement {
    pub(super) direction: Direction,
    /// Requests at a time.
    pub(super) depth: usize,
    /// Pieces of memory of each. With one, it is no vector.
    pub(super) segments: usize,
    /// Bytes of each.
    pub(super) bytes: usize,
    /// How many.
    pub(super) ops: usize,
}

impl Measurement {
    /// Reads `DEPTH:SEGMENTS:BYTES:OPS`.
    pub(super) fn parse(direction: Direction, word: &Word) -> Result<Self, BadWord> {
        let bad = || word.bad("is not DEPTH:SEGMENTS:BYTES:OPS");
        let mut numbers = word.string()?.split(':').map(guest_protocol::number);
        let mut next = |most: usize| {
            let number = numbers.next().flatten().and_then(|number| usize::try_from(number).ok());
            let number = number.ok_or_else(bad)?;
            let fits = (1..=most).contains(&number);
            fits.then_some(number)
                .ok_or(word.bad("has a number that is out of range"))
        };
        let measurement = Self {
            direction,
            depth: next(MAX_DEPTH)?,
            segments: next(MAX_ELEMENTS)?,
            bytes: next(MAX_BYTES)?,
            ops: next(MAX_OPS)?,
        };
        if numbers.next().is_some() {
            return Err(bad());
        }
        if !measurement.bytes.is_multiple_of(measurement.segments * SECTOR_BYTES) {
            return Err(word.bad("has segments that are no whole sectors"));
        }
        Ok(measurement)
    }

    /// Requests that come first and are not measured.
    pub(super) fn warm_up(&self) -> usize {
        self.depth.max(self.ops / 8)
    }

    /// `read` or `write`.
    pub(super) const fn operation(&self) -> &'static str {
        match self.direction {
            Direction::Read => "read",
            Direction::Write => "write",
        }
    }
}

/// The name of the measurement in records.
impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operation, depth) = (self.operation(), self.depth);
        write!(f, "{operation}:{depth}:{}:{}", self.segments, self.bytes)
    }
}
