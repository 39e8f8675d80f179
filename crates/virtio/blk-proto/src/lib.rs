#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[macro_use]
mod fmt;

mod config;
mod features;
mod identity;
mod request;
mod sector;
mod status;
pub mod zoned;

pub use config::{
    BlkConfig, ConfigAccess, ConfigSnapshot, ConfigSpace, FIELDS, Field, Geometry, RangeLimits, Topology,
    WRITEBACK_OFFSET, ZeroesLimits, read_capacity,
};
pub use features::BlkFeatures;
pub use identity::{DeviceIdString, Lifetime, ReservedBlocks, Wear};
pub use request::{RangeFlags, RangeSegment, RequestHeader, RequestType};
pub use sector::{SECTOR_BYTES, Sector};
pub use status::{Status, StatusError};
