#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod line;
pub mod options;
pub mod pattern;
pub mod record;

pub use line::{Fields, LineWriter, MARK};

/// Bytes in one sector, the unit of every sector number here whatever the disk's block size is.
pub const SECTOR_BYTES: usize = 512;

/// What the monitor prints when it waits for a command. The host feeds a script one line per prompt.
pub const PROMPT: &str = "blk> ";
