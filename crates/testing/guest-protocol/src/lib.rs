#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod call;
pub mod pattern;
mod record;
mod text;

pub use call::Call;
pub use record::{Case, Device, End, LINE_BYTES, Load, MARK, Outcome, Record, Since};
pub use text::{BadRange, SectorRange, number};

/// Bytes in one sector, the unit of every sector number here. It does not depend on the disk's block size.
pub const SECTOR_BYTES: usize = 512;

/// The code of a SYS_DIAGCTL by which a client marks the start or the end of a measurement of the process that the request
/// names. With a text it is the end, and the text its name. Kernels other than the test kernel do not know it (`EINVAL`).
pub const MARK_CODE: i32 = 0x4D41;
