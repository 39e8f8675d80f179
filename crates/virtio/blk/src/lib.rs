#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

#[macro_use]
mod fmt;

mod bring_up;
mod chain_token;
mod configuration;
mod control;
mod counters;
mod disk;
mod dump;
mod error;
mod limits;
mod options;
mod queue;
mod request;
mod slot_memory;
mod split;
mod split_requests;
mod transfer;
mod work;
mod zone_request;
mod zone_table;

pub use bring_up::{DeviceQueue, Halves, StartError};
pub use control::{ConfigChange, DeviceControl, Liveness, WriteCache, WriteCacheError};
pub use counters::{DiskCounters, InterruptCounters, OperationCounters, QueueCounters};
pub use disk::{Disk, Interrupt};
pub use dump::Dump;
pub use error::{InitError, IoError, SubmitError};
pub use limits::Limits;
pub use options::{DiskOptions, SUPPORTED_BLK, SUPPORTED_COMMON};
pub use queue::RequestQueue;
pub use request::{Answer, BatchStopped, Completion, Operation, OperationKind, Rejected, Request, SectorRange};
pub use virtqueue::{Chains, DeviceFault, QueueState};
pub use zone_table::{TrackedZone, ZoneTable};

// What the driver is built for. Without a feature, the code for it is left out.
const ZONED: bool = cfg!(feature = "zoned");
const SPLIT: bool = cfg!(feature = "split");
const RANGES: bool = cfg!(feature = "ranges");
const IDENTIFY: bool = cfg!(feature = "identify");
const LIFETIME: bool = cfg!(feature = "lifetime");

/// Whether reads and writes in one piece go a quick way of their own. A build for size leaves it out.
const FRAMES: bool = cfg!(not(optimize_for_size));

/// The protocol's own types, as far as they appear in this crate's interface.
pub use virtio_blk_proto as proto;
