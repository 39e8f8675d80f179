//! What the driver counts.

use core::fmt;

/// Everything a [`BlockDriver`](crate::BlockDriver) counts, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverCounters {
    /// Requests taken.
    pub requests: u64,
    /// Replies sent. Once nothing waits, as many as requests.
    pub replies: u64,
    /// Replies that carried an error.
    pub errors: u64,
    /// Reads that passed their checks, of one element or many.
    pub reads: u64,
    /// Writes that passed their checks, of one element or many.
    pub writes: u64,
    /// Bytes that reads brought, modulo 2^64.
    pub bytes_read: u64,
    /// Bytes that writes took, modulo 2^64.
    pub bytes_written: u64,
    /// Requests the device took.
    pub device_requests: u64,
    /// Most requests the device had at a time.
    pub max_in_flight: u16,
    /// Most requests of clients that were unanswered at a time.
    pub max_jobs: u16,
    /// Times the device was told of new requests.
    pub notifies: u64,
    /// Transfers that shared a device request with the one before them.
    pub merged: u64,
    /// Device requests that carried a part of a transfer only.
    pub chunks: u64,
    /// Device requests that went through a bounce buffer.
    pub bounced: u64,
    /// Flush commands the device took.
    pub flushes: u64,
    /// Of these, flushes that no client asked for.
    pub background_flushes: u64,
    /// Flushes in the background that failed, were lost in a reset they caused, or were refused.
    pub failed_flushes: u64,
    /// Times the device had no room.
    pub device_full: u64,
    /// Times the device was too late with a request.
    pub timeouts: u64,
    /// Resets of the device that worked.
    pub resets: u64,
    /// Resets of the device that did not.
    pub failed_resets: u64,
    /// Transfers and commands given to the device again after a reset.
    pub replayed: u64,
    /// Completions of requests that the device did not have.
    pub stray_completions: u64,
    /// Requests sent back because there was no room for them, see [`has_room`](crate::BlockDriver::has_room).
    pub no_room: u64,
}

impl DriverCounters {
    /// The counts by name, to be printed.
    pub fn named(&self) -> [(&'static str, u64); 24] {
        [
            ("requests", self.requests),
            ("replies", self.replies),
            ("errors", self.errors),
            ("reads", self.reads),
            ("writes", self.writes),
            ("bytes_read", self.bytes_read),
            ("bytes_written", self.bytes_written),
            ("device_requests", self.device_requests),
            ("max_in_flight", self.max_in_flight.into()),
            ("max_jobs", self.max_jobs.into()),
            ("notifies", self.notifies),
            ("merged", self.merged),
            ("chunks", self.chunks),
            ("bounced", self.bounced),
            ("flushes", self.flushes),
            ("background_flushes", self.background_flushes),
            ("failed_flushes", self.failed_flushes),
            ("device_full", self.device_full),
            ("timeouts", self.timeouts),
            ("resets", self.resets),
            ("failed_resets", self.failed_resets),
            ("replayed", self.replayed),
            ("stray_completions", self.stray_completions),
            ("no_room", self.no_room),
        ]
    }
}

/// `name=value`, separated by spaces.
impl fmt::Display for DriverCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (name, value)) in self.named().into_iter().enumerate() {
            let space = if nth == 0 { "" } else { " " };
            write!(f, "{space}{name}={value}")?;
        }
        Ok(())
    }
}
