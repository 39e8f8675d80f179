//! What the adapter asks of the disk it serves.
//!
//! The adapter knows sectors, segments and tags; what kind of device moves them is the business of the implementer.

use core::fmt;

use minix_abi::disk_control::{DiskHead, Event, QueueState, RangeLimit, StatCounts};
use minix_abi::kernel_call::{GrantedRange, MAX_RANGES};

use crate::statistics::Kind;
use crate::transfer::together::Together;

/// Bytes of a sector, the unit of positions on the device for every block size.
pub const SECTOR_BYTES: u64 = 512;

/// Cylinders, heads and sectors, as a disk may report them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: u32,
    /// Heads: tracks of a cylinder.
    pub heads: u32,
    /// Sectors of a track.
    pub sectors: u32,
}

/// Properties and limits of a live disk. They may change over time; the adapter asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskInfo {
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// Bytes of a block, 512 or a larger power of two: positions and lengths are multiples of it.
    pub block_bytes: u32,
    /// It cannot be written.
    pub read_only: bool,
    /// It has a flush command.
    pub can_flush: bool,
    /// Completed writes may stay in a volatile cache.
    pub write_cache: bool,
    /// Segments in one request at most, at least one.
    pub max_segments: u16,
    /// Bytes in one segment at most, at least one.
    pub max_segment_bytes: u32,
    /// Its own geometry, if it has one.
    pub geometry: Option<Geometry>,
    /// Its write cache can be [switched](BlockDevice::set_write_cache).
    pub cache_switch: bool,
    /// Limits of [`RangeOperation::Discard`], if it can do that.
    pub discard: Option<RangeLimit>,
    /// Limits of [`RangeOperation::WriteZeroes`], if it can do that.
    pub write_zeroes: Option<RangeLimit>,
    /// Writing zeroes may give storage back.
    pub zeroes_unmap: bool,
    /// Limits of [`RangeOperation::Erase`], if it can do that.
    pub secure_erase: Option<RangeLimit>,
    /// It knows how worn it is: [`DeviceRequest::AskLifetime`].
    pub lifetime: bool,
}

impl DiskInfo {
    /// Whether completed writes may stay in a volatile cache until they are flushed.
    pub(crate) const fn needs_flushes(&self) -> bool {
        self.write_cache && self.can_flush
    }

    /// Limits of an operation on a range, if the disk can do that.
    pub(crate) const fn range_limit(&self, operation: RangeOperation) -> Option<RangeLimit> {
        match operation {
            RangeOperation::Discard => self.discard,
            RangeOperation::WriteZeroes { .. } => self.write_zeroes,
            RangeOperation::Erase => self.secure_erase,
        }
    }

    /// Bytes of the disk that requests can reach: whole blocks.
    pub(crate) const fn capacity(&self) -> u64 {
        let most = u64::MAX / SECTOR_BYTES;
        let sectors = if self.sectors < most { self.sectors } else { most };
        whole_blocks(sectors * SECTOR_BYTES, self.block())
    }

    /// Bytes of a block, a power of two. A disk that claims nonsense gets 512.
    pub(crate) const fn block(&self) -> u64 {
        let block = self.block_bytes as u64;
        if block >= SECTOR_BYTES && block.is_power_of_two() {
            block
        } else {
            SECTOR_BYTES
        }
    }
}

/// What transfers have to keep to on a disk, worked out from its [`DiskInfo`]. A disk that claims nonsense has limits that make
/// sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferLimits {
    /// Bytes of the disk that requests can reach.
    pub(crate) capacity: u64,
    /// Bytes of a block, a power of two.
    pub(crate) block: u64,
    /// Segments in one request at most, from 1 to [`MAX_RANGES`].
    pub(crate) segments: usize,
    /// Bytes in one segment at most, at least one.
    pub(crate) segment_bytes: u64,
    /// Completed writes may stay in a volatile cache until they are flushed.
    pub(crate) needs_flushes: bool,
}

impl TransferLimits {
    /// The limits of a disk.
    pub fn of(disk: &DiskInfo) -> Self {
        Self {
            capacity: disk.capacity(),
            block: disk.block(),
            segments: usize::from(disk.max_segments).clamp(1, MAX_RANGES),
            segment_bytes: u64::from(disk.max_segment_bytes.max(1)),
            needs_flushes: disk.needs_flushes(),
        }
    }
}

/// `bytes` without a last block that is not whole. `block` is a power of two; no division is needed.
pub(crate) const fn whole_blocks(bytes: u64, block: u64) -> u64 {
    bytes & !(block - 1)
}

/// The name the adapter gives a request while the device has it: a small number, less than the jobs of its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub u16);

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the disk.
    Read,
    /// To the disk.
    Write,
}

/// The memory of a request: whole blocks in sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Memory of clients: the ranges that were [listed](BlockDevice::list_ranges) for the tag, within
    /// [`max_segments`](DiskInfo::max_segments) and [`max_segment_bytes`](DiskInfo::max_segment_bytes).
    Granted,
    /// This many bytes from the start of a bounce buffer. The limits do not apply: the disk splits them if it has to.
    Bounce(BounceBuffer, usize),
}

/// What is done to sectors without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeOperation {
    /// Their content is not needed any more, and is undefined afterwards.
    Discard,
    /// They read as zeroes afterwards.
    WriteZeroes {
        /// The device may give their storage back.
        may_unmap: bool,
    },
    /// Their content is made unrecoverable.
    Erase,
}

/// A request to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRequest {
    /// Move data between memory and the sectors from `first` on.
    Transfer {
        /// Whether the disk or the memory is written.
        direction: Direction,
        /// The first sector.
        first: u64,
        /// The memory.
        data: Data,
    },
    /// Make every write that was completed so far durable.
    Flush,
    /// Work on whole blocks without data. The limits of [`DiskInfo`] do not apply: the disk splits the range if it has to.
    Range {
        /// What is done.
        operation: RangeOperation,
        /// The first sector.
        first: u64,
        /// How many sectors, at least one.
        sectors: u64,
    },
    /// Ask the device for its identification string, which [`BlockDevice::describe`] tells afterwards.
    Identify,
    /// Ask the device how worn it is, which [`BlockDevice::describe`] tells afterwards.
    AskLifetime,
}

/// What became of the requests of one kind that the device has had, over all resets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// Those that are over, well or not.
    pub operations: u64,
    /// Bytes of those that succeeded.
    pub bytes: u64,
    /// Those that failed.
    pub errors: u64,
}

/// Why the device did not take a request. Nothing of it has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room: offer it again after a completion.
    Full,
    /// A block of the data lies in more pieces than the device takes, or at an address it cannot be given: use a bounce
    /// buffer.
    Unreachable,
    /// The request makes no sense to the device: past its end (after a shrink), not whole blocks, a write to a read-only disk.
    Invalid,
    /// The device does not do that.
    Unsupported,
    /// The device needs a [reset](BlockDevice::reset).
    Broken,
}

/// How a request failed that the device had taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// An input or output error.
    Io,
    /// The device does not do that.
    Unsupported,
}

/// The device broke its rules or stopped working: only a [reset](BlockDevice::reset) helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the device needs a reset")
    }
}

impl core::error::Error for Broken {}

/// How completions are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// By polling alone: the device need not interrupt.
    Polled,
    /// By interrupt: each [poll](BlockDevice::poll) leaves the device asked to interrupt at the next completion, and has
    /// handed over all completions so far.
    Interrupts,
}

/// A bounce buffer, by number. See [`BlockDevice::bounce_buffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BounceBuffer(pub u8);

/// Bytes of a bounce buffer: a whole number of blocks of every disk.
pub const BOUNCE_BYTES: usize = 16 << 10;

/// A disk that works on several requests at a time.
///
/// Nothing here waits, except that [`reset`](Self::reset) is allowed a bounded poll.
///
/// An implementer keeps memory safe for every order of calls: it takes memory of clients as
/// [ranges](Self::Range) that cannot be made from numbers, and lends out a bounce buffer only while no request in
/// flight uses it. So nothing that is done with a disk in safe code lets the device write to memory of this program.
pub trait BlockDevice {
    /// A range of a client's memory, as the [`Kernel`](crate::Kernel) has found it.
    type Range: GrantedRange;

    /// Properties and limits of the disk; `None` while it is not live: it needs a [reset](Self::reset), or did not start again
    /// after one. Until it is live again, [`submit`](Self::submit) and [`poll`](Self::poll) report a broken disk.
    fn info(&self) -> Option<&DiskInfo>;

    /// The [limits](TransferLimits::of) that follow from [`info`](Self::info). Every transfer asks for them, so an implementer
    /// may keep them.
    fn limits(&self) -> Option<TransferLimits> {
        self.info().map(TransferLimits::of)
    }

    /// Says how completions will be found from the next poll on.
    fn listen(&mut self, how: Listen);

    /// The device has interrupted. The next poll follows that up and acknowledges it.
    fn interrupted(&mut self);

    /// Acknowledges an interrupt that no poll has followed up, because the device is given up or not reset yet. What
    /// the device has completed waits for the reset.
    fn dismiss_interrupt(&mut self);

    /// Lists the memory of clients for the next request with `tag`, which is not in use: these ranges, in this order, at most
    /// [`MAX_RANGES`]. Answers what they have in common, so that the walk that copies them is the one that checks them. A list lasts
    /// until the next one for the tag, or until its request is completed.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`] if there is no room for a list, [`Refusal::Invalid`] if it is too long, or a range in it is.
    fn list_ranges(&mut self, tag: Tag, ranges: &[Self::Range]) -> Result<Together, Refusal>;

    /// Takes a request. The device learns of it with the next [`notify`](Self::notify). `tag` is not in use.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    fn submit(&mut self, request: DeviceRequest, tag: Tag) -> Result<(), Refusal>;

    /// Tells the device of what was submitted.
    fn notify(&mut self);

    /// Whether a [poll](Self::poll) may find or do anything. `false` is certain, and takes no more than a look at memory.
    fn needs_poll(&self) -> bool {
        true
    }

    /// Hands every completed request to `done`: its tag, once, and the result. Returns whether the device has completed anything
    /// since the last poll, be it a part of a request that the disk has split.
    ///
    /// # Errors
    ///
    /// [`Broken`]. Requests that were not handed over before stay in flight, until a reset hands them over or forgets them.
    fn poll(&mut self, done: impl FnMut(Tag, Result<(), DeviceError>)) -> Result<bool, Broken>;

    /// Resets the device and starts it again. Earlier completions that no poll has handed over go to `done`,
    /// as in a [`poll`](Self::poll). Afterwards it has forgotten every other request and touches no memory on behalf of one;
    /// their tags are free. Bounce buffers keep their content.
    ///
    /// # Errors
    ///
    /// [`Broken`] if it does not come back. Nothing may be submitted then, and what was in flight and was not handed over may
    /// still be worked on. The next reset may hand it over.
    fn reset(&mut self, done: &mut dyn FnMut(Tag, Result<(), DeviceError>)) -> Result<(), Broken>;

    /// Looks whether the device is alive, which costs no more than a read of one register. It is not if it asks for a reset,
    /// or is gone. A device that is only polled would not tell otherwise.
    fn is_alive(&mut self) -> bool;

    /// Switches the write cache; nothing is in flight.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unsupported`] if the device has no such switch, [`Refusal::Broken`] if it needs a reset first.
    fn set_write_cache(&mut self, on: bool) -> Result<(), Refusal>;

    /// Fills in what only the device knows: its address, interrupt line and interface, its features, the virtqueue, and the answers
    /// to [`Identify`](DeviceRequest::Identify) and [`AskLifetime`](DeviceRequest::AskLifetime).
    fn describe(&self, _disk: &mut DiskHead) {}

    /// Shows the registers that can be read without an effect on the device, by name. It may be live or not.
    fn visit_registers(&self, _visit: &mut dyn FnMut(&'static str, u64)) {}

    /// The state of the virtqueue, also of one that was left; all zeroes if there is none.
    fn ring(&self) -> QueueState {
        QueueState::default()
    }

    /// Fills in what only the device counts: notifications, interrupts, faults.
    fn count(&self, _counts: &mut StatCounts) {}

    /// What became of the requests of a kind.
    fn operations(&self, _kind: Kind) -> Operations {
        Operations::default()
    }

    /// Takes the next event that the adapter does not see by itself, such as a new size. Its time is set by the adapter.
    fn take_event(&mut self) -> Option<Event> {
        None
    }

    /// How many bounce buffers there are: memory of the service that the device can reach.
    fn bounce_buffers(&self) -> u8;

    /// The bytes of a bounce buffer, or `None` if there is no such buffer or a request in flight uses it.
    fn bounce_buffer(&mut self, buffer: BounceBuffer) -> Option<&mut [u8; BOUNCE_BYTES]>;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A disk that can do everything.
    pub(crate) const fn disk(sectors: u64) -> DiskInfo {
        let limit = RangeLimit {
            sectors: 100,
            ranges: 1,
            alignment: 8,
        };
        DiskInfo {
            sectors,
            block_bytes: 512,
            read_only: false,
            can_flush: true,
            write_cache: true,
            max_segments: 64,
            max_segment_bytes: u32::MAX,
            geometry: None,
            cache_switch: true,
            discard: Some(limit),
            write_zeroes: Some(limit),
            zeroes_unmap: true,
            secure_erase: Some(limit),
            lifetime: true,
        }
    }
}
