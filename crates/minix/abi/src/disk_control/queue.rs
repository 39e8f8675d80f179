//! The virtqueue and the requests in flight: `VBLKQUEUE`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Kind, ReportHeader};
use crate::Endpoint;
use crate::minor::Minor;

/// Device requests in a [`QueueReport`] at most.
pub const IN_FLIGHT: usize = 64;

flags! {
    /// The state and the features of a virtqueue.
    pub struct QueueFlags(u32) {
        /// The device works. If not, [`QueueState`] has the numbers of the virtqueue as it was left, or zeroes if there is none any
        /// more.
        LIVE = 1,
        /// Notifications and interrupts are suppressed by index (EVENT_IDX).
        EVENT_INDEX = 2,
        /// Requests have descriptor tables of their own.
        INDIRECT = 4,
        /// The device has broken the rules of the ring, and the queue has stopped.
        FAULT = 8,
        /// The device is to be reset, or is given up.
        STOPPED = 0x10,
    }
}

/// The ring of a virtqueue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct QueueState {
    /// Its state and features.
    pub flags: QueueFlags,
    /// Descriptors.
    pub size: u16,
    /// Free descriptors.
    pub free: u16,
    /// Descriptor chains that are submitted and not back.
    pub chains: u16,
    /// Of these, chains that are not published yet.
    pub unpublished: u16,
    /// Available index as last published.
    pub available_index: u16,
    /// Used index as it stands in memory.
    pub used_index: u16,
    /// Used index up to which completions were taken.
    pub used_seen: u16,
    /// Flags of the used ring.
    pub used_flags: u16,
    /// The device's `avail_event`.
    pub avail_event: u16,
    /// Entries of a descriptor table of a request; zero without such tables.
    pub table_entries: u16,
}

layout!(QueueState, 24 {
    flags: QueueFlags = 0,
    size: u16 = 4,
    free: u16 = 6,
    chains: u16 = 8,
    unpublished: u16 = 10,
    available_index: u16 = 12,
    used_index: u16 = 14,
    used_seen: u16 = 16,
    used_flags: u16 = 18,
    avail_event: u16 = 20,
    table_entries: u16 = 22,
});

flags! {
    /// What a device request in flight is for.
    pub struct InFlightFlags(u32) {
        /// A request of a client that runs alone.
        BARRIER = 1,
        /// The service's own: no client waits for it.
        BACKGROUND = 2,
        /// It goes through a bounce buffer.
        BOUNCE = 4,
        /// The device has completed it, and the service has not looked yet.
        COMPLETED = 8,
    }
}

/// A device request in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InFlightRequest {
    /// How long the device has had it, in microseconds.
    pub age_us: u64,
    /// The first sector on the disk; zero for what has no place.
    pub first: u64,
    /// How many sectors; zero for what has no place.
    pub sectors: u64,
    /// Its kind.
    pub kind: Kind,
    /// Its state, and whose request it is.
    pub flags: InFlightFlags,
    /// The client; [`Endpoint::NONE`] for the service itself. Of several that share the request, the first.
    pub client: Endpoint,
    /// The minor that the client named; -1 for the service itself.
    pub minor: Minor,
    /// The service's number of it.
    pub tag: u16,
    /// Requests of clients that share it.
    pub clients: u16,
    /// How often it was given to the device before.
    pub replays: u32,
}

layout!(InFlightRequest, 48 {
    age_us: u64 = 0,
    first: u64 = 8,
    sectors: u64 = 16,
    kind: Kind = 24,
    flags: InFlightFlags = 28,
    client: Endpoint = 32,
    minor: Minor = 36,
    tag: u16 = 40,
    clients: u16 = 42,
    replays: u32 = 44,
});

/// The argument of [`VBLKQUEUE`](crate::ioctl::IoctlCode::VBLKQUEUE).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct QueueReport {
    /// The start of the report.
    pub header: ReportHeader,
    /// When the report was made, in microseconds.
    pub now_us: u64,
    /// The ring.
    pub ring: QueueState,
    /// Requests of clients that are not answered. The one that asks is not among them.
    pub unanswered: u32,
    /// How many device requests are in flight.
    pub count: u32,
    /// These; zeroes after them.
    pub in_flight: [InFlightRequest; IN_FLIGHT],
}

layout!(QueueReport, 3120 {
    header: ReportHeader = 0,
    now_us: u64 = 8,
    ring: QueueState = 16,
    unanswered: u32 = 40,
    count: u32 = 44,
    in_flight: [InFlightRequest; IN_FLIGHT] = 48,
});
