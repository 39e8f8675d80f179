//! What a disk is, and how it is divided: `VBLKINFO`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::ReportHeader;
use crate::minor::{DEVICES_PER_DRIVE, Minor, SUB_PARTITIONS_PER_DRIVE};

/// The minors of one disk: the whole, its partitions and their sub-partitions.
pub const MINORS: usize = (DEVICES_PER_DRIVE + SUB_PARTITIONS_PER_DRIVE) as usize;

flags! {
    /// What a disk is and can do.
    pub struct DiskFlags(u32) {
        /// The device works. If not, [`DiskHead`] has zeroes for all that only a device can tell.
        LIVE = 0x001,
        /// It cannot be written.
        READ_ONLY = 0x002,
        /// It has a flush command.
        CAN_FLUSH = 0x004,
        /// Completed writes may stay in a volatile cache.
        WRITE_CACHE = 0x008,
        /// The write cache can be switched.
        CACHE_SWITCH = 0x010,
        /// It has a discard command.
        DISCARD = 0x020,
        /// It has a command that writes zeroes.
        WRITE_ZEROES = 0x040,
        /// That may give storage back.
        ZEROES_UNMAP = 0x080,
        /// It has a secure erase command.
        SECURE_ERASE = 0x100,
        /// [`DiskHead::lifetime`] is known.
        LIFETIME = 0x200,
        /// [`DiskHead::id`] is known.
        ID = 0x400,
        /// Requests have descriptor tables of their own.
        INDIRECT = 0x800,
        /// The service has given the device up: every request that needs it is answered with [`EIO`](crate::Errno::EIO).
        GIVEN_UP = 0x1000,
        /// The interface of the device is the legacy one.
        LEGACY = 0x2000,
    }
}

/// Limits of a command on ranges of sectors. Zeroes if the device does not have the command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RangeLimit {
    /// Sectors in one range at most.
    pub sectors: u32,
    /// Ranges in one device request at most. The service sends one.
    pub ranges: u32,
    /// Ranges should start at multiples of so many sectors, and be so long.
    pub alignment: u32,
}

layout!(RangeLimit, 12 {
    sectors: u32 = 0,
    ranges: u32 = 4,
    alignment: u32 = 8,
});

/// The estimate of how worn a device is, in the numbers of VirtIO (`BLK-N-17`), which are those of eMMC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Lifetime {
    /// How far the reserved blocks are used up: 1 normal, 2 for 80 percent and more, 3 for 90 percent and more.
    pub pre_eol: u16,
    /// Wear of single-level cells in steps of ten percent: 1 to 10; 11 is beyond the designed life, 0 unknown.
    pub single_level: u16,
    /// Wear of multi-level cells, in the same numbers.
    pub multi_level: u16,
}

layout!(Lifetime, 6 {
    pre_eol: u16 = 0,
    single_level: u16 = 2,
    multi_level: u16 = 4,
});

/// What a disk is: the part of a [`DiskReport`] that is not about minors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DiskHead {
    /// The start of the report.
    pub header: ReportHeader,
    /// Physical address of the registers.
    pub address: u64,
    /// Features that the device offers, by bit.
    pub offered: u64,
    /// Features that the driver accepted, by bit.
    pub accepted: u64,
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// The state and the abilities of the disk.
    pub flags: DiskFlags,
    /// The interrupt line.
    pub irq: i32,
    /// The version of the register interface: 1 is the legacy one.
    pub transport_version: u32,
    /// Bytes of a block, the unit of transfers.
    pub block_bytes: u32,
    /// Segments in one device request at most.
    pub max_segments: u32,
    /// Bytes in one segment at most.
    pub max_segment_bytes: u32,
    /// Limits of discard.
    pub discard: RangeLimit,
    /// Limits of writing zeroes.
    pub zero: RangeLimit,
    /// Limits of secure erase.
    pub erase: RangeLimit,
    /// Descriptors of the virtqueue.
    pub descriptors: u32,
    /// How often all minors are open together.
    pub opens: u32,
    /// Time the device may complete nothing before it is reset, in milliseconds.
    pub timeout_ms: u32,
    /// The identification string, with zeroes after it.
    pub id: [u8; 20],
    /// How worn the device is.
    pub lifetime: Lifetime,
    /// Nothing.
    pub reserved: [u8; 6],
}

layout!(DiskHead, 144 {
    header: ReportHeader = 0,
    address: u64 = 8,
    offered: u64 = 16,
    accepted: u64 = 24,
    sectors: u64 = 32,
    flags: DiskFlags = 40,
    irq: i32 = 44,
    transport_version: u32 = 48,
    block_bytes: u32 = 52,
    max_segments: u32 = 56,
    max_segment_bytes: u32 = 60,
    discard: RangeLimit = 64,
    zero: RangeLimit = 76,
    erase: RangeLimit = 88,
    descriptors: u32 = 100,
    opens: u32 = 104,
    timeout_ms: u32 = 108,
    id: [u8; 20] = 112,
    lifetime: Lifetime = 132,
    reserved: [u8; 6] = 138,
});

/// Where a minor lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MinorExtent {
    /// Where it starts on the disk, in bytes.
    pub base: u64,
    /// How long it is, in bytes; zero for a partition that the disk does not have.
    pub bytes: u64,
    /// The minor number.
    pub minor: Minor,
    /// How often it is open.
    pub opens: u32,
}

layout!(MinorExtent, 24 {
    base: u64 = 0,
    bytes: u64 = 8,
    minor: Minor = 16,
    opens: u32 = 20,
});

/// The argument of [`VBLKINFO`](crate::ioctl::IoctlCode::VBLKINFO).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DiskReport {
    /// The disk.
    pub disk: DiskHead,
    /// Its minors: the whole disk, the partitions 0 to 3, the sub-partitions of partition 0, and so on.
    pub minors: [MinorExtent; MINORS],
}

layout!(DiskReport, 648 {
    disk: DiskHead = 0,
    minors: [MinorExtent; MINORS] = 144,
});
