//! Requests and their completions.

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
// The number of the variant fills a word, so that all after it is moved in words; and none has more after it than two words.
#[repr(u64)]
pub enum Operation {
    /// Fill the buffer from this sector on.
    Read(Sector),
    /// Write the buffer from this sector on.
    Write(Sector),
    /// Make every write completed so far durable (`BLK-N-13`).
    Flush,
    /// The content of the range is not needed any more, and is undefined afterwards (`BLK-D-25`).
    Discard(SectorRange),
    /// Let the range read as zeroes.
    WriteZeroes(SectorRange),
    /// Let the range read as zeroes. The device may deallocate its storage.
    ZeroOrUnmap(SectorRange),
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
            Self::WriteZeroes(_) | Self::ZeroOrUnmap(_) => OperationKind::WriteZeroes,
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

/// A request: an operation, the memory it works on, and a token.
///
/// The driver owns buffer and token from submission to completion; both come back exactly once.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Request<B, K> {
    pub(crate) operation: Operation,
    pub(crate) buffer: Option<B>,
    pub(crate) token: K,
}

impl<B: DmaSegments, K> Request<B, K> {
    /// Read into `buffer` from `first` on. Its length must be a multiple of the block size.
    #[inline]
    pub fn read(first: Sector, buffer: B, token: K) -> Self {
        Self::with_buffer(Operation::Read(first), buffer, token)
    }

    /// Write `buffer` to `first` and after it. Its length must be a multiple of the block size.
    #[inline]
    pub fn write(first: Sector, buffer: B, token: K) -> Self {
        Self::with_buffer(Operation::Write(first), buffer, token)
    }

    #[inline]
    fn with_buffer(operation: Operation, buffer: B, token: K) -> Self {
        Self {
            operation,
            buffer: Some(buffer),
            token,
        }
    }

    /// Make every write completed before now durable.
    pub fn flush(token: K) -> Self {
        Self::plain(Operation::Flush, token)
    }

    /// Give up the content of `range`.
    pub fn discard(range: SectorRange, token: K) -> Self {
        Self::plain(Operation::Discard(range), token)
    }

    /// Fill `range` with zeroes, by unmapping it if the device likes and `may_unmap`.
    pub fn write_zeroes(range: SectorRange, may_unmap: bool, token: K) -> Self {
        let operation = if may_unmap {
            Operation::ZeroOrUnmap(range)
        } else {
            Operation::WriteZeroes(range)
        };
        Self::plain(operation, token)
    }

    /// Make the content of `range` unrecoverable.
    pub fn secure_erase(range: SectorRange, token: K) -> Self {
        Self::plain(Operation::SecureErase(range), token)
    }

    /// Ask for the identification string.
    pub fn identify(token: K) -> Self {
        Self::plain(Operation::Identify, token)
    }

    /// Ask for the wear estimate.
    pub fn lifetime(token: K) -> Self {
        Self::plain(Operation::Lifetime, token)
    }

    /// Describe zones in `buffer`, from the zone that holds `sector` on, as many as fit. Its length should be that of
    /// [`ZoneReport::bytes_for`](virtio_blk_proto::zoned::ZoneReport::bytes_for); after success
    /// [`ZoneReport::parse`](virtio_blk_proto::zoned::ZoneReport::parse) reads it.
    pub fn report_zones(sector: Sector, buffer: B, token: K) -> Self {
        Self::with_buffer(Operation::ReportZones(sector), buffer, token)
    }

    /// Write `buffer` at the write pointer of `zone`. [`Answer::Appended`] has the position.
    ///
    /// Any number of appends to one zone can be in flight. Each is one device request, so its buffer must not have more
    /// bytes or pieces than the device takes at once.
    pub fn append(zone: ZoneId, buffer: B, token: K) -> Self {
        Self::with_buffer(Operation::Append(zone), buffer, token)
    }

    /// Open `zone` explicitly, so that the device keeps it open.
    pub fn open_zone(zone: ZoneId, token: K) -> Self {
        Self::plain(Operation::OpenZone(zone), token)
    }

    /// Close `zone`: it is not open any more, but still active.
    pub fn close_zone(zone: ZoneId, token: K) -> Self {
        Self::plain(Operation::CloseZone(zone), token)
    }

    /// Finish `zone`: it is full, and can only be read.
    pub fn finish_zone(zone: ZoneId, token: K) -> Self {
        Self::plain(Operation::FinishZone(zone), token)
    }

    /// Reset `zone`: its content is gone, and it can be written from its start on.
    pub fn reset_zone(zone: ZoneId, token: K) -> Self {
        Self::plain(Operation::ResetZone(zone), token)
    }

    /// Reset all zones that can be reset.
    pub fn reset_all_zones(token: K) -> Self {
        Self::plain(Operation::ResetAllZones, token)
    }

    fn plain(operation: Operation, token: K) -> Self {
        Self {
            operation,
            buffer: None,
            token,
        }
    }

    /// The operation.
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

    /// Buffer and token back.
    #[inline]
    pub fn into_parts(self) -> (Option<B>, K) {
        (self.buffer, self.token)
    }
}

impl<B, K> Request<B, K> {
    /// The end of the request.
    #[inline]
    pub(crate) fn complete(self, bytes: u64, result: Result<Answer, IoError>) -> Completion<B, K> {
        Completion {
            operation: self.operation,
            buffer: self.buffer,
            token: self.token,
            bytes,
            result,
        }
    }
}

/// A request that was not taken, and why.
///
/// It is an error, and converts to its [`SubmitError`]: where the request is not needed any more, `?` is enough.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rejected<B, K> {
    /// The reason.
    pub error: SubmitError,
    /// The request, whole.
    pub request: Request<B, K>,
}

/// A batch that stopped at a request that was not taken.
///
/// It is an error, and converts to the [`SubmitError`] of that request.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BatchStopped<B, K> {
    /// How many requests of the batch were taken before. The device was notified of them.
    pub taken: u32,
    /// The request at which it stopped, and why.
    pub rejected: Rejected<B, K>,
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
pub struct Completion<B, K> {
    /// The operation.
    pub operation: Operation,
    /// Its buffer, if it had one. After a failed read its content is undefined.
    pub buffer: Option<B>,
    /// Its token.
    pub token: K,
    /// Data bytes of those parts that succeeded; all of them if the request did. 0 for a zone report.
    pub bytes: u64,
    /// The answer, or how it failed.
    pub result: Result<Answer, IoError>,
}

impl<B, K> Completion<B, K> {
    /// The same request again: operation, buffer and token. How it ended is forgotten.
    ///
    /// For trying once more, as after a reset. The buffer of a write is as it was. Of a transfer that was cut into parts all
    /// parts are repeated.
    pub fn into_request(self) -> Request<B, K> {
        Request {
            operation: self.operation,
            buffer: self.buffer,
            token: self.token,
        }
    }
}
