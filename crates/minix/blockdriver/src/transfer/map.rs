//! The physical ranges of a transfer, and how they are cut into device requests. This is the only place that splits a transfer.

use minix_abi::kernel_call::{GrantedRange, MapAccess, MapElement};
use minix_abi::{Endpoint, Errno};

use super::Transfer;
use crate::device::{Direction, TransferLimits, whole_blocks};
use crate::kernel::Kernel;

/// What of a transfer has addresses: how many ranges, and how many bytes they are.
#[derive(Clone, Copy)]
pub(crate) struct Mapped {
    pub(crate) ranges: usize,
    pub(crate) bytes: u32,
}

/// Looks up the addresses of the rest of a transfer, as many as fit. Returns how many ranges that are.
#[inline]
pub(crate) fn look_up<K: Kernel>(
    kernel: &mut K,
    granter: Endpoint,
    transfer: &Transfer,
    elements: &[MapElement],
    ranges: &mut [K::Range],
) -> Result<usize, Errno> {
    // Mostly it is all of the transfer.
    let (elements, offset) = match transfer.submitted() {
        0 => (elements, 0),
        _ => {
            let (first, offset) = transfer.rest_start();
            (elements.get(first..).unwrap_or(&[]), offset)
        }
    };
    let access = match transfer.direction {
        Direction::Read => MapAccess::WRITE,
        Direction::Write => MapAccess::READ,
    };
    let filled = kernel.map(granter, elements, offset, access, ranges)?;
    Ok(filled.min(ranges.len()))
}

/// Checks ranges, cuts them at the end of the transfer, and splits those that are longer than a segment. A range without a byte is
/// where they end; if there are no bytes at all, there is no use in looking again.
#[inline(never)]
pub(crate) fn check_and_cut<R: GrantedRange>(
    ranges: &mut [R],
    filled: usize,
    rest: u32,
    segment_bytes: u64,
) -> Result<Mapped, Errno> {
    let mut left = u64::from(rest);
    let mut used = 0;
    for range in ranges.iter_mut().take(filled) {
        if left == 0 || range.bytes() == 0 {
            break;
        }
        let ends_somewhere = range.address().checked_add(range.bytes()).is_some();
        if !range.address().is_multiple_of(2) || !ends_somewhere {
            return Err(Errno::EINVAL);
        }
        *range = range.first(left);
        left -= range.bytes();
        used += 1;
    }
    let (ranges, left_out) = split_long(ranges, used, segment_bytes);
    Ok(Mapped {
        ranges,
        bytes: rest - (left + left_out) as u32,
    })
}

/// Splits ranges that are longer than a segment. How many there are then, and how many bytes at their end found no room.
fn split_long<R: GrantedRange>(ranges: &mut [R], mut used: usize, segment_bytes: u64) -> (usize, u64) {
    let mut left_out = 0;
    let mut at = 0;
    while at < used {
        let (first, mut rest) = ranges[at].split_at(segment_bytes);
        ranges[at] = first;
        at += 1;
        if rest.bytes() > 0 {
            // The rest comes next, and those after it move up. The last one may have no room.
            let end = ranges.len().min(used + 1);
            for place in &mut ranges[at..end] {
                core::mem::swap(place, &mut rest);
            }
            if end == used {
                left_out += rest.bytes();
            }
            used = end;
        }
    }
    (used, left_out)
}

/// The ranges of a device request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<R> {
    pub(crate) ranges: usize,
    /// Whole blocks; none if there are not enough ranges for one.
    pub(crate) bytes: u32,
    /// What was cut off the last of the ranges.
    pub(crate) kept: R,
}

/// Takes as many ranges as one device request has, and cuts them at the end of a block.
pub(crate) fn cut_piece<R: GrantedRange>(ranges: &mut [R], limits: &TransferLimits) -> Piece<R> {
    let mut count = ranges.len().min(limits.segments);
    // The sum is that of a transfer or less, so it fits.
    let bytes = ranges[..count].iter().map(R::bytes).sum();
    let whole = whole_blocks(bytes, limits.block);
    let mut excess = bytes - whole;
    if whole == 0 {
        return Piece {
            ranges: 0,
            bytes: 0,
            kept: R::EMPTY,
        };
    }
    let mut kept = R::EMPTY;
    while let Some(range) = ranges[..count].last_mut() {
        if range.bytes() > excess {
            (*range, kept) = range.split_at(range.bytes() - excess);
            break;
        }
        excess -= range.bytes();
        count -= 1;
        if excess == 0 {
            break;
        }
    }
    Piece {
        ranges: count,
        bytes: whole as u32,
        kept,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    #[derive(Clone, Copy)]
    struct Range {
        address: u64,
        bytes: u64,
    }

    impl GrantedRange for Range {
        const EMPTY: Self = Self { address: 0, bytes: 0 };

        fn address(&self) -> u64 {
            self.address
        }

        fn bytes(&self) -> u64 {
            self.bytes
        }

        fn split_at(self, bytes: u64) -> (Self, Self) {
            let first = bytes.min(self.bytes);
            let rest = Self {
                address: self.address + first,
                bytes: self.bytes - first,
            };
            (Self { bytes: first, ..self }, rest)
        }
    }

    fn ranges(bytes: &[u64]) -> Vec<Range> {
        bytes.iter().map(|&bytes| Range { address: 0x1000, bytes }).collect()
    }

    fn cut_piece(ranges: &mut [Range], segments: usize, block: u64) -> Piece<Range> {
        let limits = TransferLimits {
            capacity: u64::MAX,
            block,
            segments,
            segment_bytes: u64::MAX,
            needs_flushes: false,
        };
        super::cut_piece(ranges, &limits)
    }

    #[test]
    fn a_piece_ends_where_a_block_does() {
        let mut list = ranges(&[256, 256, 300, 212]);
        let piece = cut_piece(&mut list, 3, 512);
        assert_eq!((piece.ranges, piece.bytes, piece.kept.bytes), (2, 512, 0));

        let mut list = ranges(&[256, 768, 512]);
        let piece = cut_piece(&mut list, 2, 4096);
        assert_eq!((piece.ranges, piece.bytes), (0, 0));

        let mut list = ranges(&[4096, 700]);
        let piece = cut_piece(&mut list, 64, 512);
        assert_eq!((piece.ranges, piece.bytes, piece.kept.bytes), (2, 4608, 188));
        assert_eq!((list[1].bytes, piece.kept.address), (512, 0x1200));

        let mut list = ranges(&[512, 512, 512]);
        let piece = cut_piece(&mut list, 2, 512);
        assert_eq!((piece.ranges, piece.bytes, piece.kept.bytes), (2, 1024, 0));
    }

    #[test]
    fn long_ranges_are_split_and_the_last_bytes_make_room() {
        let split = |bytes: &[u64], room: usize, longest| {
            let mut list = ranges(bytes);
            list.resize(room.max(bytes.len()), Range::EMPTY);
            let (used, left_out) = split_long(&mut list, bytes.len(), longest);
            let sum: u64 = list[..used].iter().map(|range| range.bytes).sum();
            assert_eq!(sum + left_out, bytes.iter().sum());
            (
                list[..used].iter().map(|range| range.bytes).collect::<Vec<_>>(),
                left_out,
            )
        };
        assert_eq!(split(&[500, 1000], 4, 1000), (Vec::from([500, 1000]), 0));
        assert_eq!(split(&[2500, 7], 8, 1000), (Vec::from([1000, 1000, 500, 7]), 0));
        assert_eq!(split(&[2500, 7], 3, 1000), (Vec::from([1000, 1000, 500]), 7));
        assert_eq!(split(&[2500, 7], 2, 1000), (Vec::from([1000, 1000]), 507));
        assert_eq!(split(&[7, 2500], 2, 1000), (Vec::from([7, 1000]), 1500));
    }
}
