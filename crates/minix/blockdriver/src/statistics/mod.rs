//! How long requests take, and what watching the device came to: what `iostat` shows elsewhere.

mod histogram;
mod latencies;

pub use histogram::{BUCKETS, Histogram};
pub use latencies::{Kind, Latencies};

/// What the watches came to by which a service looks for completions before it waits for an interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watches {
    /// Those that found a completion.
    pub hit: u64,
    /// Those that found none until they were over.
    pub missed: u64,
    /// Microseconds of those that hit.
    pub hit_micros: u64,
    /// Microseconds of those that missed.
    pub missed_micros: u64,
}

/// What came of the guesses by which a service waits for another request before it watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guesses {
    /// A request came.
    pub right: u64,
    /// None came before a completion.
    pub wrong: u64,
}
