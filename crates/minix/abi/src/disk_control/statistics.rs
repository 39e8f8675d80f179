//! What the service has counted: `VBLKSTAT`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::ReportHeader;

/// Buckets of a latency histogram.
pub const BUCKETS: usize = 32;

codes! {
    /// What a request does. The numbers up to [`ERASE`](Kind::ERASE) are places in [`StatReport::kinds`].
    pub struct Kind(u32) {
        /// Read.
        READ = 0,
        /// Write.
        WRITE = 1,
        /// Flush of the write cache.
        FLUSH = 2,
        /// Discard.
        DISCARD = 3,
        /// Writing of zeroes by a command.
        ZERO = 4,
        /// Secure erase.
        ERASE = 5,
        /// A read of a partition table.
        SCAN = 6,
        /// A question for the id or the lifetime of the device.
        IDENTIFY = 7,
        /// A switch of the write cache.
        SWITCH = 8,
    }
}

/// Kinds that are counted.
pub const KINDS: usize = 6;

/// What became of the requests of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct KindReport {
    /// Device requests that are over, well or not. A range that was cut at the device's limits counts as one.
    pub operations: u64,
    /// Bytes of those that succeeded; for ranges, the bytes of the range.
    pub bytes: u64,
    /// Device requests that failed.
    pub errors: u64,
    /// How long requests took: bucket `n` counts those of 2^n microseconds and more, below 2^(n + 1); bucket 0 those below 2
    /// microseconds, and the last one is open. A read or write of a client counts once, from its arrival to its answer, however
    /// many device requests it took or shared. The others count from their submission to their completion.
    pub latency: [u64; BUCKETS],
}

layout!(KindReport, 280 {
    operations: u64 = 0,
    bytes: u64 = 8,
    errors: u64 = 16,
    latency: [u64; BUCKETS] = 24,
});

/// What the service counts beside the kinds of requests. Counts are those since the service was started, over all resets, unless it
/// says *now*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct StatCounts {
    /// Device requests in flight now.
    pub in_flight: u64,
    /// Most device requests that were in flight at a time.
    pub most_in_flight: u64,
    /// Requests of clients that are not answered now. The one that asks is not among them.
    pub unanswered: u64,
    /// Most requests of clients that were not answered at a time.
    pub most_unanswered: u64,
    /// Requests of clients taken. The one that asks is among them.
    pub requests: u64,
    /// Replies sent.
    pub replies: u64,
    /// Replies that carried an error.
    pub errors: u64,
    /// Reads of clients that passed their checks.
    pub reads: u64,
    /// Writes of clients that passed their checks.
    pub writes: u64,
    /// Bytes that reads brought to clients.
    pub bytes_read: u64,
    /// Bytes that writes took from clients.
    pub bytes_written: u64,
    /// Requests of clients sent back because there was no room.
    pub no_room: u64,
    /// Device requests the device took.
    pub device_requests: u64,
    /// Transfers that shared a device request with the one before them.
    pub merged: u64,
    /// Device requests that carried a part of a transfer only.
    pub chunks: u64,
    /// Device requests that went through a bounce buffer.
    pub bounced: u64,
    /// Times the device had no room.
    pub device_full: u64,
    /// Times the device was told of new requests.
    pub notifies: u64,
    /// Interrupts of the device that were followed up.
    pub interrupts: u64,
    /// Those that brought nothing.
    pub spurious_interrupts: u64,
    /// Times that an interrupt was found lost.
    pub lost_interrupts: u64,
    /// Watches of the device that found a completion before an interrupt was waited for.
    pub watches_hit: u64,
    /// Watches of the device that found none.
    pub watches_missed: u64,
    /// Flush commands the device took.
    pub flushes: u64,
    /// Of these, flushes that no client asked for.
    pub background_flushes: u64,
    /// Flushes in the background that came to nothing.
    pub failed_flushes: u64,
    /// Times the device was too late with a request.
    pub timeouts: u64,
    /// Resets of the device that worked.
    pub resets: u64,
    /// Resets of the device that did not.
    pub failed_resets: u64,
    /// Requests given to the device again after a reset.
    pub replays: u64,
    /// Times the device broke the rules of the virtqueue.
    pub faults: u64,
    /// Completions of requests that the device did not have.
    pub stray_completions: u64,
    /// Used lengths that were not those of their requests.
    pub odd_lengths: u64,
}

layout!(StatCounts, 264 {
    in_flight: u64 = 0,
    most_in_flight: u64 = 8,
    unanswered: u64 = 16,
    most_unanswered: u64 = 24,
    requests: u64 = 32,
    replies: u64 = 40,
    errors: u64 = 48,
    reads: u64 = 56,
    writes: u64 = 64,
    bytes_read: u64 = 72,
    bytes_written: u64 = 80,
    no_room: u64 = 88,
    device_requests: u64 = 96,
    merged: u64 = 104,
    chunks: u64 = 112,
    bounced: u64 = 120,
    device_full: u64 = 128,
    notifies: u64 = 136,
    interrupts: u64 = 144,
    spurious_interrupts: u64 = 152,
    lost_interrupts: u64 = 160,
    watches_hit: u64 = 168,
    watches_missed: u64 = 176,
    flushes: u64 = 184,
    background_flushes: u64 = 192,
    failed_flushes: u64 = 200,
    timeouts: u64 = 208,
    resets: u64 = 216,
    failed_resets: u64 = 224,
    replays: u64 = 232,
    faults: u64 = 240,
    stray_completions: u64 = 248,
    odd_lengths: u64 = 256,
});

/// The argument of [`VBLKSTAT`](crate::ioctl::IoctlCode::VBLKSTAT). Everything only grows, but for what is *now*; the difference of two
/// reports of one [`since`](Self::since_us) is what happened between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct StatReport {
    /// The start of the report.
    pub header: ReportHeader,
    /// When counting began, in microseconds. Another value in a later report: it is of another instance of the service.
    pub since_us: u64,
    /// When the report was made, in microseconds.
    pub now_us: u64,
    /// Counts of everything that is not told by kind.
    pub counts: StatCounts,
    /// By [`Kind`].
    pub kinds: [KindReport; KINDS],
}

layout!(StatReport, 1968 {
    header: ReportHeader = 0,
    since_us: u64 = 8,
    now_us: u64 = 16,
    counts: StatCounts = 24,
    kinds: [KindReport; KINDS] = 288,
});
