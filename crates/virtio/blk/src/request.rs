//! What a caller asks for and what comes back.

use virtio_blk_proto::zoned::ZoneId;
use virtio_blk_proto::{DeviceIdString, Lifetime, Sector};
use virtio_core::{DmaSegments, Segment};

use crate::{IoError, SubmitError};

/// A range of sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SectorRange {
    /// The first one.
    pub first: Sector,
    /// How many.
    pub sectors: u64,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Operation {
    /// Fill the buffer from this sector on.
    Read(Sector),
    /// Write the buffer from this sector on.
    Write(Sector),
    /// Make every write completed so far durable (`BLK-N-13`).
    Flush,
    /// The content of the range is not needed any more; what it reads as afterwards is undefined (`BLK-D-25`).
    Discard(SectorRange),
    /// Let the range read as zeroes.
    WriteZeroes {
        /// Which sectors.
        range: SectorRange,
        /// Whether the device may give the storage back.
        may_unmap: bool,
    },
    /// Make the content of the range unrecoverable.
    SecureErase(SectorRange),
    /// Ask for the identification string.
    Identify,
    /// Ask for the wear estimate.
    Lifetime,
    /// Describe zones in the buffer, from the zone that holds this sector on.
    ReportZones(Sector),
    /// Write the buffer at the write pointer of the zone.
    Append(ZoneId),
    /// Open the zone explicitly, so that the device keeps it open.
    OpenZone(ZoneId),
    /// Close the zone: it is not open any more, but still active.
    CloseZone(ZoneId),
    /// Finish the zone: it is full, and can only be read.
    FinishZone(ZoneId),
    /// Reset the zone: its content is gone, and it can be written from its start on.
    ResetZone(ZoneId),
    /// Reset all zones that can be reset.
    ResetAllZones,
}

/// The kinds of operations, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OperationKind {
    /// [`Operation::Read`]
    Read,
    /// [`Operation::Write`]
    Write,
    /// [`Operation::Flush`]
    Flush,
    /// [`Operation::Discard`]
    Discard,
    /// [`Operation::WriteZeroes`]
    WriteZeroes,
    /// [`Operation::SecureErase`]
    SecureErase,
    /// [`Operation::Identify`]
    Identify,
    /// [`Operation::Lifetime`]
    Lifetime,
    /// [`Operation::ReportZones`]
    ReportZones,
    /// [`Operation::Append`]
    Append,
    /// [`Operation::OpenZone`]
    OpenZone,
    /// [`Operation::CloseZone`]
    CloseZone,
    /// [`Operation::FinishZone`]
    FinishZone,
    /// [`Operation::ResetZone`]
    ResetZone,
    /// [`Operation::ResetAllZones`]
    ResetAllZones,
}

impl OperationKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Read,
        Self::Write,
        Self::Flush,
        Self::Discard,
        Self::WriteZeroes,
        Self::SecureErase,
        Self::Identify,
        Self::Lifetime,
        Self::ReportZones,
        Self::Append,
        Self::OpenZone,
        Self::CloseZone,
        Self::FinishZone,
        Self::ResetZone,
        Self::ResetAllZones,
    ];

    /// A short lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::WriteZeroes => "write-zeroes",
            Self::SecureErase => "secure-erase",
            Self::Identify => "identify",
            Self::Lifetime => "lifetime",
            Self::ReportZones => "report-zones",
            Self::Append => "append",
            Self::OpenZone => "open-zone",
            Self::CloseZone => "close-zone",
            Self::FinishZone => "finish-zone",
            Self::ResetZone => "reset-zone",
            Self::ResetAllZones => "reset-all-zones",
        }
    }
}

impl Operation {
    /// What kind it is.
    pub const fn kind(&self) -> OperationKind {
        match self {
            Self::Read(_) => OperationKind::Read,
            Self::Write(_) => OperationKind::Write,
            Self::Flush => OperationKind::Flush,
            Self::Discard(_) => OperationKind::Discard,
            Self::WriteZeroes { .. } => OperationKind::WriteZeroes,
            Self::SecureErase(_) => OperationKind::SecureErase,
            Self::Identify => OperationKind::Identify,
            Self::Lifetime => OperationKind::Lifetime,
            Self::ReportZones(_) => OperationKind::ReportZones,
            Self::Append(_) => OperationKind::Append,
            Self::OpenZone(_) => OperationKind::OpenZone,
            Self::CloseZone(_) => OperationKind::CloseZone,
            Self::FinishZone(_) => OperationKind::FinishZone,
            Self::ResetZone(_) => OperationKind::ResetZone,
            Self::ResetAllZones => OperationKind::ResetAllZones,
        }
    }
}

/// A request: what to do, the memory it works on, and whose it is.
///
/// The driver owns buffer and owner token from submission to completion; both come back exactly once, whatever
/// happens.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Request<B, O> {
    pub(crate) operation: Operation,
    pub(crate) buffer: Option<B>,
    pub(crate) owner: O,
}

impl<B: DmaSegments, O> Request<B, O> {
    /// Fill `buffer` with what is at `first` and after it. Its length must be a multiple of the block size.
    pub fn read(first: Sector, buffer: B, owner: O) -> Self {
        Self::with_buffer(Operation::Read(first), buffer, owner)
    }

    /// Write `buffer` to `first` and after it. Its length must be a multiple of the block size.
    pub fn write(first: Sector, buffer: B, owner: O) -> Self {
        Self::with_buffer(Operation::Write(first), buffer, owner)
    }

    fn with_buffer(operation: Operation, buffer: B, owner: O) -> Self {
        Self {
            operation,
            buffer: Some(buffer),
            owner,
        }
    }

    /// Make every write completed before now durable.
    pub fn flush(owner: O) -> Self {
        Self::plain(Operation::Flush, owner)
    }

    /// Give up the content of `range`.
    pub fn discard(range: SectorRange, owner: O) -> Self {
        Self::plain(Operation::Discard(range), owner)
    }

    /// Fill `range` with zeroes, by unmapping it if the device likes and `may_unmap`.
    pub fn write_zeroes(range: SectorRange, may_unmap: bool, owner: O) -> Self {
        Self::plain(Operation::WriteZeroes { range, may_unmap }, owner)
    }

    /// Make the content of `range` unrecoverable.
    pub fn secure_erase(range: SectorRange, owner: O) -> Self {
        Self::plain(Operation::SecureErase(range), owner)
    }

    /// Ask for the identification string.
    pub fn identify(owner: O) -> Self {
        Self::plain(Operation::Identify, owner)
    }

    /// Ask for the wear estimate.
    pub fn lifetime(owner: O) -> Self {
        Self::plain(Operation::Lifetime, owner)
    }

    /// Describe zones in `buffer`, from the zone that holds `sector` on, as many as fit. Its length should be that of
    /// [`ZoneReport::bytes_for`](virtio_blk_proto::zoned::ZoneReport::bytes_for); after success
    /// [`ZoneReport::parse`](virtio_blk_proto::zoned::ZoneReport::parse) reads it.
    pub fn report_zones(sector: Sector, buffer: B, owner: O) -> Self {
        Self::with_buffer(Operation::ReportZones(sector), buffer, owner)
    }

    /// Write `buffer` at the write pointer of `zone`. [`Answer::Appended`] says where that was.
    ///
    /// Any number of appends to one zone can be in flight. Each is one device request, so its buffer must not have more
    /// bytes or pieces than the device takes at once.
    pub fn append(zone: ZoneId, buffer: B, owner: O) -> Self {
        Self::with_buffer(Operation::Append(zone), buffer, owner)
    }

    /// Open `zone` explicitly, so that the device keeps it open.
    pub fn open_zone(zone: ZoneId, owner: O) -> Self {
        Self::plain(Operation::OpenZone(zone), owner)
    }

    /// Close `zone`: it is not open any more, but still active.
    pub fn close_zone(zone: ZoneId, owner: O) -> Self {
        Self::plain(Operation::CloseZone(zone), owner)
    }

    /// Finish `zone`: it is full, and can only be read.
    pub fn finish_zone(zone: ZoneId, owner: O) -> Self {
        Self::plain(Operation::FinishZone(zone), owner)
    }

    /// Reset `zone`: its content is gone, and it can be written from its start on.
    pub fn reset_zone(zone: ZoneId, owner: O) -> Self {
        Self::plain(Operation::ResetZone(zone), owner)
    }

    /// Reset all zones that can be reset.
    pub fn reset_all_zones(owner: O) -> Self {
        Self::plain(Operation::ResetAllZones, owner)
    }

    fn plain(operation: Operation, owner: O) -> Self {
        Self {
            operation,
            buffer: None,
            owner,
        }
    }

    /// What it does.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Bytes of its buffer.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.segments().iter().map(|segment| u64::from(segment.len)).sum()
    }

    /// The pieces of its buffer; none if it has no buffer.
    #[inline]
    pub(crate) fn segments(&self) -> &[Segment] {
        self.buffer.as_ref().map_or(&[], DmaSegments::segments)
    }

    /// Buffer and owner back.
    pub fn into_parts(self) -> (Option<B>, O) {
        (self.buffer, self.owner)
    }
}

/// A request that was not taken, and why.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rejected<B, O> {
    /// Why.
    pub error: SubmitError,
    /// The request, whole.
    pub request: Request<B, O>,
}

/// What a successful request answers besides the data in its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Answer {
    /// Nothing more.
    Done,
    /// The identification string.
    Id(DeviceIdString),
    /// The wear estimate.
    Lifetime(Lifetime),
    /// The first sector of the appended data.
    Appended(Sector),
}

/// A request that is over.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Completion<B, O> {
    /// What it was.
    pub operation: Operation,
    /// Its buffer, if it had one. After a failed read its content is undefined.
    pub buffer: Option<B>,
    /// Whose it was.
    pub owner: O,
    /// Data bytes of those parts that succeeded; all of them if the request did. 0 for a zone report.
    pub bytes: u64,
    /// How it went.
    pub result: Result<Answer, IoError>,
}

impl<B, O> Completion<B, O> {
    /// The same request again: operation, buffer and owner. How it ended is forgotten.
    ///
    /// For trying once more, as after a reset. The buffer of a write is as it was. Of a transfer that was cut into parts all
    /// parts are repeated.
    pub fn into_request(self) -> Request<B, O> {
        Request {
            operation: self.operation,
            buffer: self.buffer,
            owner: self.owner,
        }
    }
}
