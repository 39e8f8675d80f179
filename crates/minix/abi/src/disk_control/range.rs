//! Ranges of sectors that are given up: `VBLKDISCARD`, `VBLKZERO` and `VBLKERASE`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::VERSION;

flags! {
    /// How a range is worked on.
    pub struct RangeFlags(u32) {
        /// Also if a minor that overlaps this one is open elsewhere.
        FORCE = 1,
        /// For [`VBLKZERO`](crate::ioctl::IoctlCode::VBLKZERO): the device may give the storage back.
        UNMAP = 2,
    }
}

/// The argument of [`VBLKDISCARD`](crate::ioctl::IoctlCode::VBLKDISCARD), [`VBLKZERO`](crate::ioctl::IoctlCode::VBLKZERO) and
/// [`VBLKERASE`](crate::ioctl::IoctlCode::VBLKERASE).
///
/// A client of another version is answered with [`EINVAL`](crate::Errno::EINVAL), and so is an unknown flag. After that, in this
/// order: [`EIO`](crate::Errno::EIO) if the device is given up, [`EACCES`](crate::Errno::EACCES) if it is read-only,
/// [`EOPNOTSUPP`](crate::Errno::EOPNOTSUPP) if it does not have the command, [`EINVAL`](crate::Errno::EINVAL) for a range that is
/// empty, outside of the minor, or not whole blocks of the disk, [`EBUSY`](crate::Errno::EBUSY) without
/// [`FORCE`](RangeFlags::FORCE) if this minor is open more than once, or another one that overlaps it is open. Then it is the
/// device's turn: completed writes are flushed first, and if that fails the answer is [`EIO`](crate::Errno::EIO) and the range is
/// left alone. An error of the device with the range is [`EIO`](crate::Errno::EIO), or [`EOPNOTSUPP`](crate::Errno::EOPNOTSUPP) if
/// it says so; a part of the range may be done.
///
/// The device has the [time-out](super::DiskHead::timeout_ms) for each part that it takes at once, not for the range. It is tried again
/// after a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RangeRequest {
    /// [`VERSION`] of the client.
    pub version: u32,
    /// How.
    pub flags: RangeFlags,
    /// The first sector, counted from the start of the minor.
    pub first: u64,
    /// How many sectors; [`ALL`](Self::ALL) for those from the first to the end of the minor.
    pub count: u64,
    /// Written by the driver on success, and left alone otherwise: how many sectors were worked on.
    pub done: u64,
}

layout!(RangeRequest, 32 {
    version: u32 = 0,
    flags: RangeFlags = 4,
    first: u64 = 8,
    count: u64 = 16,
    done: u64 = 24,
});

impl RangeRequest {
    /// As a count: to the end of the minor.
    pub const ALL: u64 = u64::MAX;

    /// A request of this version.
    pub const fn new(flags: RangeFlags, first: u64, count: u64) -> Self {
        Self {
            version: VERSION,
            flags,
            first,
            count,
            done: 0,
        }
    }
}
