#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

pub mod choice;
pub mod options;

/// The number of the disk that each contender has, in the order of addresses.
///
/// The first window of QEMU's machine is slower than the others, whichever driver uses it. So it is for one that is compared with no
/// other driver.
pub mod disks {
    /// In the pass `counts`: the path of MINIX.
    pub const MINIX: usize = 0;
    /// In the pass `rates`: this driver with lists of segments.
    pub const OURS_LISTS: usize = 0;
    /// This driver, with a choice of chains for each request.
    pub const OURS: usize = 1;
    /// This driver with direct chains only.
    pub const OURS_DIRECT: usize = 2;
    /// This driver with indirect chains only.
    pub const OURS_INDIRECT: usize = 3;
    /// `virtio-drivers` by its calls that wait; the device offers no indirect chains.
    pub const RIVAL_BLOCKING: usize = 4;
    /// `virtio-drivers` by its other calls; the device offers no indirect chains.
    pub const RIVAL_DIRECT: usize = 5;
    /// `virtio-drivers`; the device offers indirect chains, which it then uses.
    pub const RIVAL_INDIRECT: usize = 6;
    /// The raw ring.
    pub const RAW: usize = 7;
    /// All disks of the machine.
    pub const COUNT: usize = 8;

    /// Descriptors of the queue of the raw ring, which has direct chains only.
    pub const RAW_QUEUE: usize = 1024;
}
