#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

#[macro_use]
mod fmt;

mod buffer;
mod config;
mod dma;
mod features;
pub mod fence;
pub mod init;
mod queue;
mod segment;
mod status;
mod transport;

pub use buffer::{DmaBuffer, DmaSegments, DmaSlice, RawSegments};
pub use config::{ConfigReader, ConfigUnstable, read_consistent};
pub use dma::{DeviceAddr, Dma, DmaError, DmaRegion};
pub use features::Features;
pub use init::{FeatureChoice, HandshakeError, Init, NotLive};
pub use queue::{InterruptVector, QueueIndex, QueueSetup, QueueSetupError, QueueSize};
pub use segment::Segment;
pub use status::DeviceStatus;
pub use transport::{DeviceType, Interface, InterruptCauses, PollLimit, QueueNotifier, ResetTimeout, Transport};
