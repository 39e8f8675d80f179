#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;

/// The word of the command line for the trial of a slot.
pub const SLOT: &str = "slot";
/// Has the second hart panic.
pub const PANIC: &str = "panic";
/// Has the second hart use more stack than it has.
pub const OVERFLOW: &str = "overflow";

/// How often all harts are started.
pub const ROUNDS: usize = 2;
/// How many lines each hart prints in a round.
pub const LINES: usize = 100;

/// A line that a hart prints while the others print, too. Its parts are formatted one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The place of the hart among the harts.
    pub place: usize,
    /// The number of the line.
    pub number: usize,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, number } = *self;
        // With the registers for floating-point numbers of the hart.
        write!(f, "line {number:03} of place {place:02}: {:.3}", 0.5 * place as f64)
    }
}
