#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

#[macro_use]
mod fmt;

mod bring_up;
mod chain_token;
mod class;
mod configuration;
mod control;
mod counters;
mod disk;
mod dump;
mod error;
#[cfg(feature = "queues")]
mod joined;
mod limits;
mod options;
mod queue;
mod queue_parts;
#[cfg(feature = "queues")]
mod queue_reset;
#[cfg(feature = "queues")]
mod queue_set;
mod rejected;
mod request;
#[cfg(feature = "queues")]
mod reset_device;
#[cfg(feature = "queues")]
mod scheduled_queue;
#[cfg(feature = "queues")]
mod several_queues;
#[cfg_attr(not(feature = "queues"), path = "no_shared_config.rs")]
mod shared_config;
mod slot_memory;
mod split;
mod split_requests;
#[cfg(feature = "embedded-io")]
pub mod stream;
mod transfer;
mod vectors;
mod whole_error;
mod work;
mod zone_request;
mod zone_table;

pub use bring_up::{DeviceQueue, StartError};
pub use class::Class;
pub use control::{ConfigChange, DeviceControl, Interrupt, Liveness, WriteCache, WriteCacheError};
pub use counters::{DiskCounters, InterruptCounters, OperationCounters, QueueCounters};
pub use disk::Disk;
pub use dump::Dump;
pub use error::{InitError, IoError, QueueResetError, SubmitError};
#[cfg(feature = "queues")]
pub use joined::{Joined, Tag};
pub use limits::Limits;
pub use options::{DiskOptions, SUPPORTED_BLK, SUPPORTED_COMMON};
pub use queue::RequestQueue;
#[cfg(feature = "queues")]
pub use queue_reset::{QueueNotReset, QueueReset};
#[cfg(feature = "queues")]
pub use queue_set::{QueueLock, QueueSet};
pub use request::{Answer, BatchStopped, Completion, Operation, OperationKind, Rejected, Request, SectorRange};
#[cfg(feature = "queues")]
pub use reset_device::{ForeignQueue, MissingQueues, ResetDevice};
#[cfg(feature = "queues")]
pub use scheduled_queue::{QueueBelow, ScheduledQueue, SchedulerOptions};
pub use vectors::Vectors;
pub use virtqueue::{Chains, DeviceFault, QueueState};
pub use whole_error::Error;
pub use zone_table::{TrackedZone, ZoneTable};

// What the driver is built for. Without a feature, the code for it is left out.
const ZONED: bool = cfg!(feature = "zoned");
const SPLIT: bool = cfg!(feature = "split");
const RANGES: bool = cfg!(feature = "ranges");
const IDENTIFY: bool = cfg!(feature = "identify");
const QUEUES: bool = cfg!(feature = "queues");
const LIFETIME: bool = cfg!(feature = "lifetime");

/// Whether reads and writes in one piece go a quick way of their own. A build for size leaves it out.
const FRAMES: bool = cfg!(not(optimize_for_size));

/// The protocol's own types, as far as they appear in this crate's interface.
pub use virtio_blk_proto as proto;
