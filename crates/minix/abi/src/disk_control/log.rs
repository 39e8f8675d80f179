//! What happened: `VBLKLOG`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::ReportHeader;

/// Events in a [`LogReport`] at most.
pub const EVENTS: usize = 64;

codes! {
    /// What happened. In brackets: what [`Event::first`], [`Event::second`], [`Event::count`] and [`Event::code`] tell; those not named
    /// are zero.
    pub struct EventKind(u16) {
        /// A device request was too late (first sector, sectors, `count`: how often it was tried before, `code`: its
        /// [`Kind`](super::Kind)).
        TIMED_OUT = 1,
        /// More were too late at the same time (`count`: how many).
        MORE_TIMED_OUT = 2,
        /// The device needs a reset (`count`: requests in it, `code`: the [`ResetReason`]).
        RESET = 3,
        /// A reset has worked (`count`: device requests that it has lost).
        RESET_WORKED = 4,
        /// A reset has failed (`count`: the how many-th in a row).
        RESET_FAILED = 5,
        /// The device is given up (first: resets after which it completed nothing, second: how many of the last resets failed).
        GIVEN_UP = 6,
        /// A request was lost so often that its client gets an error (first sector, sectors, `count`: how often it was lost, `code`:
        /// its [`Kind`](super::Kind)).
        REQUEST_GIVEN_UP = 7,
        /// A flush has failed (first: the milliseconds whose writes may not be durable).
        FLUSH_FAILED = 8,
        /// The device broke the rules of the virtqueue, or is gone (first: the index or id it wrote, `code`: the [`FaultCode`]).
        FAULT = 9,
        /// The capacity has changed (first: sectors now, second: sectors before).
        RESIZED = 10,
        /// A message was refused: it is no request (first: its type, `code`: nothing, `count`: the sender's endpoint, as bits).
        REFUSED = 11,
        /// An interrupt of the device was found lost: it is looked at every tick.
        INTERRUPT_LOST = 12,
        /// Interrupts come again (first: requests that were found completed without one).
        INTERRUPTS_AGAIN = 13,
        /// The device does not start again after a reset.
        NOT_STARTED = 14,
    }
}

codes! {
    /// Why a device needs a reset.
    pub struct ResetReason(u16) {
        /// It completes nothing.
        QUIET = 1,
        /// It has lost a request: later ones are completed.
        LOST_REQUEST = 2,
        /// It breaks the rules, or has interrupted to ask for a reset.
        BROKEN = 3,
        /// It asks for a reset without an interrupt, or is gone.
        NOT_ALIVE = 4,
        /// It takes no requests although it has room.
        TAKES_NOTHING = 5,
        /// It takes no flush.
        TAKES_NO_FLUSH = 6,
    }
}

codes! {
    /// How a device broke the rules of the virtqueue.
    pub struct FaultCode(u16) {
        /// The used index ran back, or beyond what it had.
        INDEX_JUMP = 1,
        /// A used id is no descriptor.
        ID_OUT_OF_RANGE = 2,
        /// A used id is not in flight.
        NOT_IN_FLIGHT = 3,
        /// There is no device any more.
        GONE = 4,
        /// The device asks for a reset.
        NEEDS_RESET = 5,
    }
}

/// Something that happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Event {
    /// When, in microseconds.
    pub time_us: u64,
    /// See [`EventKind`].
    pub first: u64,
    /// See [`EventKind`].
    pub second: u64,
    /// What happened.
    pub kind: EventKind,
    /// See [`EventKind`].
    pub code: u16,
    /// See [`EventKind`].
    pub count: u32,
}

layout!(Event, 32 {
    time_us: u64 = 0,
    first: u64 = 8,
    second: u64 = 16,
    kind: EventKind = 24,
    code: u16 = 26,
    count: u32 = 28,
});

impl Event {
    /// An event with no numbers. Its time is zero.
    pub const fn new(kind: EventKind) -> Self {
        Self {
            time_us: 0,
            first: 0,
            second: 0,
            kind,
            code: 0,
            count: 0,
        }
    }
}

/// The argument of [`VBLKLOG`](crate::ioctl::IoctlCode::VBLKLOG): the last events, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LogReport {
    /// The start of the report.
    pub header: ReportHeader,
    /// When the report was made, in microseconds.
    pub now_us: u64,
    /// Events before these, which are lost.
    pub lost: u64,
    /// How many events there are.
    pub count: u32,
    /// Nothing.
    pub reserved: u32,
    /// The events; zeroes after them.
    pub events: [Event; EVENTS],
}

layout!(LogReport, 2080 {
    header: ReportHeader = 0,
    now_us: u64 = 8,
    lost: u64 = 16,
    count: u32 = 24,
    reserved: u32 = 28,
    events: [Event; EVENTS] = 32,
});
