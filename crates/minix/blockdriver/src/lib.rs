#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[macro_use]
mod fmt;

mod barrier;
mod bounds;
mod completion;
mod counters;
mod device;
mod dispatch;
mod driver;
mod exclusive;
mod flights;
mod geometry;
mod gpt;
mod ioctl;
mod jobs;
mod kernel;
mod mbr;
mod opening;
mod opens;
mod options;
mod pace;
mod partitions;
mod ranges;
mod recovery;
mod reply;
mod scan;
mod schedule;
mod shrink;
mod staged;
mod staging;
mod submit;
mod time;
mod trace;
mod transfer;
mod write_back;

pub use counters::Counters;
pub use device::{
    BlockDevice, Broken, Data, DeviceError, DeviceRequest, DiskInfo, Geometry, Refusal, SECTOR_BYTES, STAGING_BYTES,
    StagingBlock, Tag,
};
pub use driver::BlockDriver;
pub use geometry::{extent_of, part_geom};
pub use kernel::Kernel;
pub use minix_abi::kernel_call::GrantedRange;
pub use opens::{NotOpen, OpenError, Opens, REMEMBERED_MINORS};
pub use options::Options;
pub use partitions::{DEVICES, DeviceTable, Extent, UnknownMinor, WHOLE_DISK};
pub use scan::{Scan, ScanRead};
pub use time::Micros;
pub use trace::{BUFFER_ENTRIES_LIMIT, BufferChange, Trace, TraceTicket};
