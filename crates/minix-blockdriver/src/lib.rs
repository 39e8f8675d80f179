#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod device;
mod kernel;
mod time;

pub use device::{
    BlockDevice, Broken, DeviceError, DeviceRequest, DiskInfo, Geometry, Refusal, SECTOR_BYTES, STAGING_BYTES,
    StagingBlock, Tag,
};
pub use kernel::Kernel;
pub use time::Micros;
