//! Handing out pieces of one range, first fit. Pure arithmetic: no memory is touched.

use heapless::Vec;
use virtio_fdt::PhysRange;

use super::carve::round_up;

/// What is still free, in at most `PIECES` pieces.
///
/// Memory is handed out in whole units of [`UNIT_BYTES`](Self::UNIT_BYTES), so that no two allocations share a cache
/// line and pieces do not crumble. Meant for bring-up, where a few dozen allocations happen; searching is linear.
#[derive(Clone, Debug)]
pub struct FreeList<const PIECES: usize> {
    // Sorted by address; neither overlapping nor touching; none empty.
    pieces: Vec<PhysRange, PIECES>,
}

impl<const PIECES: usize> FreeList<PIECES> {
    /// Size and smallest alignment of what is handed out, in bytes.
    pub const UNIT_BYTES: u64 = 64;

    /// All of `range` is free, apart from what is needed to make its ends whole units.
    pub fn new(range: PhysRange) -> Self {
        let mut list = Self { pieces: Vec::new() };
        let end = range.end_address() & !(Self::UNIT_BYTES - 1);
        if let Some(start) = round_up(range.base_address, Self::UNIT_BYTES)
            && let Some(size_bytes) = end.checked_sub(start)
            && let Some(whole) = PhysRange::new(start, size_bytes)
        {
            list.release(whole);
        }
        list
    }

    /// Free bytes in total.
    pub fn free_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.size_bytes).sum()
    }

    /// Takes `size_bytes`, rounded up to whole units, at a multiple of `align` bytes (a power of two).
    ///
    /// `None` for size zero, another `align`, or if no piece is large enough.
    pub fn take(&mut self, size_bytes: u64, align: u64) -> Option<PhysRange> {
        if size_bytes == 0 || !align.is_power_of_two() {
            return None;
        }
        let size_bytes = round_up(size_bytes, Self::UNIT_BYTES)?;
        let align = align.max(Self::UNIT_BYTES);
        (0..self.pieces.len()).find_map(|index| self.take_from(index, size_bytes, align))
    }

    fn take_from(&mut self, index: usize, size_bytes: u64, align: u64) -> Option<PhysRange> {
        let piece = *self.pieces.get(index)?;
        let start = round_up(piece.base_address, align)?;
        let taken = PhysRange::new(start, size_bytes)?;
        let after = piece.end_address().checked_sub(taken.end_address())?;
        let before = start - piece.base_address;
        let rest = PhysRange::new(taken.end_address(), after)?;
        match (before, after) {
            (0, 0) => {
                self.pieces.remove(index);
            }
            (0, _) => self.pieces[index] = rest,
            (_, 0) => self.pieces[index].size_bytes = before,
            _ => {
                // One piece becomes two; without room for that the next piece may still do.
                self.pieces.insert(index + 1, rest).ok()?;
                self.pieces[index].size_bytes = before;
            }
        }
        Some(taken)
    }

    /// Gives back what [`take`](Self::take) gave. Returns whether the memory is free again.
    ///
    /// It is not if a part of it already was, or if the list has no room for another piece; the memory is then lost.
    pub fn release(&mut self, range: PhysRange) -> bool {
        if range.size_bytes == 0 {
            return true;
        }
        let index = self
            .pieces
            .partition_point(|piece| piece.base_address < range.base_address);
        let before = index.checked_sub(1).and_then(|index| self.pieces.get(index)).copied();
        let after = self.pieces.get(index).copied();
        let overlaps = before.is_some_and(|piece| piece.end_address() > range.base_address)
            || after.is_some_and(|piece| range.end_address() > piece.base_address);
        if overlaps {
            return false;
        }
        let joins_before = before.is_some_and(|piece| piece.end_address() == range.base_address);
        let joins_after = after.is_some_and(|piece| piece.base_address == range.end_address());
        match (joins_before, joins_after) {
            (true, true) => {
                let after = self.pieces.remove(index);
                self.pieces[index - 1].size_bytes += range.size_bytes + after.size_bytes;
            }
            (true, false) => self.pieces[index - 1].size_bytes += range.size_bytes,
            (false, true) => {
                self.pieces[index].base_address = range.base_address;
                self.pieces[index].size_bytes += range.size_bytes;
            }
            (false, false) => return self.pieces.insert(index, range).is_ok(),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(base: u64, size: u64) -> PhysRange {
        PhysRange::new(base, size).unwrap()
    }

    #[test]
    fn sizes_are_whole_units_and_alignment_is_kept() {
        let mut list = FreeList::<8>::new(range(0x1001, 0x3000));
        assert_eq!(list.free_bytes(), 0x3000 - 64);
        assert_eq!(list.take(1, 1), Some(range(0x1040, 64)));
        assert_eq!(list.take(65, 4096), Some(range(0x2000, 128)));
        assert_eq!(list.take(64, 1), Some(range(0x1080, 64)), "the gap before is used");
        assert_eq!(list.take(0x4000, 1), None);
        assert_eq!(list.take(0, 1), None);
        assert_eq!(list.take(1, 3), None);
        assert_eq!(list.take(u64::MAX, 1), None);
    }

    #[test]
    fn everything_given_back_is_one_piece_again() {
        let mut list = FreeList::<8>::new(range(0x1000, 0x1000));
        let parts: Vec<_, 8> = (0..4).map(|_| list.take(0x400, 64).unwrap()).collect();
        assert_eq!(list.free_bytes(), 0);
        for index in [2, 0, 3, 1] {
            assert!(list.release(parts[index]));
        }
        assert_eq!(list.take(0x1000, 0x1000), Some(range(0x1000, 0x1000)));
    }

    #[test]
    fn a_double_release_is_refused() {
        let mut list = FreeList::<8>::new(range(0x1000, 0x1000));
        let part = list.take(0x100, 64).unwrap();
        assert!(list.release(part));
        assert!(!list.release(part));
        assert!(!list.release(range(0xfc0, 0x80)));
        assert_eq!(list.free_bytes(), 0x1000);
    }

    #[test]
    fn a_full_list_loses_memory_and_says_so() {
        let mut list = FreeList::<2>::new(range(0x40, 0x1000));
        let parts: Vec<_, 8> = (0..6).map(|_| list.take(64, 64).unwrap()).collect();
        assert!(list.release(parts[0]));
        assert!(!list.release(parts[2]));
        // A split it has no room for is refused as well.
        assert_eq!(list.take(64, 0x800), None);
    }

    proptest! {
        /// Any sequence of takes and releases: what is out never overlaps, and the sum is always the whole.
        #[test]
        fn no_byte_is_given_twice_or_lost(
            steps in proptest::collection::vec((any::<bool>(), 1u64..600, 0u32..10, any::<prop::sample::Index>()), 1..80)
        ) {
            let whole = range(0x1_0000, 0x2000);
            let mut list = FreeList::<128>::new(whole);
            let mut out: std::vec::Vec<PhysRange> = std::vec::Vec::new();
            for (take, size, align, index) in steps {
                if take {
                    if let Some(new) = list.take(size, 1 << align) {
                        prop_assert_eq!(new.base_address % (1 << align), 0);
                        prop_assert!(new.size_bytes >= size);
                        prop_assert!(new.base_address >= whole.base_address && new.end_address() <= whole.end_address());
                        for old in &out {
                            prop_assert!(new.end_address() <= old.base_address || old.end_address() <= new.base_address);
                        }
                        out.push(new);
                    }
                } else if !out.is_empty() {
                    let back = out.swap_remove(index.index(out.len()));
                    prop_assert!(list.release(back));
                }
                let used: u64 = out.iter().map(|range| range.size_bytes).sum();
                prop_assert_eq!(used + list.free_bytes(), whole.size_bytes);
            }
            for back in out {
                prop_assert!(list.release(back));
            }
            prop_assert_eq!(list.take(whole.size_bytes, 1), Some(whole));
        }
    }
}
