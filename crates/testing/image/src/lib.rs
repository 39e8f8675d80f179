#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

pub mod options;

pub use guest_protocol::{SECTOR_BYTES, pattern};

/// What the monitor prints when it waits for a command. The host feeds a script one line per prompt.
pub const PROMPT: &str = "blk> ";
