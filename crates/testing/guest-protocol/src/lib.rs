#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod line;
pub mod pattern;
mod text;

pub use line::{Fields, LineWriter, MARK};
pub use text::{BadRange, SectorRange, number};

/// Bytes in one sector, the unit of every sector number here whatever the disk's block size is.
pub const SECTOR_BYTES: usize = 512;
