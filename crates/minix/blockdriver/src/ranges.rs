//! The physical addresses of a transfer, and where they may be cut.

use minix_abi::Errno;
use minix_abi::kernel_call::{GrantedRange, MapAccess};

use crate::Kernel;
use crate::bounds::whole_blocks;
use crate::jobs::{JobId, Jobs};
use crate::transfer::Direction;

/// What of a transfer has addresses: how many ranges, and how many bytes they are.
#[derive(Clone, Copy)]
pub(crate) struct Mapped {
    pub(crate) ranges: usize,
    pub(crate) bytes: u32,
}

/// Looks up the addresses of what the device was not given yet, as many as fit. A range without a byte is where that ends;
/// if there are no bytes at all, there is no use in looking again.
pub(crate) fn map_rest<K: Kernel, const N: usize>(
    kernel: &mut K,
    jobs: &Jobs<N>,
    id: JobId,
    ranges: &mut [K::Range],
) -> Result<Mapped, Errno> {
    let job = &jobs[id];
    let transfer = &job.transfer;
    let elements = jobs.elements(id).get(usize::from(transfer.element)..).unwrap_or(&[]);
    let access = match transfer.direction {
        Direction::Read => MapAccess::WRITE,
        Direction::Write => MapAccess::READ,
    };
    let filled = kernel.map(job.caller.endpoint, elements, transfer.offset.into(), access, ranges)?;
    let mut left = u64::from(transfer.rest());
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
    Ok(Mapped {
        ranges: used,
        bytes: transfer.rest() - left as u32,
    })
}

/// The ranges of a device request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PieceOfRanges<R> {
    pub(crate) ranges: usize,
    /// Whole blocks; none if there are not enough ranges for one.
    pub(crate) bytes: u32,
    /// What was cut off the last of the ranges.
    pub(crate) kept: R,
}

/// Takes `limit` ranges at most, and cuts them at the end of a block.
pub(crate) fn cut_piece<R: GrantedRange>(ranges: &mut [R], limit: usize, block: u64) -> PieceOfRanges<R> {
    let mut count = ranges.len().min(limit);
    // The sum is that of a transfer or less, so it fits.
    let bytes = ranges[..count].iter().map(R::bytes).sum();
    let whole = whole_blocks(bytes, block);
    let mut excess = bytes - whole;
    if whole == 0 {
        return PieceOfRanges {
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
    PieceOfRanges {
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
}
