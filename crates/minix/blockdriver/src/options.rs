//! What the program that makes a driver decides.

use core::time::Duration;

use minix_abi::Instant;

/// How a [`BlockDriver`](crate::BlockDriver) behaves where the protocol leaves it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverOptions {
    /// Time in which the device may complete nothing, although it has requests, before it is reset. A request that was
    /// overtaken is lost after three times as long: every request that the device was given in that time after it has come
    /// back. Clients can change it by `DIOCTIMEOUT`, but not to less than 100 milliseconds.
    pub request_timeout: Duration,
    /// How often a request is tried again after a reset of the device before its client gets `EIO`.
    pub replays: u8,
    /// How often in a row the device is reset, if it does not come back, before every request is answered with `EIO`. At least
    /// one.
    pub reset_attempts: u8,
    /// How often the device is reset without completing a request in between, before every request is answered with `EIO`.
    /// Resets of a device that had nothing to do and worked for as long as a request may take do not count. At least one more
    /// than `replays`, so that one request that no device survives is not the end.
    pub fruitless_resets: u8,
    /// Time between two resets, unless the device has completed a request since the first.
    pub reset_pause: Duration,
    /// Clock ticks per second, the unit of `DIOCTIMEOUT`. At least one.
    pub hz: u32,
    /// Requests the device gets at a time at most; the rest waits where it can still be put in order and merged. At least
    /// one, and never more than the driver has jobs. A slow device gets fewer.
    pub depth: u16,
    /// Reads that may go ahead of a waiting write before that has its turn.
    pub reads_before_write: u8,
    /// When the service was started: what it counts is told to be since then.
    pub started: Instant,
    /// Time that a completed write may stay in a volatile cache of the disk before a flush is sent in the background. Zero:
    /// for ever, or until the service is to end.
    pub flush_after: Duration,
}

impl Default for DriverOptions {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            replays: 3,
            reset_attempts: 3,
            fruitless_resets: 8,
            reset_pause: Duration::from_millis(100),
            hz: 1000,
            depth: u16::MAX,
            reads_before_write: 8,
            started: Instant::START,
            flush_after: Duration::from_secs(1),
        }
    }
}
