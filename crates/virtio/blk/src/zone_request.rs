//! Requests about zones. Each is one device request, and off the path of reads and writes.

use virtio_blk_proto::zoned::{ZoneId, ZoneReport, ZoneRequestError};
use virtio_blk_proto::{RequestHeader, RequestType, SECTOR_BYTES, Sector};
use virtio_core::Segment;
use virtqueue::ChainError;

use crate::slot_memory::SlotMemory;
use crate::split::Cursor;
use crate::work::RequestChain;
use crate::{IoError, Limits, Operation, SubmitError};

/// A request about zones that was checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ZoneRequest {
    kind: RequestType,
    sector: Sector,
    /// Bytes of data.
    bytes: u32,
}

impl ZoneRequest {
    /// Checks `operation` against everything that can be known before the ring is touched.
    #[cold]
    #[inline(never)]
    pub(crate) fn plan(operation: Operation, segments: &[Segment], limits: &Limits) -> Result<Self, SubmitError> {
        if !crate::ZONED {
            return Err(SubmitError::Unsupported);
        }
        let (kind, sector) = match operation {
            Operation::ReportZones(sector) => (RequestType::ZONE_REPORT, sector),
            Operation::Append(zone) => (RequestType::ZONE_APPEND, zone.start()),
            Operation::OpenZone(zone) => (RequestType::ZONE_OPEN, zone.start()),
            Operation::CloseZone(zone) => (RequestType::ZONE_CLOSE, zone.start()),
            Operation::FinishZone(zone) => (RequestType::ZONE_FINISH, zone.start()),
            Operation::ResetZone(zone) => (RequestType::ZONE_RESET, zone.start()),
            Operation::ResetAllZones => (RequestType::ZONE_RESET_ALL, Sector::ZERO),
            Operation::Read(_)
            | Operation::Write(_)
            | Operation::Discard(_)
            | Operation::WriteZeroes(_)
            | Operation::ZeroOrUnmap(_)
            | Operation::SecureErase(_)
            | Operation::Flush
            | Operation::Identify
            | Operation::Lifetime => return Err(SubmitError::Unsupported),
        };
        let zones = limits.zones().ok_or(ZoneRequestError::NoZones)?;
        if kind != RequestType::ZONE_REPORT {
            limits.check_writable()?;
        }
        let bytes = data_bytes(segments)?;
        if let Operation::Append(zone) = operation {
            limits.check_transfer(sector, bytes)?;
            zones.check_append_size(zone, bytes, limits.capacity)?;
        } else {
            zones.check_header(kind, sector, limits.capacity)?;
        }
        let report = kind == RequestType::ZONE_REPORT;
        if report && ZoneReport::bytes_for(1).is_none_or(|least| bytes < u64::from(least)) {
            return Err(ZoneRequestError::ReportTooSmall.into());
        }
        if !fits(segments, bytes, limits) {
            return Err(SubmitError::TooScattered);
        }
        Ok(Self {
            kind,
            sector,
            bytes: bytes as u32,
        })
    }

    /// Puts the device request into `chain`. Answers how many sectors it is about.
    ///
    /// # Errors
    ///
    /// Those of the chain, which is to be dropped then.
    #[cold]
    #[inline(never)]
    pub(crate) fn put<T, const N: usize>(
        self,
        chain: &mut RequestChain<'_, T, N>,
        segments: &[Segment],
        limits: &Limits,
        slots: &mut SlotMemory,
    ) -> Result<u32, ChainError> {
        let slot = chain.slot();
        let header = slots.start(slot, RequestHeader::at(self.kind, self.sector));
        put(chain, header, false)?;
        let report = self.kind == RequestType::ZONE_REPORT;
        let mut cursor = Cursor::default();
        while let Some((piece, after)) = cursor.advance(segments, limits.max_segment_bytes) {
            put(chain, piece, report)?;
            cursor = after;
        }
        let (end, sectors) = match self.kind {
            RequestType::ZONE_APPEND => (slots.append_tail(slot), self.bytes / SECTOR_BYTES as u32),
            _ => (slots.status_segment(slot), 0),
        };
        put(chain, end, true)?;
        Ok(sectors)
    }
}

/// Where an append of `sectors` to `zone` went, if it can have gone there.
#[cold]
#[inline(never)]
pub(crate) fn append_sector(
    zone: ZoneId,
    sectors: u32,
    slot: u16,
    slots: &SlotMemory,
    limits: &Limits,
) -> Result<Sector, IoError> {
    let place = slots.append_sector(slot);
    let size = limits
        .zones()
        .map_or(0, |zones| zones.sectors_of(zone, limits.capacity));
    let before = place.get().checked_sub(zone.start().get());
    let end = before.and_then(|before| before.checked_add(u64::from(sectors)));
    if end.is_some_and(|end| end <= size) {
        Ok(place)
    } else {
        Err(IoError::BadAppendSector(place))
    }
}

// One copy of the code for all, since these requests are rare.
#[inline(never)]
fn put<T, const N: usize>(
    chain: &mut RequestChain<'_, T, N>,
    segment: Segment,
    writable: bool,
) -> Result<(), ChainError> {
    if writable {
        chain.writable(segment)
    } else {
        chain.readable(segment)
    }
}

fn data_bytes(segments: &[Segment]) -> Result<u64, SubmitError> {
    let mut total = 0u64;
    for segment in segments {
        if !segment.is_representable() {
            return Err(SubmitError::BadSegment);
        }
        total += u64::from(segment.len);
    }
    Ok(total)
}

/// Whether a buffer of `bytes` goes into one device request.
fn fits(segments: &[Segment], bytes: u64, limits: &Limits) -> bool {
    let (mut cursor, mut left, mut room) = (Cursor::default(), bytes, limits.max_segments);
    while room > 0
        && let Some((piece, after)) = cursor.advance(segments, limits.max_segment_bytes)
    {
        left = left.saturating_sub(u64::from(piece.len));
        room -= 1;
        cursor = after;
    }
    left == 0 && bytes <= u64::from(limits.max_request_bytes)
}
