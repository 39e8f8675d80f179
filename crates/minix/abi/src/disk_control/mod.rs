//! Private control requests of the VirtIO block service: what `vblkctl` asks it.
//!
//! The codes are [`IoctlCode::VBLKINFO`](crate::ioctl::IoctlCode::VBLKINFO) and those after it, with the group letter `V`. They say
//! how long their argument is. So a client and a service of different versions do not misunderstand each other: the service answers
//! [`ENOTTY`](crate::Errno::ENOTTY), and [`VBLKVERSION`](crate::ioctl::IoctlCode::VBLKVERSION), whose argument never changes, tells why.
//!
//! | code | argument | needs |
//! |---|---|---|
//! | `VBLKINFO` | [`DiskReport`] | waits for the requests ahead of it, and asks the device for its id and its lifetime |
//! | `VBLKSTAT` | [`StatReport`] | nothing |
//! | `VBLKREGS` | [`RegisterReport`] | nothing |
//! | `VBLKQUEUE` | [`QueueReport`] | nothing |
//! | `VBLKLOG` | [`LogReport`] | nothing |
//! | `VBLKDISCARD`, `VBLKZERO`, `VBLKERASE` | [`RangeRequest`], both ways | waits for the requests ahead of it, and needs the device |
//! | `VBLKVERSION` | `u32`: [`VERSION`] | nothing |
//!
//! What needs nothing is answered at once: ahead of requests that came before, during a reset, and for a device that is given up.
//! Only for room in a service that has as many requests as it works on at a time it waits as all do. All of them want a minor that
//! was opened, as every request does.
//!
//! Numbers are little-endian. Times are microseconds of the service's clock, which starts at no particular time.

mod disk;
mod log;
mod queue;
mod range;
mod registers;
mod statistics;
mod version;

pub use self::disk::{DiskFlags, DiskHead, DiskReport, Lifetime, MINORS, MinorExtent, RangeLimit};
pub use self::log::{EVENTS, Event, EventKind, FaultCode, LogReport, ResetReason};
pub use self::queue::{IN_FLIGHT, InFlightFlags, InFlightRequest, QueueFlags, QueueReport, QueueState};
pub use self::range::{RangeFlags, RangeRequest};
pub use self::registers::{REGISTERS, RegisterReport, RegisterValue};
pub use self::statistics::{BUCKETS, KINDS, Kind, KindReport, StatCounts, StatReport};
pub use self::version::{ReportHeader, VERSION};

/// Bytes of a sector, the unit of [`RangeRequest`] and of everything that is counted in sectors.
pub const SECTOR_BYTES: u64 = 512;

/// The text at the start of a field. It ends at the first zero, or at the first byte that is not UTF-8.
pub fn name_in(field: &[u8]) -> &str {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    let text = field.get(..end).unwrap_or(field);
    match core::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => text
            .get(..error.valid_up_to())
            .and_then(|text| core::str::from_utf8(text).ok())
            .unwrap_or(""),
    }
}
