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
pub use adapters::embedded_io::{ByteCursor, CursorError};
#[cfg(feature = "embedded-sdmmc")]
pub use adapters::embedded_sdmmc::SharedRange;
pub use block_io::BlockIo;
pub use byte_range::ByteRange;
pub use disk::{BlockingDisk, Stopped};
pub use engine::{BounceDisk, Completions, Place};
pub use error::{BufferError, Error};
pub use hook::WaitHook;

/// Sectors and ranges of them, as `virtio-blk` has them.
pub use virtio_blk::{SectorRange, proto::Sector};
