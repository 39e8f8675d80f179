//! What the adapter asks of the disk it serves.
//!
//! The adapter knows sectors, segments and tags; what kind of device moves them is the business of the implementer.

use core::fmt;

use minix_abi::kernel_call::GrantedRange;

/// Bytes of a sector, the unit of positions on the device, whatever its block size.
pub const SECTOR_BYTES: u64 = 512;

/// Cylinders, heads and sectors, as a disk may tell of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: u32,
    /// Heads, which is tracks of a cylinder.
    pub heads: u32,
    /// Sectors of a track.
    pub sectors: u32,
}

/// What a live disk is and takes. May change over time; the adapter asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DiskInfo {
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// Bytes of a block, 512 or a larger power of two: positions and lengths are multiples of it.
    pub block_bytes: u32,
    /// It cannot be written.
    pub read_only: bool,
    /// It has a flush command.
    pub can_flush: bool,
    /// Writes that are completed may linger in a volatile cache.
    pub write_cache: bool,
    /// Segments in one request at most, at least one.
    pub max_segments: u16,
    /// Its own geometry, if it has one.
    pub geometry: Option<Geometry>,
}

impl DiskInfo {
    /// Whether completed writes may linger in a volatile cache until they are flushed.
    pub(crate) const fn needs_flushes(&self) -> bool {
        self.write_cache && self.can_flush
    }
}

/// The name the adapter gives a request while the device has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Tag(pub u16);

/// The memory of a request: whole blocks in sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a, R> {
    /// Memory of clients, in this order.
    Granted(&'a [R]),
    /// So many bytes from the start of a block of staging memory.
    Bounce(StagingBlock, usize),
}

/// A request to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRequest<'a, R> {
    /// Fill the memory from this sector on.
    Read {
        /// The first sector.
        first: u64,
        /// Where the data goes.
        data: Data<'a, R>,
    },
    /// Write the memory from this sector on.
    Write {
        /// The first sector.
        first: u64,
        /// Where the data is.
        data: Data<'a, R>,
    },
    /// Make every write that was completed so far durable.
    Flush,
}

/// Why the device did not take a request. Nothing of it has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// No room: offer it again after a completion.
    Full,
    /// A block of the data lies in more pieces than the device takes, or at an address it cannot be given: copy it
    /// together in staging memory.
    Unreachable,
    /// It makes no sense to the device: past its end (after a shrink), not whole blocks, a write to a read-only disk.
    Invalid,
    /// The device does not do that.
    Unsupported,
    /// The device needs a [reset](BlockDevice::reset).
    Broken,
}

/// How a request failed that the device had taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DeviceError {
    /// An input or output error.
    Io,
    /// The device does not do that.
    Unsupported,
}

/// The device broke its rules or stopped working: only a [reset](BlockDevice::reset) helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the device needs a reset")
    }
}

impl core::error::Error for Broken {}

/// A piece of staging memory, by number. See [`BlockDevice::staging`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StagingBlock(pub u8);

/// Bytes of a block of staging memory: a whole number of blocks of every disk.
pub const STAGING_BYTES: usize = 16 << 10;

/// A disk that works on several requests at a time.
///
/// Nothing here waits, except that [`reset`](Self::reset) is allowed a bounded poll.
///
/// An implementer looks after memory itself, whatever order its methods are called in: it takes memory of clients as
/// [ranges](Self::Range) that cannot be made from numbers, and lends out a block of staging memory only while no request in
/// flight uses it. So nothing that is done with a disk in safe code lets the device write to memory of this program.
pub trait BlockDevice {
    /// A range of a client's memory, as the [`Kernel`](crate::Kernel) has found it.
    type Range: GrantedRange;

    /// What the disk is and takes; `None` while it is not live: it needs a [reset](Self::reset), or did not start again after
    /// one. Until it is live again, [`submit`](Self::submit) and [`poll`](Self::poll) say that it is broken.
    fn info(&self) -> Option<DiskInfo>;

    /// Takes a request. The device learns of it with the next [`notify`](Self::notify). `tag` is not in use.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    fn submit(&mut self, request: DeviceRequest<'_, Self::Range>, tag: Tag) -> Result<(), Refusal>;

    /// Shows the device what was submitted.
    fn notify(&mut self);

    /// Hands every finished request to `done`: its tag, once, and how it went.
    ///
    /// # Errors
    ///
    /// [`Broken`]; what was not handed over by then never is, until the reset forgets it.
    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), DeviceError>)) -> Result<(), Broken>;

    /// How much the device has finished since it was started, counting parts of requests for a disk that gives the device a
    /// request in parts. It changes with each of them; its size means nothing. A disk that hands every request over as a whole need
    /// not tell.
    fn parts_finished(&self) -> u64 {
        0
    }

    /// Resets the device and starts it again. What it had finished before that and no poll has handed over goes to `done`, as
    /// in a [`poll`](Self::poll). Afterwards it has forgotten every other request and touches no memory on behalf of one;
    /// their tags are free. Staging memory keeps its content.
    ///
    /// # Errors
    ///
    /// [`Broken`] if it does not come back. Nothing may be submitted then, and what was in flight and was not handed over may
    /// still be worked on. The next reset may hand it over.
    fn reset(&mut self, done: &mut dyn FnMut(Tag, Result<(), DeviceError>)) -> Result<(), Broken>;

    /// Looks whether the device is alive, which costs no more than a read of one register. It is not if it asks for a reset,
    /// or is gone. A device that only polls would not tell otherwise.
    fn is_alive(&mut self) -> bool;

    /// Switches the write cache; nothing is in flight.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unsupported`] if the device has no such switch, [`Refusal::Broken`] if it needs a reset first.
    fn set_write_cache(&mut self, on: bool) -> Result<(), Refusal>;

    /// How many blocks of staging memory there are: memory of the service that the device can reach.
    fn staging_blocks(&self) -> u8;

    /// The bytes of a staging block, or `None` if there is no such block or a request in flight uses it.
    fn staging(&mut self, block: StagingBlock) -> Option<&mut [u8; STAGING_BYTES]>;
}
