#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod counters;
mod device;
mod driver;
mod engine;
mod events;
mod kernel;
mod line;
mod options;
mod partition;
mod protocol;
mod service;
pub mod statistics;
mod transfer;

pub use counters::DriverCounters;
pub use device::{
    BOUNCE_BYTES, BlockDevice, BounceBuffer, Broken, Data, DeviceError, DeviceRequest, Direction, DiskInfo, Geometry,
    Listen, Operations, RangeOperation, Refusal, SECTOR_BYTES, Tag, TransferLimits,
};
pub use driver::BlockDriver;
pub use kernel::Kernel;
#[doc(hidden)]
pub use line::log_line;
pub use minix_abi::Instant;
pub use minix_abi::kernel_call::GrantedRange;
pub use options::DriverOptions;
pub use partition::scan::{Scan, ScanRead};
pub use partition::table::{DEVICES, DeviceTable, Extent, UnknownMinor, WHOLE_DISK};
pub use service::{Event, LOOK_EVERY, Service, System, Wait, WatchOptions};
pub use transfer::together::Together;
