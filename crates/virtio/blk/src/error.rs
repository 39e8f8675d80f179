//! What can go wrong, by operation; each variant says what the caller can do.

use core::fmt;

use virtio_blk_proto::zoned::{ZoneRequestError, ZonedModel};
use virtio_blk_proto::{Sector, StatusError};
use virtio_core::{ConfigUnstable, DeviceStatus, DeviceType, DmaError, HandshakeError, QueueSetupError};
use virtqueue::{CreateError, DeviceFault};

/// Why a device could not be brought up. It uses no memory of this attempt, and was marked as failed, except where a
/// variant says otherwise. Only after [`Stuck`](Self::Stuck) is memory lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum InitError {
    /// Not a block device. Nothing was done to it.
    NotBlock(DeviceType),
    /// The common initialisation failed. After [`HandshakeError::ResetTimeout`] the device is not marked as failed, and
    /// may still be using the memory of whoever drove it before.
    Handshake(HandshakeError),
    /// The configuration never stood still.
    ConfigUnstable,
    /// The capacity cannot be expressed in bytes: the device or its configuration makes no sense.
    BadCapacity {
        /// Sectors the device claims to have.
        sectors: u64,
    },
    /// A zoned disk that cannot be used like any other, and ZONED was [not asked for](crate::Options::with_zones)
    /// (`BLK-D-08`, `BLK-N-33`).
    NeedsZones,
    /// ZONED was asked for, and the zones of the device make no sense: the model is unknown, or a zone is not made of whole
    /// blocks and whole units of writing.
    BadZones {
        /// The zoned model.
        model: ZonedModel,
        /// Sectors of a zone.
        zone_sectors: u32,
    },
    /// The device has no request queue.
    NoQueue,
    /// The queue cannot hold one request: header, one data segment and status need three descriptors.
    QueueTooSmall {
        /// Descriptors of the queue.
        size: u16,
    },
    /// The platform has no memory for rings and headers.
    Dma(DmaError),
    /// The queue could not be laid out in the memory the platform gave.
    Ring(CreateError),
    /// The device did not take the queue. It was reset before the memory was released.
    Queue(QueueSetupError),
    /// The device did not go live: it asked for a reset, failed, or took DRIVER_OK back when that was set. It was reset
    /// before the memory was released. One that does it again and again is beyond help.
    NotLive {
        /// The status after DRIVER_OK was set.
        status: DeviceStatus,
    },
    /// The device went wrong after it had been told of its queue, and then did not finish its reset. It may still be using
    /// the rings, which are leaked. Nothing else was given to it.
    Stuck {
        /// The status before the reset.
        status: DeviceStatus,
    },
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBlock(kind) => write!(f, "device type {kind} is not a block device"),
            Self::Handshake(error) => error.fmt(f),
            Self::ConfigUnstable => ConfigUnstable.fmt(f),
            Self::BadCapacity { sectors } => write!(f, "a capacity of {sectors} sectors makes no sense"),
            Self::NeedsZones => f.write_str("a host-managed zoned disk, and ZONED was not asked for"),
            Self::BadZones { model, zone_sectors } => {
                write!(
                    f,
                    "zones of {zone_sectors} sectors, model {}, make no sense",
                    u8::from(*model)
                )
            }
            Self::NoQueue => f.write_str("the device has no request queue"),
            Self::QueueTooSmall { size } => {
                write!(
                    f,
                    "a queue of {size} descriptors is too small for one request, which needs 3"
                )
            }
            Self::Dma(error) => error.fmt(f),
            Self::Ring(error) => error.fmt(f),
            Self::Queue(error) => error.fmt(f),
            Self::NotLive { status } => write!(f, "the device did not go live (status {:#x})", status.bits()),
            Self::Stuck { status } => write!(
                f,
                "the device went wrong (status {:#x}) and does not finish its reset; its rings are lost",
                status.bits()
            ),
        }
    }
}

impl core::error::Error for InitError {}

impl From<HandshakeError> for InitError {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl From<ConfigUnstable> for InitError {
    fn from(_: ConfigUnstable) -> Self {
        Self::ConfigUnstable
    }
}

/// Why a request was not taken. Nothing of it has reached the device, and it comes back whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SubmitError {
    /// No room now: submit it again after a completion.
    QueueFull,
    /// It reaches past the end of the disk.
    OutOfRange {
        /// Sectors on the disk.
        capacity: u64,
    },
    /// Position or length is not a multiple of the block size.
    Misaligned {
        /// Bytes of a block.
        block_bytes: u32,
    },
    /// The disk cannot be written.
    ReadOnly,
    /// The device does not do that.
    Unsupported,
    /// Nothing to transfer.
    Empty,
    /// One block of the data lies in more pieces than the device takes in one request: copy it together.
    TooScattered,
    /// A segment wraps around the address space.
    BadSegment,
    /// It breaks a rule for zones.
    Zone(ZoneRequestError),
    /// The device broke the rules: shut it down and start it again.
    Broken(DeviceFault),
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull => f.write_str("the queue is full"),
            Self::OutOfRange { capacity } => write!(f, "past the end of the disk, which has {capacity} sectors"),
            Self::Misaligned { block_bytes } => write!(f, "not a multiple of the block size, {block_bytes} bytes"),
            Self::ReadOnly => f.write_str("the disk is read-only"),
            Self::Unsupported => f.write_str("not supported by the device"),
            Self::Empty => f.write_str("nothing to transfer"),
            Self::TooScattered => f.write_str("a block lies in more pieces than the device takes"),
            Self::BadSegment => f.write_str("a segment wraps around the address space"),
            Self::Zone(error) => error.fmt(f),
            Self::Broken(fault) => write!(f, "the device needs a reset: {fault}"),
        }
    }
}

impl core::error::Error for SubmitError {}

impl From<ZoneRequestError> for SubmitError {
    fn from(error: ZoneRequestError) -> Self {
        Self::Zone(error)
    }
}

/// How a request that was taken failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum IoError {
    /// The device says so.
    Device(StatusError),
    /// The device was shut down before the request was done, or its configuration changed so that the rest of the
    /// request could not be sent.
    Aborted,
    /// The device answers that it appended the data where it cannot have done so. The data may be anywhere in the zone.
    BadAppendSector(Sector),
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(status) => status.fmt(f),
            Self::Aborted => f.write_str("the device was shut down or changed before the request was done"),
            Self::BadAppendSector(sector) => write!(f, "appended at sector {sector}, which is not in the zone"),
        }
    }
}

impl core::error::Error for IoError {}
