#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

pub mod histogram;
pub mod pattern;
mod record;
mod text;

pub use record::{Case, Device, End, LINE_BYTES, Load, MARK, Outcome, Record, Since};
pub use text::{BadRange, SectorRange, number};

/// Bytes in one sector, the unit of every sector number here. It does not depend on the disk's block size.
pub const SECTOR_BYTES: usize = 512;
