//! Cutting a range of bytes into transfers of whole blocks of the disk, each of which fits into a bounce buffer.

use core::ops::Range;

/// One transfer: whole blocks of the disk, and which of their bytes are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Span {
    /// The first byte of the transfer on the disk: the start of a block.
    pub start: u64,
    /// Bytes of the transfer: whole blocks.
    pub bytes: usize,
    /// Which bytes of the transfer are wanted.
    pub wanted: Range<usize>,
    /// Where they are in the memory of the caller.
    pub place: Range<usize>,
}

impl Span {
    /// Whether all bytes of the transfer are wanted. Those of a write that are not have to be read first.
    pub fn is_whole(&self) -> bool {
        self.wanted.len() == self.bytes
    }
}

/// The transfers that a range of bytes of the disk takes, in order. Together they cover it, and no block twice.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Spans {
    /// The first wanted byte on the disk of those that are left.
    offset: u64,
    /// Where it goes.
    done: usize,
    /// Wanted bytes in all.
    len: usize,
    block: usize,
    most: usize,
}

impl Spans {
    /// Those of the `len` bytes from byte `offset` of the disk on. A block of the disk has `block` bytes, and a transfer at most `most`.
    ///
    /// `None` if `most` is less than one block or a block has no bytes, or if the last block does not end before byte 2^64.
    pub fn new(offset: u64, len: usize, block: usize, most: usize) -> Option<Self> {
        // That the end of the last block fits is all that is asked here.
        offset.checked_add(len as u64)?.checked_next_multiple_of(block as u64)?;
        let most = most - most.checked_rem(block)?;
        (most > 0).then_some(Self {
            offset,
            done: 0,
            len,
            block,
            most,
        })
    }
}

impl Iterator for Spans {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let left = self.len - self.done;
        if left == 0 {
            return None;
        }
        // Less than a block, which is a `usize`.
        let skip = (self.offset % self.block as u64) as usize;
        let wanted = left.min(self.most - skip);
        let span = Span {
            start: self.offset - skip as u64,
            bytes: (skip + wanted).next_multiple_of(self.block),
            wanted: skip..skip + wanted,
            place: self.done..self.done + wanted,
        };
        self.offset += wanted as u64;
        self.done += wanted;
        Some(span)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn spans(offset: u64, len: usize, block: usize, most: usize) -> Vec<Span> {
        Spans::new(offset, len, block, most)
            .expect("a sensible range")
            .collect()
    }

    #[test]
    fn a_range_of_whole_blocks_is_cut_at_the_most() {
        let cut = spans(1024, 2048, 512, 1500);
        let starts: Vec<_> = cut.iter().map(|span| (span.start, span.bytes)).collect();
        assert_eq!(starts, [(1024, 1024), (2048, 1024)]);
        assert!(cut.iter().all(Span::is_whole));
    }

    #[test]
    fn a_range_inside_a_block_is_one_transfer_that_is_not_whole() {
        let span = Span {
            start: 512,
            bytes: 512,
            wanted: 88..98,
            place: 0..10,
        };
        assert!(!span.is_whole());
        assert_eq!(spans(600, 10, 512, 4096), [span]);
    }

    #[test]
    fn an_empty_range_takes_no_transfer() {
        assert_eq!(spans(600, 0, 512, 4096), []);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(Spans::new(0, 1, 512, 511).is_none(), "a transfer of less than a block");
        assert!(Spans::new(0, 1, 0, 512).is_none(), "blocks of no bytes");
        assert!(Spans::new(u64::MAX, 1, 512, 512).is_none(), "past the last byte");
        assert!(
            Spans::new(u64::MAX - 511, 1, 512, 512).is_none(),
            "a block past the last byte"
        );
    }

    #[test]
    fn the_last_block_there_can_be_is_a_span() {
        let first = u64::MAX - 1023;
        assert_eq!(spans(first, 512, 512, 4096).first().map(Span::is_whole), Some(true));
        assert_eq!(
            spans(first + 511, 1, 512, 4096).first().map(|span| span.start),
            Some(first)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 256 }) })]

        #[test]
        fn transfers_cover_the_range_once_in_order(
            offset in 0u64..20_000,
            len in 0usize..20_000,
            block_shift in 9u32..13,
            blocks in 1usize..5,
            odd in 0usize..512,
        ) {
            let block = 1usize << block_shift;
            let most = blocks * block + odd;
            let (mut place, mut after) = (0, 0);
            for span in spans(offset, len, block, most) {
                prop_assert!(span.bytes > 0 && span.bytes <= most);
                prop_assert_eq!(span.bytes % block, 0);
                prop_assert_eq!(span.start % block as u64, 0);
                prop_assert!(span.start >= after, "a block twice");
                prop_assert!(span.wanted.end <= span.bytes && !span.wanted.is_empty());
                prop_assert_eq!(span.wanted.len(), span.place.len());
                prop_assert_eq!(span.place.start, place);
                prop_assert_eq!(span.start + span.wanted.start as u64, offset + place as u64);
                prop_assert!(span.wanted.start < block, "a block that is not wanted");
                prop_assert!(span.bytes - span.wanted.end < block, "a block that is not wanted");
                place = span.place.end;
                after = span.start + span.bytes as u64;
            }
            prop_assert_eq!(place, len);
        }
    }
}
