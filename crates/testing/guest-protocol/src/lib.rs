#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

// Not on a bare target, whatever the features: guests have no heap.
#[cfg(all(feature = "stream", not(target_os = "none")))]
extern crate alloc;

mod call;
pub mod histogram;
pub mod pattern;
mod record;
#[cfg(all(feature = "stream", not(target_os = "none")))]
pub mod stream;
mod text;
pub mod witness;

pub use call::Call;
pub use record::{Ask, Bus, Case, Device, End, Fate, LINE_BYTES, Load, MARK, Outcome, Record, Since};
pub use text::{BadRange, SectorRange, number};

/// Bytes in one sector, the unit of every sector number here. It does not depend on the disk's block size.
pub const SECTOR_BYTES: usize = 512;

/// The code of a SYS_DIAGCTL by which a client marks the start or the end of a measurement of the process that the request
/// names. With a text it is the end, and the text its name. Kernels other than the test kernel do not know it (`EINVAL`).
pub const MARK_CODE: i32 = 0x4D41;

/// Instructions that the program `measure` has counted before all others, since their number is known.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    /// Names of the measurements without traps and with them.
    pub names: [&'static str; 2],
    /// Traps.
    pub traps: u64,
    /// Instructions for each trap: itself, and those that count.
    pub instructions_per_trap: u64,
}

/// See [`Calibration`].
pub const CALIBRATION: Calibration = Calibration {
    names: ["calibration:0", "calibration:1000"],
    traps: 1000,
    instructions_per_trap: 3,
};
