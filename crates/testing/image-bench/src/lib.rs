#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

pub mod options;

/// The number of the disk that each contender has, in the order of addresses.
pub mod disks {
    /// This driver.
    pub const OURS: usize = 0;
    /// All disks of the machine.
    pub const COUNT: usize = 1;
}
