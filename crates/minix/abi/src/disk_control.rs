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
//! What needs nothing is answered at once: ahead of requests that came before, during a reset, and for a device that is given up. All
//! of them want a minor that was opened, as every request does.
//!
//! Numbers are little-endian. Times are microseconds of the service's clock, which starts at no particular time.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Endpoint;
use crate::minor::{DEVICES_PER_DRIVE, Minor, SUB_PARTITIONS_PER_DRIVE};

/// The version of the structures here.
pub const VERSION: u32 = 1;

/// Bytes of a sector, the unit of [`RangeRequest`] and of everything that is counted in sectors.
pub const SECTOR_BYTES: u64 = 512;

/// The minors of one disk: the whole, its partitions and their sub-partitions.
pub const MINORS: usize = (DEVICES_PER_DRIVE + SUB_PARTITIONS_PER_DRIVE) as usize;

/// Buckets of a latency histogram.
pub const BUCKETS: usize = 32;

/// Registers in a [`RegisterReport`] at most.
pub const REGISTERS: usize = 16;

/// Device requests in a [`QueueReport`] at most.
pub const IN_FLIGHT: usize = 64;

/// Events in a [`LogReport`] at most.
pub const EVENTS: usize = 64;

/// The start of each report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ReportHeader {
    /// [`VERSION`] of the service.
    pub version: u32,
    /// Bytes of the whole report.
    pub bytes: u32,
}

layout!(ReportHeader, 8 {
    version: u32 = 0,
    bytes: u32 = 4,
});

impl ReportHeader {
    /// The start of the report `T`.
    pub const fn of<T>() -> Self {
        Self {
            version: VERSION,
            bytes: size_of::<T>() as u32,
        }
    }

    /// Whether this starts a report `T` of this version.
    pub const fn is_of<T>(&self) -> bool {
        self.version == VERSION && self.bytes as usize == size_of::<T>()
    }
}

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

/// A register and its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegisterValue {
    /// Its name in the VirtIO specification, with zeroes after it.
    pub name: [u8; 24],
    /// What was read.
    pub value: u64,
}

layout!(RegisterValue, 32 {
    name: [u8; 24] = 0,
    value: u64 = 24,
});

impl RegisterValue {
    /// A register; a longer name is cut.
    pub fn new(name: &str, value: u64) -> Self {
        let mut register = Self { name: [0; 24], value };
        for (place, byte) in register.name.iter_mut().zip(name.bytes()) {
            *place = byte;
        }
        register
    }

    /// The name, as far as it is text.
    pub fn name(&self) -> &str {
        name_in(&self.name)
    }
}

/// The argument of [`VBLKREGS`](crate::ioctl::IoctlCode::VBLKREGS): the registers that can be read without an effect on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegisterReport {
    /// The start of the report.
    pub header: ReportHeader,
    /// Physical address of the registers.
    pub address: u64,
    /// How many registers there are.
    pub count: u32,
    /// Nothing.
    pub reserved: u32,
    /// The registers; zeroes after them.
    pub registers: [RegisterValue; REGISTERS],
}

layout!(RegisterReport, 536 {
    header: ReportHeader = 0,
    address: u64 = 8,
    count: u32 = 16,
    reserved: u32 = 20,
    registers: [RegisterValue; REGISTERS] = 24,
});

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

codes! {
    /// What happened. In brackets: what [`Event::first`], [`Event::second`], [`Event::count`] and [`Event::code`] tell; those not named
    /// are zero.
    pub struct EventKind(u16) {
        /// A device request was too late (first sector, sectors, `count`: how often it was tried before, `code`: its [`Kind`]).
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
        /// its [`Kind`]).
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
/// A client of another version is answered with [`EINVAL`](crate::Errno::EINVAL), and so is an unknown flag. After that, in this order:
/// [`EIO`](crate::Errno::EIO) if the device is given up, [`EACCES`](crate::Errno::EACCES) if it is read-only,
/// [`EOPNOTSUPP`](crate::Errno::EOPNOTSUPP) if it does not have the command, [`EINVAL`](crate::Errno::EINVAL) for a range that is
/// empty, outside of the minor, or not whole blocks of the disk, [`EBUSY`](crate::Errno::EBUSY) without [`FORCE`](RangeFlags::FORCE)
/// if this minor is open more than once, or another one that overlaps it is open. Then it is the device's turn. An error of it is
/// [`EIO`](crate::Errno::EIO), or [`EOPNOTSUPP`](crate::Errno::EOPNOTSUPP) if it says so; a part of the range may be done.
///
/// The device has the [time-out](DiskHead::timeout_ms) for each part that it takes at once, not for the range. It is tried again
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
