//! The errors of each operation. Each variant says what the caller can do.

use virtio_blk_proto::zoned::{ZoneRequestError, ZonedModel};
use virtio_blk_proto::{Sector, StatusError};
use virtio_core::{
    ConfigError, DeviceGone, DeviceStatus, DeviceType, DmaError, HandshakeError, NotLive, QueueSetupError,
};
use virtqueue::{CreateError, DeviceFault};

/// Why a device could not be brought up. It uses no memory of this attempt, and was marked as failed, except where a
/// variant says otherwise. Only after [`Stuck`](Self::Stuck) is memory lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum InitError {
    /// Not a block device. Nothing was done to it.
    #[error("device type {0} is not a block device")]
    NotBlock(DeviceType),
    /// There is no device any more, at whatever step that was seen. It uses no memory.
    #[error("the device is gone")]
    Gone,
    /// The common initialisation failed. After [`HandshakeError::ResetTimedOut`] the device is not marked as failed, and
    /// may still be using the memory of an earlier driver.
    #[error(transparent)]
    Handshake(HandshakeError),
    /// The configuration never stood still.
    #[error("the device configuration kept changing while it was read")]
    ConfigUnstable,
    /// The capacity cannot be expressed in bytes: the device or its configuration makes no sense.
    #[error("a capacity of {sectors} sectors makes no sense")]
    BadCapacity {
        /// Sectors the device claims to have.
        sectors: u64,
    },
    /// A zoned disk that cannot be used like any other, and ZONED was [not asked for](crate::DiskOptions::with_zones)
    /// (`BLK-D-08`, `BLK-N-33`).
    #[error("a host-managed zoned disk, and ZONED was not asked for")]
    NeedsZones,
    /// ZONED was asked for, and the zones of the device make no sense: the model is unknown, or a zone is not made of whole
    /// blocks and whole units of writing.
    #[error("zones of {zone_sectors} sectors, model {}, make no sense", u8::from(*model))]
    BadZones {
        /// The zoned model.
        model: ZonedModel,
        /// Sectors of a zone.
        zone_sectors: u32,
    },
    /// The device has no request queue.
    #[error("the device has no request queue")]
    NoQueue,
    /// The queue cannot hold one request: header, one data segment and status need three descriptors.
    #[error("a queue of {size} descriptors is too small for one request, which needs 3")]
    QueueTooSmall {
        /// Descriptors of the queue.
        size: u16,
    },
    /// The platform has no memory for rings and headers.
    #[error(transparent)]
    Dma(#[from] DmaError),
    /// The queue could not be laid out in the memory the platform gave.
    #[error(transparent)]
    Ring(#[from] CreateError),
    /// The device did not take the queue. It was reset before the memory was released.
    #[error(transparent)]
    Queue(QueueSetupError),
    /// The device did not go live: it asked for a reset, failed, or took DRIVER_OK back when that was set. It was reset
    /// before the memory was released. One that does it again and again is beyond help.
    #[error("the device did not go live (status {:#x})", status.bits())]
    NotLive {
        /// The status after DRIVER_OK was set.
        status: DeviceStatus,
    },
    /// The device failed after its queue was enabled, and then did not finish its reset. It may still be using
    /// the rings, which are leaked. Nothing else was given to it.
    #[error("the device went wrong (status {:#x}) and does not finish its reset; its rings are lost", status.bits())]
    Stuck {
        /// The status before the reset.
        status: DeviceStatus,
    },
}

impl From<DeviceGone> for InitError {
    fn from(_: DeviceGone) -> Self {
        Self::Gone
    }
}

impl From<HandshakeError> for InitError {
    #[cold]
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Gone => Self::Gone,
            error => Self::Handshake(error),
        }
    }
}

impl From<ConfigError> for InitError {
    #[cold]
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Unstable => Self::ConfigUnstable,
            ConfigError::Gone => Self::Gone,
        }
    }
}

impl From<QueueSetupError> for InitError {
    #[cold]
    fn from(error: QueueSetupError) -> Self {
        match error {
            QueueSetupError::Gone => Self::Gone,
            error => Self::Queue(error),
        }
    }
}

impl From<NotLive> for InitError {
    #[cold]
    fn from(error: NotLive) -> Self {
        match error {
            NotLive::Status(status) => Self::NotLive { status },
            NotLive::Gone => Self::Gone,
        }
    }
}

/// Why a request was not taken. Nothing of it has reached the device, and it comes back whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SubmitError {
    /// No room now: submit it again after a completion.
    #[error("the queue is full")]
    QueueFull,
    /// It reaches past the end of the disk.
    #[error("past the end of the disk, sector {capacity}")]
    OutOfRange {
        /// The end of the disk.
        capacity: Sector,
    },
    /// Position or length is not a multiple of the block size.
    #[error("not a multiple of the block size, {block_bytes} bytes")]
    Misaligned {
        /// Bytes of a block.
        block_bytes: u32,
    },
    /// The disk cannot be written.
    #[error("the disk is read-only")]
    ReadOnly,
    /// The device does not do that.
    #[error("not supported by the device")]
    Unsupported,
    /// Nothing to transfer.
    #[error("nothing to transfer")]
    Empty,
    /// It takes more than one device request, or has empty pieces, and the driver is built without the feature `split`: submit it
    /// in smaller parts.
    #[error("more than the device takes at once")]
    TooLarge,
    /// One block of the data lies in more pieces than the device takes in one request: copy it together.
    #[error("a block lies in more pieces than the device takes")]
    TooScattered,
    /// A segment wraps around the address space.
    #[error("a segment wraps around the address space")]
    BadSegment,
    /// A [reset](crate::DeviceControl::reset_queue) of the queue is not over: [`QueueResetError`] says whether to reset it once more or
    /// to shut the device down.
    #[error("the queue was reset and is not in use")]
    Stopped,
    /// It breaks a rule for zones.
    #[error(transparent)]
    Zone(#[from] ZoneRequestError),
    /// The device broke the rules: shut it down and start it again. Or it is [gone](DeviceFault::Gone): shut it down.
    #[error("the device needs a reset: {0}")]
    Broken(DeviceFault),
}

/// Why a queue was not reset, or is not in use again. The queue comes back in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum QueueResetError {
    /// RING_RESET was not accepted: the transport or the device does not have it, or it was not
    /// [asked for](crate::DiskOptions::ring_reset). Nothing was done.
    #[error("the device cannot reset a queue")]
    Unsupported,
    /// The queue is one of another device, or of an earlier start. Nothing was done to it.
    #[error("the queue does not belong to this start of the device")]
    Foreign,
    /// The device did not finish the reset of the queue, now or earlier. It may still be using it, so no request came back, and the
    /// queue takes no others, which the device may never carry out; shut the device down.
    #[error("the device did not reset the queue: {0}")]
    NotReset(QueueSetupError),
    /// The queue was reset, its requests came back, and the device did not take it into use again. It takes no requests: reset it
    /// once more, or shut the device down.
    #[error("the device did not take the queue into use again: {0}")]
    NotEnabled(QueueSetupError),
}

/// How a request that was taken failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum IoError {
    /// The device says so.
    #[error(transparent)]
    Device(#[from] StatusError),
    /// The device was shut down before the request was done, or its configuration changed so that the rest of the
    /// request could not be sent.
    #[error("the device was shut down or changed before the request was done")]
    Aborted,
    /// The device reports an impossible position for the appended data. The data may be anywhere in the zone.
    #[error("appended at sector {0}, which is not in the zone")]
    BadAppendSector(Sector),
}
