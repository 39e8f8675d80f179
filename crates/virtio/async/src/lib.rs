#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

mod adapters;
mod block_io;
mod byte_range;
mod disk;
mod operations;
mod slots;
mod state;
mod transfer;
mod turn;
mod wake;

#[cfg(feature = "embedded-io-async")]
pub use adapters::embedded_io_async::ByteCursor;
pub use block_io::AsyncBlockIo;
pub use byte_range::ByteRange;
pub use disk::{AsyncDisk, BounceDisk};
pub use slots::SlotId;

/// The locks that a disk can have, and the trait of others: [`mutex::ScopedRawMutex`].
pub use mutex;

/// Sectors, ranges of them, and the error of all operations, as `virtio-blk` has them.
///
/// [`Error::needs_restart`] asks for [`AsyncDisk::stop`] and [`AsyncDisk::resume`], [`Error::BufferWaiting`] for
/// [`AsyncDisk::take_late_buffer`]. [`Error::TimedOut`] does not come from this crate: a time-out is a timer of the caller.
pub use virtio_blk::{Error, SectorRange, proto::Sector};

/// Why a stream does not go on.
#[cfg(feature = "embedded-io-async")]
pub use virtio_blk::stream::StreamError;
