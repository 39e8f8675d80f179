#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod contender;
pub mod counts;
mod other;
mod ours;
pub mod rates;
mod sample;

pub use contender::{Choice, Contender, start};
pub use other::Other;
pub use ours::Ours;
pub use sample::{Paired, Round, Sample, median, paired};

/// Bytes of a request.
pub const REQUEST_BYTES: usize = 4096;

/// Descriptors of each queue: room for 128 requests of three.
pub const QUEUE_SIZE: u16 = 512;

/// The most requests in flight.
pub const MAX_DEPTH: usize = 128;
