#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod backend;
mod behaviour;
mod disk;
mod image;
mod report;
mod request;

pub use backend::{Backend, serve};
pub use behaviour::{Behaviour, UsedLength};
pub use disk::Disk;
pub use image::Image;
pub use report::Report;
pub use request::Request;

/// Bytes of a sector, the unit of every position on a VirtIO disk.
pub const SECTOR_BYTES: u64 = 512;

/// The start of the line that the program prints to standard output when it accepts a connection.
pub const READY: &str = "listening on ";
