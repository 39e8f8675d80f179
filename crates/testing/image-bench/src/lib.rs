#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

pub mod choice;
pub mod options;

/// The number of the disk that each contender has, in the order of addresses.
pub mod disks {
    /// This driver, with a choice of chains for each request.
    pub const OURS: usize = 0;
    /// This driver with direct chains only.
    pub const OURS_DIRECT: usize = 1;
    /// This driver with indirect chains only.
    pub const OURS_INDIRECT: usize = 2;
    /// `virtio-drivers` by its calls that wait; the device offers no indirect chains.
    pub const RIVAL_BLOCKING: usize = 3;
    /// `virtio-drivers` by its other calls; the device offers no indirect chains.
    pub const RIVAL_DIRECT: usize = 4;
    /// `virtio-drivers`; the device offers indirect chains, which it then uses.
    pub const RIVAL_INDIRECT: usize = 5;
    /// The raw ring.
    pub const RAW: usize = 6;
    /// In the pass `counts`: the path of MINIX.
    pub const MINIX: usize = 7;
    /// In the pass `rates`: this driver with lists of segments.
    pub const OURS_LISTS: usize = 7;
    /// All disks of the machine.
    pub const COUNT: usize = 8;

    /// Descriptors of the queue of the raw ring, which has direct chains only.
    pub const RAW_QUEUE: usize = 1024;
}
