#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

// `LEG-D-10`, `LEG-D-20`, `LEG-D-22`: on a legacy interface a driver has the byte order of its CPU.
#[cfg(target_endian = "big")]
compile_error!(
    "rings, requests and the configuration of a legacy device have the byte order of the CPU, which here is taken for little-endian"
);

#[macro_use]
mod fmt;

mod buffer;
mod config;
mod dma;
mod either;
mod features;
pub mod fence;
mod gone;
pub mod init;
mod interrupt;
mod linear;
mod mapped;
mod queue;
mod segment;
mod static_dma;
mod status;
mod transport;
mod wait;

pub use buffer::{DmaBuffer, DmaSegments, DmaSlice, RawSegments};
pub use config::{ConfigError, ConfigReader, read_consistent};
pub use dma::{DeviceAddr, Dma, DmaError, DmaRegion};
pub use either::{EitherNotifier, EitherTransport};
pub use features::Features;
pub use gone::{DeviceGone, ResetError};
pub use init::{FeatureChoice, HandshakeError, Init, NotLive};
pub use interrupt::{InterruptCauses, InterruptSource, InterruptVector};
pub use linear::LinearMap;
pub use mapped::{Direction, DmaMap, Mapped};
pub use queue::{CpuAddresses, QueueIndex, QueueSetup, QueueSetupError, QueueSize};
pub use segment::Segment;
pub use static_dma::StaticDma;
pub use status::DeviceStatus;
pub use transport::{DeviceType, Interface, QueueNotifier, Transport};
pub use wait::{PollLimit, Wait};
