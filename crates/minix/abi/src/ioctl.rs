//! Control requests: how their codes are made, and those that disks know.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Pad;
use crate::disk_control::{DiskReport, LogReport, QueueReport, RangeRequest, RegisterReport, StatReport};
use crate::trace::{TRACE_ENTRIES_AT_ONCE, TraceEntry};

codes! {
    /// The code of a control request. It tells what argument goes with it, and which way.
    ///
    /// | bits | meaning |
    /// |---|---|
    /// | 31 | the driver reads the argument |
    /// | 30 | the driver writes the argument |
    /// | 29 | no argument |
    /// | 28 | big: bits 8 to 27 are the length of the argument; there is no group |
    /// | 16 to 27 | otherwise: the length of the argument in bytes |
    /// | 8 to 15 | otherwise: the group, a letter |
    /// | 0 to 7 | the number |
    ///
    /// In messages it has 64 bits, of which the upper half is zero. Unknown codes are answered with
    /// [`ENOTTY`](crate::Errno::ENOTTY).
    pub struct IoctlCode(u64) {
        /// Set base and size of a partition: [`PartGeom`], read by the driver.
        DIOCSETP = IoctlCode::code(IoctlCode::DRIVER_READS, b'd', 3, size_of::<PartGeom>()).0,
        /// Tell base, size and geometry of a partition: [`PartGeom`], written by the driver.
        DIOCGETP = IoctlCode::code(IoctlCode::DRIVER_WRITES, b'd', 4, size_of::<PartGeom>()).0,
        /// Eject the medium.
        DIOCEJECT = IoctlCode::code(IoctlCode::NO_ARGUMENT, b'd', 5, 0).0,
        /// Set the time a request may take, and tell the former one: `int`, both ways.
        DIOCTIMEOUT = IoctlCode::code(IoctlCode::BOTH, b'd', 6, size_of::<i32>()).0,
        /// Tell how often the drive is open: `int`, written by the driver.
        DIOCOPENCT = IoctlCode::code(IoctlCode::DRIVER_WRITES, b'd', 7, size_of::<i32>()).0,
        /// Flush the write cache. [`EOPNOTSUPP`](crate::Errno::EOPNOTSUPP) if the device cannot.
        DIOCFLUSH = IoctlCode::code(IoctlCode::NO_ARGUMENT, b'd', 8, 0).0,
        /// Switch the write cache: `int`, read by the driver.
        DIOCSETWC = IoctlCode::code(IoctlCode::DRIVER_READS, b'd', 9, size_of::<i32>()).0,
        /// Tell whether the write cache is on: `int`, written by the driver.
        DIOCGETWC = IoctlCode::code(IoctlCode::DRIVER_WRITES, b'd', 10, size_of::<i32>()).0,
        /// Tell what the caches of the disk are like: [`CacheFlags`], written by the driver. NetBSD's name and number, as those of
        /// the next four.
        DIOCGCACHE = IoctlCode::code(IoctlCode::DRIVER_WRITES, b'd', 116, size_of::<CacheFlags>()).0,
        /// Switch the caches of the disk: [`CacheFlags`], read by the driver.
        DIOCSCACHE = IoctlCode::code(IoctlCode::DRIVER_READS, b'd', 117, size_of::<CacheFlags>()).0,
        /// Flush the write cache: `int`, read by the driver. Whether it is to be done although it seems needless.
        DIOCCACHESYNC = IoctlCode::code(IoctlCode::DRIVER_READS, b'd', 118, size_of::<i32>()).0,
        /// Tell the bytes of the minor: `off_t`, written by the driver.
        DIOCGMEDIASIZE = IoctlCode::code(IoctlCode::DRIVER_WRITES, b'd', 132, size_of::<i64>()).0,
        /// Tell the bytes of a block, the smallest unit of a transfer: `u_int`, written by the driver.
        DIOCGSECTORSIZE = IoctlCode::code(IoctlCode::DRIVER_WRITES, b'd', 133, size_of::<u32>()).0,
        /// Make or free the buffer for a trace: entries as `size_t`, read by the driver.
        BIOCTRACEBUF = IoctlCode::code(IoctlCode::DRIVER_READS, b'b', 1, size_of::<u64>()).0,
        /// Start or stop a trace: [`TraceControl`](crate::trace::TraceControl), read by the driver.
        BIOCTRACECTL = IoctlCode::code(IoctlCode::DRIVER_READS, b'b', 2, size_of::<i32>()).0,
        /// Fetch a trace: up to 1024 [`TraceEntry`]s, written by the driver.
        BIOCTRACEGET =
            IoctlCode::big_code(IoctlCode::DRIVER_WRITES, 3, TRACE_ENTRIES_AT_ONCE * size_of::<TraceEntry>()).0,
        /// Describe the disk and its minors: [`DiskReport`], written by the driver.
        VBLKINFO = IoctlCode::code(IoctlCode::DRIVER_WRITES, b'V', 1, size_of::<DiskReport>()).0,
        /// Tell what was counted: [`StatReport`], written by the driver.
        VBLKSTAT = IoctlCode::code(IoctlCode::DRIVER_WRITES, b'V', 2, size_of::<StatReport>()).0,
        /// Tell the registers of the device: [`RegisterReport`], written by the driver.
        VBLKREGS = IoctlCode::code(IoctlCode::DRIVER_WRITES, b'V', 3, size_of::<RegisterReport>()).0,
        /// Tell the state of the virtqueue and what is in flight: [`QueueReport`], written by the driver.
        VBLKQUEUE = IoctlCode::code(IoctlCode::DRIVER_WRITES, b'V', 4, size_of::<QueueReport>()).0,
        /// Tell the last events: [`LogReport`], written by the driver.
        VBLKLOG = IoctlCode::code(IoctlCode::DRIVER_WRITES, b'V', 5, size_of::<LogReport>()).0,
        /// Give up the content of sectors: [`RangeRequest`], both ways.
        VBLKDISCARD = IoctlCode::code(IoctlCode::BOTH, b'V', 6, size_of::<RangeRequest>()).0,
        /// Let sectors read as zeroes: [`RangeRequest`], both ways.
        VBLKZERO = IoctlCode::code(IoctlCode::BOTH, b'V', 7, size_of::<RangeRequest>()).0,
        /// Make the content of sectors unrecoverable: [`RangeRequest`], both ways.
        VBLKERASE = IoctlCode::code(IoctlCode::BOTH, b'V', 8, size_of::<RangeRequest>()).0,
        /// Tell the [version](crate::disk_control::VERSION) of the structures of the group `V`: `u32`, written by the driver. This code
        /// is the same in all versions.
        VBLKVERSION = IoctlCode::code(IoctlCode::DRIVER_WRITES, b'V', 9, size_of::<u32>()).0,
    }
}

flags! {
    /// The argument of [`DIOCGCACHE`](IoctlCode::DIOCGCACHE) and [`DIOCSCACHE`](IoctlCode::DIOCSCACHE): NetBSD's `DKCACHE_` bits.
    pub struct CacheFlags(u32) {
        /// The read cache is on.
        READ = 0x000001,
        /// The write-back cache is on.
        WRITE = 0x000002,
        /// The read cache can be switched.
        READ_CHANGE = 0x000100,
        /// The write cache can be switched.
        WRITE_CHANGE = 0x000200,
        /// The state can be kept over a power cycle, or is to be.
        SAVE = 0x010000,
    }
}

impl IoctlCode {
    const DRIVER_READS: u64 = 1 << 31;
    const DRIVER_WRITES: u64 = 1 << 30;
    const BOTH: u64 = Self::DRIVER_READS | Self::DRIVER_WRITES;
    const NO_ARGUMENT: u64 = 1 << 29;
    const BIG: u64 = 1 << 28;

    /// Longest argument of an ordinary code, in bytes.
    pub const MAX_BYTES: usize = 0xFFF;
    /// Longest argument of a big code, in bytes.
    pub const MAX_BIG_BYTES: usize = 0xF_FFFF;

    const fn code(direction: u64, group: u8, number: u8, bytes: usize) -> Self {
        assert!(bytes <= Self::MAX_BYTES);
        Self(direction | (bytes as u64) << 16 | (group as u64) << 8 | number as u64)
    }

    const fn big_code(direction: u64, number: u8, bytes: usize) -> Self {
        assert!(bytes <= Self::MAX_BIG_BYTES);
        Self(direction | Self::BIG | (bytes as u64) << 8 | number as u64)
    }

    /// Whether the driver reads the argument.
    pub const fn driver_reads(self) -> bool {
        self.0 & Self::DRIVER_READS != 0
    }

    /// Whether the driver writes the argument.
    pub const fn driver_writes(self) -> bool {
        self.0 & Self::DRIVER_WRITES != 0
    }

    /// Whether the code says that there is no argument.
    pub const fn has_no_argument(self) -> bool {
        self.0 & Self::NO_ARGUMENT != 0
    }

    /// Whether the code is one for a big argument.
    pub const fn is_big(self) -> bool {
        self.0 & Self::BIG != 0
    }

    /// Length of the argument in bytes.
    pub const fn argument_bytes(self) -> usize {
        if self.is_big() {
            (self.0 >> 8) as usize & Self::MAX_BIG_BYTES
        } else {
            (self.0 >> 16) as usize & Self::MAX_BYTES
        }
    }

    /// The group; a big code has none.
    pub const fn group(self) -> Option<u8> {
        if self.is_big() { None } else { Some((self.0 >> 8) as u8) }
    }

    /// The number in its group.
    pub const fn number(self) -> u8 {
        self.0 as u8
    }
}

/// Where a partition is, and the geometry that programs from another age ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PartGeom {
    /// Where it starts on the disk, in bytes.
    pub base: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// Cylinders.
    pub cylinders: u32,
    /// Heads.
    pub heads: u32,
    /// Sectors per track.
    pub sectors: u32,
    /// Padding. All 32 bytes are copied, so it should be zero.
    pub pad: Pad<4>,
}

layout!(PartGeom, 32 {
    base: u64 = 0,
    bytes: u64 = 8,
    cylinders: u32 = 16,
    heads: u32 = 20,
    sectors: u32 = 24,
});

impl PartGeom {
    /// A partition with the geometry that is made up where the device has none: 64 heads, 32 sectors of 512 bytes per
    /// track, and as many whole cylinders as fit, counted in 32 bits.
    pub const fn made_up(base: u64, bytes: u64) -> Self {
        Self {
            base,
            bytes,
            cylinders: (bytes / 512 / (64 * 32)) as u32,
            heads: 64,
            sectors: 32,
            pad: Pad::ZERO,
        }
    }
}
