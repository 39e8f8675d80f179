//! Numbers of the specification.
//!
//! Written down once more on purpose, instead of taken from the driver's crates: a number read wrongly there must not
//! be read wrongly here as well.

/// Request types.
pub(crate) mod kind {
    pub(crate) const IN: u32 = 0;
    pub(crate) const OUT: u32 = 1;
    pub(crate) const FLUSH: u32 = 4;
    pub(crate) const FLUSH_OUT: u32 = 5;
    pub(crate) const GET_ID: u32 = 8;
    pub(crate) const GET_LIFETIME: u32 = 10;
    pub(crate) const DISCARD: u32 = 11;
    pub(crate) const WRITE_ZEROES: u32 = 13;
    pub(crate) const SECURE_ERASE: u32 = 14;
    pub(crate) const ZONE_APPEND: u32 = 15;
    pub(crate) const ZONE_REPORT: u32 = 16;
    pub(crate) const ZONE_OPEN: u32 = 18;
    pub(crate) const ZONE_CLOSE: u32 = 20;
    pub(crate) const ZONE_FINISH: u32 = 22;
    pub(crate) const ZONE_RESET: u32 = 24;
    pub(crate) const ZONE_RESET_ALL: u32 = 26;
    pub(crate) const BARRIER: u32 = 1 << 31;
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

/// Feature bits, as bits.
pub mod feature {
    /// `size_max`.
    pub const SIZE_MAX: u64 = 1 << 1;
    /// `seg_max`.
    pub const SEG_MAX: u64 = 1 << 2;
    /// `geometry`.
    pub const GEOMETRY: u64 = 1 << 4;
    /// Read-only.
    pub const RO: u64 = 1 << 5;
    /// `blk_size`.
    pub const BLK_SIZE: u64 = 1 << 6;
    /// SCSI commands (legacy).
    pub const SCSI: u64 = 1 << 7;
    /// Flush requests.
    pub const FLUSH: u64 = 1 << 9;
    /// `topology`.
    pub const TOPOLOGY: u64 = 1 << 10;
    /// `writeback`.
    pub const CONFIG_WCE: u64 = 1 << 11;
    /// Several queues.
    pub const MQ: u64 = 1 << 12;
    /// Discard.
    pub const DISCARD: u64 = 1 << 13;
    /// Write zeroes.
    pub const WRITE_ZEROES: u64 = 1 << 14;
    /// Lifetime.
    pub const LIFETIME: u64 = 1 << 15;
    /// Secure erase.
    pub const SECURE_ERASE: u64 = 1 << 16;
    /// Zones.
    pub const ZONED: u64 = 1 << 17;
    /// Notify on empty (legacy).
    pub const NOTIFY_ON_EMPTY: u64 = 1 << 24;
    /// Any layout (legacy).
    pub const ANY_LAYOUT: u64 = 1 << 27;
    /// Indirect descriptors.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Event index.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// Version 1.
    pub const VERSION_1: u64 = 1 << 32;
    /// Addresses are the platform's.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
    /// Packed rings.
    pub const RING_PACKED: u64 = 1 << 34;
    /// In-order use.
    pub const IN_ORDER: u64 = 1 << 35;
    /// Notification data.
    pub const NOTIFICATION_DATA: u64 = 1 << 38;
    /// Queue reset.
    pub const RING_RESET: u64 = 1 << 40;
    /// Suspend.
    pub const SUSPEND: u64 = 1 << 43;
}

/// Bytes of a sector.
pub(crate) const SECTOR: u64 = 512;
