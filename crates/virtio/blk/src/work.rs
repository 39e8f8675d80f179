//! What is left to do of a request, and the next device request of it.

use virtio_blk_proto::{DeviceIdString, Lifetime, RangeSegment, RequestHeader, RequestType, SECTOR_BYTES, Sector};
use virtio_core::Segment;
use virtqueue::{Chain, ChainError, VirtQueue};

use crate::slot_memory::SlotMemory;
use crate::split::{Cursor, Part, is_splittable};
use crate::{Limits, Operation, SectorRange, SubmitError};

/// How far a request has been cut into device requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Data that fits into one device request as it is: the common case, kept short.
    Whole { first: Sector, bytes: u32 },
    /// Data from `next` on; `left` bytes of the buffer after `cursor`.
    Data { next: Sector, cursor: Cursor, left: u64 },
    /// A range without data.
    Range(SectorRange),
    /// One device request, not sent yet.
    Single,
    /// Everything is with the device.
    Sent,
}

/// What the completion of one device request has to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Sectors of the request this part accounts for.
    pub(crate) sectors: u32,
    /// Bytes the device has to write before the status.
    pub(crate) answer: u32,
}

impl Work {
    /// Checks `operation` against everything that can be known before the ring is touched.
    pub(crate) fn plan(operation: Operation, segments: &[Segment], limits: &Limits) -> Result<Self, SubmitError> {
        // The most ranges and sectors per range that the device takes: at least one of one block, or it is of no use.
        let range = |range, most: Option<(u32, u32)>| {
            limits.check_writable()?;
            most.filter(|&(segments, sectors)| segments > 0 && u64::from(sectors) >= limits.block_sectors())
                .ok_or(SubmitError::Unsupported)?;
            limits.check_range(range)?;
            Ok(Self::Range(range))
        };
        match operation {
            Operation::Read(first) => Self::plan_data(first, segments, limits),
            Operation::Write(first) => {
                limits.check_writable()?;
                Self::plan_data(first, segments, limits)
            }
            Operation::Discard(r) => range(r, limits.discard.map(|l| (l.max_segments, l.max_sectors))),
            Operation::WriteZeroes { range: r, .. } => {
                range(r, limits.write_zeroes.map(|l| (l.max_segments, l.max_sectors)))
            }
            Operation::SecureErase(r) => range(r, limits.secure_erase.map(|l| (l.max_segments, l.max_sectors))),
            Operation::Flush if !limits.flush => Err(SubmitError::Unsupported),
            Operation::Lifetime if !limits.lifetime => Err(SubmitError::Unsupported),
            Operation::Flush | Operation::Lifetime | Operation::Identify => Ok(Self::Single),
        }
    }

    fn plan_data(first: Sector, segments: &[Segment], limits: &Limits) -> Result<Self, SubmitError> {
        let (mut left, mut simple) = (0u64, segments.len() <= usize::from(limits.max_segments));
        for segment in segments {
            if !segment.is_representable() {
                return Err(SubmitError::BadSegment);
            }
            left += u64::from(segment.len);
            simple &= segment.len != 0 && segment.len <= limits.max_segment_bytes;
        }
        limits.check_transfer(first, left)?;
        if simple && left <= u64::from(limits.max_request_bytes) {
            return Ok(Self::Whole {
                first,
                bytes: left as u32,
            });
        }
        if !is_splittable(segments, left, limits) {
            return Err(SubmitError::TooScattered);
        }
        Ok(Self::Data {
            next: first,
            cursor: Cursor::default(),
            left,
        })
    }

    /// Whether what is left to send lies within `limits`, which may have changed since it was planned.
    pub(crate) fn fits(&self, limits: &Limits) -> bool {
        let range = match *self {
            Self::Whole { first, bytes } => SectorRange {
                first,
                sectors: u64::from(bytes) / SECTOR_BYTES,
            },
            Self::Data { next, left, .. } => SectorRange {
                first: next,
                sectors: left / SECTOR_BYTES,
            },
            Self::Range(range) => range,
            Self::Single | Self::Sent => return true,
        };
        limits.check_range(range).is_ok()
    }

    /// Whether there is nothing left to send.
    #[inline]
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self, Self::Sent)
    }

    /// Writes the next device request of `operation` into the queue, unpublished, and moves on.
    ///
    /// `token` makes the token of the chain from what its completion has to know.
    ///
    /// # Errors
    ///
    /// Those of the queue; nothing has changed then.
    #[inline]
    pub(crate) fn send<T, const N: usize>(
        &mut self,
        operation: Operation,
        segments: &[Segment],
        limits: &Limits,
        ring: &mut VirtQueue<T, N>,
        slots: &mut SlotMemory,
        token: impl FnOnce(Sent) -> T,
    ) -> Result<(), ChainError> {
        let mut chain = ring.chain()?;
        let (sent, rest) = match (*self, operation) {
            (Self::Whole { first, bytes }, _) => {
                let pieces = segments.iter().copied();
                (
                    transfer(&mut chain, slots, operation, first, bytes, pieces)?,
                    Self::Sent,
                )
            }
            (Self::Data { next, cursor, left }, _) => {
                let part = Part::next(segments, cursor, limits).ok_or(ChainError::TooManySegments)?;
                let pieces = part.pieces(segments, limits);
                let sent = transfer(&mut chain, slots, operation, next, part.bytes, pieces)?;
                (sent, after(next, part, left))
            }
            (Self::Range(range), _) => {
                let (kind, segment, rest) = cut_range(operation, range, limits).ok_or(ChainError::TooLong)?;
                start(&mut chain, slots, RequestHeader::without_position(kind))?;
                let place = slots.put_range(chain.slot(), segment);
                chain.readable(place)?;
                let sectors = segment.sectors.get();
                (Sent { sectors, answer: 0 }, rest)
            }
            (Self::Single, _) => {
                let (kind, answer) = match operation {
                    Operation::Identify => (RequestType::GET_ID, DeviceIdString::BYTES),
                    Operation::Lifetime => (RequestType::GET_LIFETIME, Lifetime::BYTES),
                    _ => (RequestType::FLUSH, 0),
                };
                start(&mut chain, slots, RequestHeader::without_position(kind))?;
                if answer > 0 {
                    let segment = slots.answer(chain.slot(), answer);
                    chain.writable(segment)?;
                }
                (Sent { sectors: 0, answer }, Self::Sent)
            }
            (Self::Sent, _) => return Err(ChainError::Empty),
        };
        let status = slots.status_segment(chain.slot());
        chain.writable(status)?;
        chain.submit(token(sent)).map_err(|(error, _)| error)?;
        *self = rest;
        Ok(())
    }
}

/// Puts the header at the start of the chain.
#[inline]
fn start<T, const N: usize>(
    chain: &mut Chain<'_, T, N, virtqueue::DmaRing>,
    slots: &mut SlotMemory,
    header: RequestHeader,
) -> Result<(), ChainError> {
    let header = slots.start(chain.slot(), header);
    chain.readable(header)
}

/// Puts header and data of one read or write into the chain.
// Inlined in any case: behind a call the chain would live in memory instead of registers.
#[inline(always)]
fn transfer<T, const N: usize>(
    chain: &mut Chain<'_, T, N, virtqueue::DmaRing>,
    slots: &mut SlotMemory,
    operation: Operation,
    first: Sector,
    bytes: u32,
    pieces: impl Iterator<Item = Segment>,
) -> Result<Sent, ChainError> {
    let sectors = bytes / SECTOR_BYTES as u32;
    // One loop for each direction, so that which it is need not be asked for every piece.
    if let Operation::Read(_) = operation {
        start(chain, slots, RequestHeader::at(RequestType::IN, first))?;
        for piece in pieces {
            chain.writable(piece)?;
        }
        return Ok(Sent { sectors, answer: bytes });
    }
    start(chain, slots, RequestHeader::at(RequestType::OUT, first))?;
    for piece in pieces {
        chain.readable(piece)?;
    }
    Ok(Sent { sectors, answer: 0 })
}

/// What is left after `part`.
#[inline]
fn after(next: Sector, part: Part, left: u64) -> Work {
    let left = left.saturating_sub(u64::from(part.bytes));
    if left == 0 {
        return Work::Sent;
    }
    Work::Data {
        // The end of the transfer was checked against the capacity, so this cannot wrap.
        next: Sector(next.get() + u64::from(part.sectors())),
        cursor: part.end,
        left,
    }
}

/// The first device request of a range operation, and the work after it; `None` if not even one block may go out, or the
/// operation is not there any more.
fn cut_range(operation: Operation, range: SectorRange, limits: &Limits) -> Option<(RequestType, RangeSegment, Work)> {
    let (max, align) = match operation {
        Operation::Discard(_) => limits.discard.map(|l| (l.max_sectors, l.alignment_sectors)),
        Operation::SecureErase(_) => limits.secure_erase.map(|l| (l.max_sectors, l.alignment_sectors)),
        _ => limits.write_zeroes.map(|l| (l.max_sectors, 0)),
    }?;
    let sectors = cut_length(range, max, align, limits.block_sectors())?;
    let segment = match operation {
        Operation::WriteZeroes { may_unmap, .. } => RangeSegment::zeroes(range.first, sectors, may_unmap),
        _ => RangeSegment::plain(range.first, sectors),
    };
    let kind = match operation {
        Operation::Discard(_) => RequestType::DISCARD,
        Operation::SecureErase(_) => RequestType::SECURE_ERASE,
        _ => RequestType::WRITE_ZEROES,
    };
    let left = range.sectors - u64::from(sectors);
    let rest = if left == 0 {
        Work::Sent
    } else {
        Work::Range(SectorRange {
            first: Sector(range.first.get() + u64::from(sectors)),
            sectors: left,
        })
    };
    Some((kind, segment, rest))
}

/// How many sectors of `range` go into one device request of at most `max` sectors.
///
/// If it is not the last one, it ends at a multiple of `align` sectors where that is possible and makes sense, and in any
/// case at the end of a block, so that the next one starts well. `None` if no block fits.
fn cut_length(range: SectorRange, max: u32, align: u32, block_sectors: u64) -> Option<u32> {
    let max = u64::from(max);
    if range.sectors <= max {
        return Some(range.sectors as u32);
    }
    let end = range.first.get() + max;
    let align = Some(u64::from(align)).filter(|align| align.is_multiple_of(block_sectors));
    for step in [align.unwrap_or(block_sectors), block_sectors] {
        // No alignment at all is given as zero.
        let aligned = end.checked_rem(step).map_or(0, |excess| end - excess);
        if aligned > range.first.get() {
            return Some((aligned - range.first.get()) as u32);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, sectors: u64) -> SectorRange {
        SectorRange {
            first: Sector(first),
            sectors,
        }
    }

    #[test]
    fn ranges_are_cut_where_the_device_likes_it() {
        assert_eq!(cut_length(range(0, 100), 100, 64, 1), Some(100));
        assert_eq!(cut_length(range(0, 101), 100, 64, 1), Some(64));
        assert_eq!(cut_length(range(10, 200), 100, 64, 1), Some(54));
        // Nothing aligned within reach: whole blocks at least.
        assert_eq!(cut_length(range(8, 200), 21, 64, 8), Some(16));
        assert_eq!(cut_length(range(8, 200), 21, 0, 1), Some(21));
        // What the device likes is no whole number of blocks.
        assert_eq!(cut_length(range(8, 200), 21, 1, 8), Some(16));
        assert_eq!(cut_length(range(8, 200), 21, 12, 8), Some(16));
        assert_eq!(
            cut_length(range(0, u64::from(u32::MAX) + 9), u32::MAX, 0, 8),
            Some(u32::MAX - 7)
        );
        assert_eq!(cut_length(range(8, 200), 7, 0, 8), None);
        assert_eq!(cut_length(range(8, 200), 0, 0, 1), None);
    }
}
