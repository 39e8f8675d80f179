//! What a run is made of: a device and its driver, and steps of clients, device and time.

use virtio_blk_model::faults::FaultKind;
use virtio_blk_model::{CompletionOrder, StartFault, UsedLength};

/// Microseconds the device may take for a request.
pub(crate) const TIMEOUT: u64 = 1_000_000;
/// Sectors at the start of the disk that no client writes: the partition table.
pub(crate) const TABLE_SECTORS: u64 = 8;
/// Sectors the disk has at most, after any resize.
pub(crate) const MOST_SECTORS: u64 = 512;

/// The device and the options of its driver.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) legacy: bool,
    pub(crate) withdrawn: u64,
    /// Descriptors that the device offers, and that the driver asks for.
    pub(crate) queue: u32,
    pub(crate) driver_queue: u16,
    pub(crate) seg_max: u32,
    pub(crate) size_max: Option<u32>,
    pub(crate) block_bytes: u32,
    pub(crate) sectors: u64,
    pub(crate) read_only: bool,
    pub(crate) order: CompletionOrder,
    /// It serves requests inside the doorbell, at any pace.
    pub(crate) on_notify: bool,
    pub(crate) used_length: UsedLength,
    /// It takes one data descriptor and does not say so.
    pub(crate) one_descriptor: bool,
    pub(crate) failed_flush_forgets: bool,
    /// Blocks that it discards, zeroes or erases at a time.
    pub(crate) range_blocks: u32,
    /// Pages of memory that the driver can have.
    pub(crate) pages: usize,
    pub(crate) depth: u16,
    pub(crate) reads_before_write: u8,
    pub(crate) flush_after: u64,
    pub(crate) replays: u8,
    /// Ranges that the kernel finds at a time.
    pub(crate) ranges_at_once: usize,
}

impl World {
    pub(crate) const fn offers(&self, bit: u64) -> bool {
        self.withdrawn & bit == 0
    }

    pub(crate) const fn block_sectors(&self) -> u64 {
        self.block_bytes as u64 / 512
    }

    /// Base and length of the partitions of minor 1 and 2, in sectors. Only where a table counts sectors for certain.
    pub(crate) fn partitions(&self) -> Option<[(u64, u64); 2]> {
        let middle = self.sectors / 2;
        let parts = [(TABLE_SECTORS, middle - TABLE_SECTORS), (middle, self.sectors - middle)];
        (self.block_bytes == 512).then_some(parts)
    }
}

/// How the pages of a buffer lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Contiguous,
    Scattered,
    /// Not there until they are touched.
    Untouched,
}

/// A read or a write.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) client: u8,
    pub(crate) minor: i32,
    pub(crate) write: bool,
    pub(crate) force: bool,
    /// The first sector, from the start of the minor.
    pub(crate) sector: u64,
    /// Sectors of each element; a single one is no vector.
    pub(crate) elements: Vec<u64>,
    pub(crate) layout: Layout,
    /// Where in its page each element starts.
    pub(crate) skew: u64,
}

/// What is done to a range of sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeKind {
    Discard,
    Zero { unmap: bool },
    Erase,
}

/// A range of sectors to be given up.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) client: u8,
    pub(crate) minor: i32,
    pub(crate) kind: RangeKind,
    /// Although a minor that overlaps it is open elsewhere.
    pub(crate) force: bool,
    /// The first sector, from the start of the minor.
    pub(crate) sector: u64,
    pub(crate) count: u64,
}

/// What the service is asked to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Info,
    Stat,
    Regs,
    Queue,
    Log,
    Version,
}

/// When the device works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once.
    Prompt,
    /// So many requests each so many microseconds.
    Every { micros: u64, requests: usize },
    /// Not at all.
    Stalled,
}

/// Which requests a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Any,
    Flush,
}

#[derive(Clone, Debug)]
pub(crate) enum PlanStep {
    Open {
        client: u8,
        minor: i32,
        write: bool,
    },
    Close {
        client: u8,
        minor: i32,
    },
    Transfer(Transfer),
    Flush {
        client: u8,
        minor: i32,
    },
    SetCache {
        client: u8,
        on: bool,
    },
    Range(Range),
    Report {
        client: u8,
        minor: i32,
        report: Report,
    },
    Pace(Pace),
    Faults {
        target: Target,
        kind: FaultKind,
        times: u32,
    },
    /// The device takes requests and keeps them.
    Hold(usize),
    /// The device serves all requests it has kept, lost ones included.
    Return,
    NeedsReset,
    Starts {
        fault: StartFault,
        times: u32,
    },
    HoldResets(bool),
    ResetReads(u32),
    Restless(bool),
    Resize(u64),
    ReadOnly(bool),
    Spurious(u32),
    /// From here on the device keeps to the rules.
    Honest,
    /// Time passes, at least as much as one round of the service takes.
    Pass(u64),
}

/// What a run is about. Each run has a few themes, so that they meet in all combinations and some runs are without any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    /// A device that is slow but never fails.
    Slow,
    /// Requests that fail.
    Errors,
    /// Flushes that fail.
    Flushes,
    /// Requests that are late or lost.
    Loss,
    /// Ids, indices and lengths that are wrong.
    Lies,
    /// The device asks for resets.
    Resets,
    /// Starts that fail.
    Starts,
    /// A device that asks for a reset, or lies, at every start.
    Storm,
    /// Resets that take long or do not begin.
    Stuck,
    /// A configuration that does not stand still.
    Restless,
    /// The disk grows and shrinks.
    Resize,
    /// The disk comes back read-only.
    ReadOnly,
    /// Clients open and close all the time.
    Opens,
}

impl Theme {
    pub(crate) const ALL: [Self; 13] = [
        Self::Slow,
        Self::Errors,
        Self::Flushes,
        Self::Loss,
        Self::Lies,
        Self::Resets,
        Self::Starts,
        Self::Storm,
        Self::Stuck,
        Self::Restless,
        Self::Resize,
        Self::ReadOnly,
        Self::Opens,
    ];
}
