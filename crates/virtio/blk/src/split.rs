//! Cutting a transfer, or a range without data, into device requests that the device can take.
//!
//! A device bounds the segments of one request, the bytes of one segment, and every request must be whole blocks. The
//! pieces of a caller's buffer keep to none of this. Everything here is arithmetic on positions in the caller's list
//! of segments; nothing is copied.

use virtio_blk_proto::SECTOR_BYTES;
use virtio_core::Segment;

use crate::{Limits, SectorRange};

/// A position in a list of segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The segment.
    index: usize,
    /// Bytes of it before the position.
    offset: u32,
}

impl Cursor {
    /// The next piece, at most `limit` bytes, and the position after it; `None` at the end.
    #[inline]
    pub(crate) fn advance(self, segments: &[Segment], limit: u32) -> Option<(Segment, Self)> {
        let mut cursor = self;
        loop {
            let segment = segments.get(cursor.index)?;
            if let Some(piece) = segment.part(cursor.offset, limit) {
                cursor.offset += piece.len;
                if cursor.offset == segment.len {
                    cursor = Self {
                        index: cursor.index + 1,
                        offset: 0,
                    };
                }
                return Some((piece, cursor));
            }
            // An empty segment, or no bytes left in this one.
            cursor = Self {
                index: cursor.index + 1,
                offset: 0,
            };
        }
    }
}

/// Where a device request has to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// After so many bytes at most.
    pub(crate) most: u32,
    /// After a multiple of so many bytes.
    pub(crate) unit: u32,
}

impl Cut {
    /// On a disk without zones.
    #[inline]
    pub(crate) fn anywhere(limits: &Limits) -> Self {
        Self {
            most: limits.max_request_bytes,
            unit: limits.block_bytes,
        }
    }
}

/// One device request: from where, how many bytes, in how many pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    start: Cursor,
    /// The position after it.
    pub(crate) end: Cursor,
    /// Data bytes; whole blocks.
    pub(crate) bytes: u32,
    /// Data segments.
    pub(crate) pieces: u16,
}

impl Part {
    /// The next part of the transfer that has come to `start`.
    ///
    /// `None` if not even one block fits, because it lies in too many pieces, or nothing is left.
    pub(crate) fn next(segments: &[Segment], start: Cursor, limits: &Limits, cut: Cut) -> Option<Self> {
        let mut best = None;
        let (mut cursor, mut bytes, mut pieces) = (start, 0u32, 0u16);
        while pieces < limits.max_segments && bytes < cut.most {
            let room = limits.max_segment_bytes.min(cut.most - bytes);
            let Some((piece, after)) = cursor.advance(segments, room) else {
                break;
            };
            pieces += 1;
            // The last place inside this piece where whole blocks end.
            let total = bytes + piece.len;
            let whole = total - total.checked_rem(cut.unit)?;
            if whole == total {
                best = Some(Self {
                    start,
                    end: after,
                    bytes: total,
                    pieces,
                });
            } else if whole > bytes {
                let (_, end) = cursor.advance(segments, whole - bytes)?;
                best = Some(Self {
                    start,
                    end,
                    bytes: whole,
                    pieces,
                });
            }
            (cursor, bytes) = (after, total);
        }
        best
    }

    /// Sectors of the part.
    #[inline]
    pub(crate) fn sectors(&self) -> u32 {
        self.bytes / SECTOR_BYTES as u32
    }

    /// The pieces, each within the device's limits.
    pub(crate) fn pieces<'s>(
        &self,
        segments: &'s [Segment],
        limits: &Limits,
    ) -> impl Iterator<Item = Segment> + use<'s> {
        let (mut cursor, mut left, limit) = (self.start, self.bytes, limits.max_segment_bytes);
        core::iter::from_fn(move || {
            let (piece, after) = cursor.advance(segments, left.min(limit))?;
            cursor = after;
            left -= piece.len;
            Some(piece)
        })
    }
}

/// How many sectors of `range` go into one device request of at most `max` sectors.
///
/// If it is not the last one, it ends at a multiple of `align` sectors where that is possible and makes sense, and in any
/// case at the end of a block, so that the next one starts well. `None` if no block fits.
pub(crate) fn cut_length(range: SectorRange, max: u32, align: u32, block_sectors: u64) -> Option<u32> {
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
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;
    use virtio_blk_proto::Sector;
    use virtio_core::DeviceAddr;

    use super::*;
    use crate::limits::tests::limits;

    fn next(segments: &[Segment], start: Cursor, limits: &Limits) -> Option<Part> {
        Part::next(segments, start, limits, Cut::anywhere(limits))
    }

    fn list(lengths: &[u32]) -> Vec<Segment> {
        // Far apart, so that a piece that runs over its segment is noticed.
        let segment = |(n, &len): (usize, &u32)| Segment::new(DeviceAddr((n as u64 + 1) << 32), len);
        lengths.iter().enumerate().map(segment).collect()
    }

    /// Whether the whole list can be cut into parts.
    fn is_splittable(segments: &[Segment], bytes: u64, limits: &Limits) -> bool {
        let (mut cursor, mut left) = (Cursor::default(), bytes);
        while left > 0 {
            match next(segments, cursor, limits) {
                Some(part) => {
                    cursor = part.end;
                    left = left.saturating_sub(u64::from(part.bytes));
                }
                None => return false,
            }
        }
        true
    }

    #[test]
    fn a_transfer_that_fits_is_one_part() {
        let segments = list(&[512, 1024, 512]);
        let part = next(&segments, Cursor::default(), &limits(0, 512)).unwrap();
        assert_eq!((part.bytes, part.pieces), (2048, 3));
        assert!(part.pieces(&segments, &limits(0, 512)).eq(segments.iter().copied()));
    }

    #[test]
    fn a_block_in_too_many_pieces_is_refused() {
        let segments = list(&[100, 100, 100, 100, 112]);
        assert!(!is_splittable(&segments, 512, &limits(0, 512)));
        let segments = list(&[100, 100, 100, 212]);
        assert!(is_splittable(&segments, 512, &limits(0, 512)));
    }

    #[test]
    fn parts_end_at_blocks_even_if_segments_do_not() {
        let segments = list(&[300, 300, 300, 300, 336]);
        let limits = limits(0, 512);
        let first = next(&segments, Cursor::default(), &limits).unwrap();
        assert_eq!((first.bytes, first.pieces), (1024, 4));
        let second = next(&segments, first.end, &limits).unwrap();
        assert_eq!((second.bytes, second.pieces), (512, 2));
        let pieces: Vec<_> = second.pieces(&segments, &limits).collect();
        assert_eq!(pieces, [segments[3].part(124, 176).unwrap(), segments[4]]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 256 }) })]

        #[test]
        fn parts_cover_the_buffer_once_in_order_within_every_limit(
            lengths in prop::collection::vec(1u32..5000, 1..40),
            max_segments in 1u16..12,
            max_segment_bytes in 1u32..6000,
            max_blocks in 1u32..8,
            block_shift in 9u32..13,
        ) {
            let block_bytes = 1 << block_shift;
            let mut limits = limits(0, block_bytes);
            limits.max_segments = max_segments;
            limits.max_segment_bytes = max_segment_bytes;
            limits.max_request_bytes = max_blocks * block_bytes;
            // Round the buffer up to whole blocks.
            let mut lengths = lengths;
            let total: u32 = lengths.iter().sum();
            let padding = total.next_multiple_of(block_bytes) - total;
            if padding > 0 { lengths.push(padding); }
            let segments = list(&lengths);
            let total = u64::from(total + padding);

            let mut expected = segments.iter().flat_map(|s| (0..s.len).map(move |n| s.addr.get() + u64::from(n)));
            let (mut cursor, mut done) = (Cursor::default(), 0u64);
            while let Some(part) = next(&segments, cursor, &limits) {
                prop_assert!(part.bytes > 0 && part.bytes % block_bytes == 0);
                prop_assert!(part.bytes <= limits.max_request_bytes);
                let pieces: Vec<_> = part.pieces(&segments, &limits).collect();
                prop_assert_eq!(pieces.len(), usize::from(part.pieces));
                prop_assert!(part.pieces <= max_segments);
                prop_assert_eq!(pieces.iter().map(|p| p.len).sum::<u32>(), part.bytes);
                for piece in pieces {
                    prop_assert!(piece.len <= max_segment_bytes);
                    for n in 0..piece.len {
                        prop_assert_eq!(expected.next(), Some(piece.addr.get() + u64::from(n)));
                    }
                }
                done += u64::from(part.bytes);
                cursor = part.end;
            }
            prop_assert_eq!(is_splittable(&segments, total, &limits), done == total);
        }
    }

    fn range(first: u64, sectors: u64) -> SectorRange {
        SectorRange {
            first: Sector(first),
            sectors,
        }
    }

    #[test]
    fn ranges_are_cut_at_alignments() {
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
