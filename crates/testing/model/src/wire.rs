//! Numbers of the specification.
//!
//! None is taken from the driver's crates: a number that is wrong there must not be wrong here as well. What
//! `virtio-bindings` knows, which is made from the headers of Linux, comes from there.

/// Request types.
pub(crate) mod kind {
    pub(crate) use virtio_bindings::virtio_blk::{
        VIRTIO_BLK_T_BARRIER as BARRIER, VIRTIO_BLK_T_DISCARD as DISCARD, VIRTIO_BLK_T_FLUSH as FLUSH,
        VIRTIO_BLK_T_GET_ID as GET_ID, VIRTIO_BLK_T_IN as IN, VIRTIO_BLK_T_OUT as OUT,
        VIRTIO_BLK_T_SECURE_ERASE as SECURE_ERASE, VIRTIO_BLK_T_WRITE_ZEROES as WRITE_ZEROES,
        VIRTIO_BLK_T_ZONE_APPEND as ZONE_APPEND, VIRTIO_BLK_T_ZONE_CLOSE as ZONE_CLOSE,
        VIRTIO_BLK_T_ZONE_FINISH as ZONE_FINISH, VIRTIO_BLK_T_ZONE_OPEN as ZONE_OPEN,
        VIRTIO_BLK_T_ZONE_REPORT as ZONE_REPORT, VIRTIO_BLK_T_ZONE_RESET as ZONE_RESET,
        VIRTIO_BLK_T_ZONE_RESET_ALL as ZONE_RESET_ALL,
    };
    pub(crate) const FLUSH_OUT: u32 = 5;
    pub(crate) const GET_LIFETIME: u32 = 10;
}

/// Request statuses.
pub(crate) mod answer {
    pub(crate) const OK: u8 = 0;
    pub(crate) const IOERR: u8 = 1;
    pub(crate) const UNSUPP: u8 = 2;
    pub(crate) const ZONE_INVALID_CMD: u8 = 3;
    pub(crate) const ZONE_UNALIGNED_WP: u8 = 4;
    pub(crate) const ZONE_OPEN_RESOURCE: u8 = 5;
    pub(crate) const ZONE_ACTIVE_RESOURCE: u8 = 6;
}

/// Bits of the device status.
pub(crate) mod status {
    pub(crate) use virtio_bindings::virtio_config::{
        VIRTIO_CONFIG_S_ACKNOWLEDGE as ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER as DRIVER,
        VIRTIO_CONFIG_S_DRIVER_OK as DRIVER_OK, VIRTIO_CONFIG_S_FAILED as FAILED,
        VIRTIO_CONFIG_S_FEATURES_OK as FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET as NEEDS_RESET,
    };
    pub(crate) const SUSPEND: u32 = 16;
}

/// Feature bits, as bits.
#[allow(missing_docs, reason = "the names are those of the specification")]
pub mod feature {
    pub const BARRIER: u64 = 1 << 0;
    pub const SIZE_MAX: u64 = 1 << 1;
    pub const SEG_MAX: u64 = 1 << 2;
    pub const GEOMETRY: u64 = 1 << 4;
    pub const RO: u64 = 1 << 5;
    pub const BLK_SIZE: u64 = 1 << 6;
    pub const SCSI: u64 = 1 << 7;
    pub const FLUSH: u64 = 1 << 9;
    pub const TOPOLOGY: u64 = 1 << 10;
    pub const CONFIG_WCE: u64 = 1 << 11;
    pub const MQ: u64 = 1 << 12;
    pub const DISCARD: u64 = 1 << 13;
    pub const WRITE_ZEROES: u64 = 1 << 14;
    pub const LIFETIME: u64 = 1 << 15;
    pub const SECURE_ERASE: u64 = 1 << 16;
    pub const ZONED: u64 = 1 << 17;
    pub const ANY_LAYOUT: u64 = 1 << 27;
    pub const INDIRECT_DESC: u64 = 1 << 28;
    pub const EVENT_IDX: u64 = 1 << 29;
    pub const VERSION_1: u64 = 1 << 32;
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
    pub const RING_PACKED: u64 = 1 << 34;
    pub const IN_ORDER: u64 = 1 << 35;
    pub const NOTIFICATION_DATA: u64 = 1 << 38;
    pub const RING_RESET: u64 = 1 << 40;
    pub const SUSPEND: u64 = 1 << 43;
}

/// Bytes of a sector.
pub(crate) const SECTOR: u64 = 512;
