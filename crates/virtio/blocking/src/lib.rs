#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

mod adapters;
mod block_io;
mod byte_range;
mod disk;
mod engine;
mod error;
mod hook;
mod transfer;

#[cfg(feature = "embedded-io")]
pub use adapters::embedded_io::ByteCursor;
#[cfg(feature = "embedded-sdmmc")]
pub use adapters::embedded_sdmmc::SharedRange;
pub use block_io::BlockIo;
pub use byte_range::ByteRange;
pub use disk::{BlockingDisk, Stopped};
pub use engine::{BounceDisk, Completions, Place};
pub use error::BufferError;
pub use hook::WaitHook;

/// Sectors, ranges of them, and the error of all operations, as `virtio-blk` has them.
///
/// [`Error::TimedOut`] says that the hook has given up. What the device still has comes back to this crate when the device is done; the next
/// operation waits for it first. [`Error::needs_restart`] asks for [`BlockingDisk::stop`], and [`Error::BufferWaiting`] for
/// [`BlockingDisk::take_late_buffer`].
pub use virtio_blk::{Error, SectorRange, proto::Sector};

/// Why a stream does not go on.
#[cfg(feature = "embedded-io")]
pub use virtio_blk::stream::StreamError;
