//! The device requests that a request still needs, and the next one of them.

use virtio_blk_proto::zoned::ZonedConfig;
use virtio_blk_proto::{
    DeviceIdString, Lifetime, RangeLimits, RangeSegment, RequestHeader, RequestType, SECTOR_BYTES, Sector,
};
use virtio_core::Segment;
use virtqueue::{Chain, ChainError, DmaRing};

use crate::slot_memory::SlotMemory;
use crate::split::{Cursor, Cut, Part, cut_length};
use crate::transfer::Transfer;
use crate::zone_request::ZoneRequest;
use crate::{Limits, Operation, SectorRange, SubmitError};

/// What is left to send of a request. It says by itself which device requests that takes: the operation is looked at once,
/// by [`plan`](Self::plan).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Data that fits into one device request as it is: the common case, kept short.
    Whole {
        transfer: Transfer,
        first: Sector,
        bytes: u32,
    },
    /// Data from `next` on; `left` bytes of the buffer after `cursor`.
    Data {
        transfer: Transfer,
        next: Sector,
        cursor: Cursor,
        left: u64,
    },
    /// A range without data.
    Range(RangeRequest, SectorRange),
    /// One flush.
    Flush,
    /// One request for the identification string.
    Identify,
    /// One request for the wear estimate.
    Lifetime,
    /// One request about zones.
    Zone(ZoneRequest),
    /// Nothing: everything is with the device.
    Sent,
}

/// A request that works on a range of sectors without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeRequest {
    Discard,
    WriteZeroes { may_unmap: bool },
    SecureErase,
}

impl RangeRequest {
    /// The device's limits for these requests; `None` if it does not take them.
    fn limits(self, limits: &Limits) -> Option<RangeLimits> {
        match self {
            Self::Discard => limits.discard,
            Self::WriteZeroes { .. } => limits.write_zeroes.map(|zeroes| RangeLimits {
                max_sectors: zeroes.max_sectors,
                max_segments: zeroes.max_segments,
                alignment_sectors: 0,
            }),
            Self::SecureErase => match limits.zones() {
                None => limits.secure_erase,
                // Whole zones only (`BLK-D-39`).
                Some(zones) => limits.secure_erase.map(|erase| RangeLimits {
                    max_sectors: erase.max_sectors - erase.max_sectors.checked_rem(zones.zone_sectors).unwrap_or(0),
                    alignment_sectors: zones.zone_sectors,
                    ..erase
                }),
            },
        }
    }

    /// Type and range of the device request.
    fn encode(self, first: Sector, sectors: u32) -> (RequestType, RangeSegment) {
        match self {
            Self::Discard => (RequestType::DISCARD, RangeSegment::plain(first, sectors)),
            Self::WriteZeroes { may_unmap } => {
                let segment = RangeSegment::zeroes(first, sectors, may_unmap);
                (RequestType::WRITE_ZEROES, segment)
            }
            Self::SecureErase => (RequestType::SECURE_ERASE, RangeSegment::plain(first, sectors)),
        }
    }
}

impl Work {
    /// Checks `operation` against everything that can be known before the ring is touched.
    #[inline]
    pub(crate) fn plan(operation: Operation, segments: &[Segment], limits: &Limits) -> Result<Self, SubmitError> {
        let only_if = |supported, work| {
            if supported {
                Ok(work)
            } else {
                Err(SubmitError::Unsupported)
            }
        };
        match operation {
            Operation::Read(first) => Self::plan_data(Transfer::Read, first, segments, limits),
            Operation::Write(first) => {
                limits.check_writable()?;
                Self::plan_data(Transfer::Write, first, segments, limits)
            }
            Operation::Discard(range) => Self::plan_range(RangeRequest::Discard, range, limits),
            Operation::WriteZeroes(range) => {
                Self::plan_range(RangeRequest::WriteZeroes { may_unmap: false }, range, limits)
            }
            Operation::ZeroOrUnmap(range) => {
                Self::plan_range(RangeRequest::WriteZeroes { may_unmap: true }, range, limits)
            }
            Operation::SecureErase(range) => Self::plan_range(RangeRequest::SecureErase, range, limits),
            Operation::Flush => only_if(limits.flush, Self::Flush),
            Operation::Lifetime => only_if(limits.lifetime, Self::Lifetime),
            Operation::Identify => only_if(crate::IDENTIFY, Self::Identify),
            Operation::ReportZones(_)
            | Operation::Append(_)
            | Operation::OpenZone(_)
            | Operation::CloseZone(_)
            | Operation::FinishZone(_)
            | Operation::ResetZone(_)
            | Operation::ResetAllZones => ZoneRequest::plan(operation, segments, limits).map(Self::Zone),
        }
    }

    #[inline]
    fn plan_data(
        transfer: Transfer,
        first: Sector,
        segments: &[Segment],
        limits: &Limits,
    ) -> Result<Self, SubmitError> {
        let (mut left, mut simple) = (0u64, segments.len() <= usize::from(limits.max_segments));
        for segment in segments {
            if !segment.is_representable() {
                return Err(SubmitError::BadSegment);
            }
            left += u64::from(segment.len);
            simple &= segment.len.wrapping_sub(1) < limits.max_segment_bytes;
        }
        limits.check_transfer(first, left)?;
        if simple && left <= u64::from(limits.most_bytes_at(first)) {
            return Ok(Self::Whole {
                transfer,
                first,
                bytes: left as u32,
            });
        }
        if !crate::SPLIT {
            return Err(SubmitError::TooLarge);
        }
        if !is_splittable(transfer, segments, first, left, limits) {
            return Err(SubmitError::TooScattered);
        }
        Ok(Self::Data {
            transfer,
            next: first,
            cursor: Cursor::default(),
            left,
        })
    }

    #[inline(never)]
    fn plan_range(request: RangeRequest, range: SectorRange, limits: &Limits) -> Result<Self, SubmitError> {
        if !crate::RANGES {
            return Err(SubmitError::Unsupported);
        }
        limits.check_writable()?;
        // A device that does not take one range of one block is of no use.
        request
            .limits(limits)
            .filter(|most| most.max_segments > 0 && u64::from(most.max_sectors) >= limits.block_sectors())
            .ok_or(SubmitError::Unsupported)?;
        limits.check_range(range)?;
        if let (RangeRequest::SecureErase, Some(zones)) = (request, limits.zones()) {
            // Any multiple of the size of a zone leaves the same rest.
            let rest = range.sectors.checked_rem(u64::from(zones.zone_sectors)).unwrap_or(0);
            zones.check_secure_erase(range.first, rest as u32)?;
        }
        Ok(Self::Range(request, range))
    }

    /// Whether what is left to send lies within `limits`, which may have changed since it was planned.
    pub(crate) fn fits(&self, limits: &Limits) -> bool {
        let range = match *self {
            Self::Whole { first, bytes, .. } => SectorRange {
                first,
                sectors: u64::from(bytes) / SECTOR_BYTES,
            },
            Self::Data { next, left, .. } => SectorRange {
                first: next,
                sectors: left / SECTOR_BYTES,
            },
            Self::Range(_, range) => range,
            Self::Flush | Self::Identify | Self::Lifetime | Self::Zone(_) | Self::Sent => return true,
        };
        limits.check_range(range).is_ok()
    }

    /// Whether there is nothing left to send.
    #[inline]
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self, Self::Sent)
    }

    /// Whether the next device request has to wait until those before it are done: a device can carry out device requests in
    /// any order (`BLK-N-30`), and the writes to a zone have one.
    #[inline]
    pub(crate) fn waits_for_parts(&self, limits: &Limits) -> bool {
        match *self {
            Self::Data {
                transfer: Transfer::Write,
                next,
                ..
            } => limits.zones().is_some_and(|zones| !zones.is_zone_start(next)),
            _ => false,
        }
    }

    /// How many segments the chain of the next device request has, if that is known already; else many.
    #[inline]
    pub(crate) fn chain_segments(&self) -> u16 {
        match self {
            Self::Range(..) | Self::Flush | Self::Identify | Self::Lifetime => 3,
            Self::Whole { .. } | Self::Data { .. } | Self::Zone(_) | Self::Sent => u16::MAX,
        }
    }

    /// Puts the next device request into `chain`. Answers how many sectors of the request it is about, and what is left
    /// after it.
    ///
    /// # Errors
    ///
    /// Those of the chain, which is to be dropped then.
    #[inline(never)]
    pub(crate) fn put<T, const N: usize>(
        self,
        chain: &mut RequestChain<'_, T, N>,
        segments: &[Segment],
        limits: &Limits,
        slots: &mut SlotMemory,
    ) -> Result<(u32, Self), ChainError> {
        let put = match self {
            Self::Whole { transfer, first, bytes } => {
                start(chain, slots, transfer.header(first))?;
                for &segment in segments {
                    put_piece(chain, transfer, segment)?;
                }
                (bytes / SECTOR_BYTES as u32, Self::Sent)
            }
            Self::Data {
                transfer,
                next,
                cursor,
                left,
            } if crate::SPLIT => put_next_part(chain, slots, segments, limits, transfer, next, (cursor, left))?,
            Self::Range(request, range) if crate::RANGES => put_range(chain, slots, request, range, limits)?,
            Self::Flush => put_command(chain, slots, RequestType::FLUSH, 0)?,
            Self::Identify if crate::IDENTIFY => put_command(chain, slots, RequestType::GET_ID, DeviceIdString::BYTES)?,
            Self::Lifetime if crate::LIFETIME => put_command(chain, slots, RequestType::GET_LIFETIME, Lifetime::BYTES)?,
            Self::Zone(request) if crate::ZONED => {
                return Ok((request.put(chain, segments, limits, slots)?, Self::Sent));
            }
            Self::Data { .. } | Self::Range(..) | Self::Identify | Self::Lifetime | Self::Zone(_) | Self::Sent => {
                return Err(ChainError::Empty);
            }
        };
        chain.writable(slots.status_segment(chain.slot()))?;
        Ok(put)
    }
}

/// The chain of one device request.
pub(crate) type RequestChain<'q, T, const N: usize> = Chain<'q, T, N, DmaRing>;

/// Puts the header at the start of the chain.
#[inline]
fn start<T, const N: usize>(
    chain: &mut RequestChain<'_, T, N>,
    slots: &mut SlotMemory,
    header: RequestHeader,
) -> Result<(), ChainError> {
    let header = slots.start(chain.slot(), header);
    chain.readable(header)
}

/// Puts a piece of data into the chain.
#[inline]
fn put_piece<T, const N: usize>(
    chain: &mut RequestChain<'_, T, N>,
    transfer: Transfer,
    piece: Segment,
) -> Result<(), ChainError> {
    match transfer {
        Transfer::Read => chain.writable(piece),
        Transfer::Write => chain.readable(piece),
    }
}

/// Puts the part of a transfer that begins at sector `next` into the chain. `left` is where the buffer goes on, and how many
/// bytes are left. Also answers what is left after it.
fn put_next_part<T, const N: usize>(
    chain: &mut RequestChain<'_, T, N>,
    slots: &mut SlotMemory,
    segments: &[Segment],
    limits: &Limits,
    transfer: Transfer,
    next: Sector,
    (cursor, left): (Cursor, u64),
) -> Result<(u32, Work), ChainError> {
    let part = next_part(transfer, segments, cursor, next, left, limits).ok_or(ChainError::TooManySegments)?;
    start(chain, slots, transfer.header(next))?;
    for piece in part.pieces(segments, limits) {
        put_piece(chain, transfer, piece)?;
    }
    Ok((part.sectors(), after_part(transfer, next, part, left)))
}

/// The next part of a transfer that has come to `next`, with `left` bytes after `cursor`.
#[inline]
fn next_part(
    transfer: Transfer,
    segments: &[Segment],
    cursor: Cursor,
    next: Sector,
    left: u64,
    limits: &Limits,
) -> Option<Part> {
    let cut = match limits.zones() {
        None => Cut::anywhere(limits),
        Some(zones) => cut_in_zone(transfer, next, left, limits, zones),
    };
    Part::next(segments, cursor, limits, cut)
}

/// Where the next device request of a transfer on a zoned disk has to end: with the zone at the latest, and that of a write after
/// whole units of writing, if the whole write is.
#[cold]
#[inline(never)]
fn cut_in_zone(transfer: Transfer, next: Sector, left: u64, limits: &Limits, zones: &ZonedConfig) -> Cut {
    let unit = zones.write_granularity;
    let whole = left.checked_rem(u64::from(unit)) == Some(0) && unit.is_multiple_of(limits.block_bytes);
    Cut {
        most: limits.most_bytes_at(next),
        unit: if transfer == Transfer::Write && whole {
            unit
        } else {
            limits.block_bytes
        },
    }
}

/// Whether the whole transfer can be cut into parts: the check to make before the first part goes out.
#[inline(never)]
fn is_splittable(transfer: Transfer, segments: &[Segment], first: Sector, bytes: u64, limits: &Limits) -> bool {
    let (mut cursor, mut next, mut left) = (Cursor::default(), first, bytes);
    while left > 0 {
        let Some(part) = next_part(transfer, segments, cursor, next, left, limits) else {
            return false;
        };
        cursor = part.end;
        // The end of the transfer was checked against the capacity, so this cannot wrap.
        next = Sector(next.get() + u64::from(part.sectors()));
        left = left.saturating_sub(u64::from(part.bytes));
    }
    true
}

/// Puts the first device request of `range` into the chain. Also answers what is left after it.
fn put_range<T, const N: usize>(
    chain: &mut RequestChain<'_, T, N>,
    slots: &mut SlotMemory,
    request: RangeRequest,
    range: SectorRange,
    limits: &Limits,
) -> Result<(u32, Work), ChainError> {
    // The requests may be gone since this one was planned, or not even one block may go out any more.
    let most = request.limits(limits).ok_or(ChainError::TooLong)?;
    let block_sectors = limits.block_sectors();
    let sectors =
        cut_length(range, most.max_sectors, most.alignment_sectors, block_sectors).ok_or(ChainError::TooLong)?;
    let (kind, segment) = request.encode(range.first, sectors);
    start(chain, slots, RequestHeader::without_position(kind))?;
    chain.readable(slots.put_range(chain.slot(), segment))?;
    let left = range.sectors - u64::from(sectors);
    let rest = if left == 0 {
        Work::Sent
    } else {
        let first = Sector(range.first.get() + u64::from(sectors));
        Work::Range(request, SectorRange { first, sectors: left })
    };
    Ok((sectors, rest))
}

/// Puts a request without position and data of the caller into the chain. The device answers with `answer` bytes. Nothing is
/// left after it.
fn put_command<T, const N: usize>(
    chain: &mut RequestChain<'_, T, N>,
    slots: &mut SlotMemory,
    kind: RequestType,
    answer: u32,
) -> Result<(u32, Work), ChainError> {
    start(chain, slots, RequestHeader::without_position(kind))?;
    if answer > 0 {
        chain.writable(slots.answer(chain.slot(), answer))?;
    }
    Ok((0, Work::Sent))
}

/// What is left after `part`.
#[inline]
fn after_part(transfer: Transfer, next: Sector, part: Part, left: u64) -> Work {
    let left = left.saturating_sub(u64::from(part.bytes));
    if left == 0 {
        return Work::Sent;
    }
    Work::Data {
        transfer,
        // The end of the transfer was checked against the capacity, so this cannot wrap.
        next: Sector(next.get() + u64::from(part.sectors())),
        cursor: part.end,
        left,
    }
}
