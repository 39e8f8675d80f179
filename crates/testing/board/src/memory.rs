//! Which part of RAM is free.

use virtio_fdt::PhysRange;

/// The largest part of `space` that overlaps nothing in `taken`, with both ends on a boundary of `align` bytes.
///
/// Ranges in `taken` may overlap each other, lie outside of `space` and come in any order.
pub fn largest_gap(space: PhysRange, taken: &[PhysRange], align: u64) -> Option<PhysRange> {
    let taken = || taken.iter().filter(|range| range.size_bytes > 0);
    // A gap can only start where the space does or where something taken ends.
    let starts = core::iter::once(space.base_address).chain(taken().map(|range| range.end_address()));
    let gap_from = |start: u64| {
        let start = start.checked_next_multiple_of(align)?;
        let is_taken = taken().any(|range| (range.base_address..range.end_address()).contains(&start));
        let later = taken().map(|range| range.base_address).filter(|&base| base >= start);
        let end = later.fold(space.end_address(), u64::min);
        let size_bytes = (end - end % align).checked_sub(start).filter(|&bytes| bytes > 0)?;
        PhysRange::new(start, size_bytes).filter(|gap| gap.base_address >= space.base_address && !is_taken)
    };
    starts.filter_map(gap_from).max_by_key(|gap| gap.size_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(base: u64, size: u64) -> PhysRange {
        PhysRange::new(base, size).unwrap()
    }

    #[test]
    fn the_blob_near_the_end_of_memory_is_avoided() {
        let space = range(0x8028_0000, 0x7d8_0000);
        let blob = range(0x87e0_0000, 0x2345);
        assert_eq!(
            largest_gap(space, &[blob], 4096),
            Some(range(0x8028_0000, 0x87e0_0000 - 0x8028_0000))
        );
    }

    #[test]
    fn the_end_of_the_address_space_is_no_gap() {
        assert_eq!(largest_gap(range(u64::MAX - 10, 10), &[], 4096), None);
        let taken = [range(0, 0x2800), range(0x9f00, u64::MAX - 0x9f00)];
        assert_eq!(
            largest_gap(range(0x1000, 0x9000), &taken, 0x100),
            Some(range(0x2800, 0x7700))
        );
    }

    proptest! {
        /// Against a map of a small address space, one mark per byte.
        #[test]
        fn the_gap_is_the_one_counting_finds(
            base in 0u64..64, size in 0u64..64,
            taken in proptest::collection::vec((0u64..128, 0u64..24), 0..6),
            align in prop::sample::select(vec![1u64, 2, 4, 8]),
        ) {
            let taken: Vec<_> = taken.into_iter().map(|(base, size)| range(base, size)).collect();
            let free = |byte: u64| {
                byte >= base && byte < base + size
                    && !taken.iter().any(|range| (range.base_address..range.end_address()).contains(&byte))
            };
            let units: Vec<bool> = (0..256 / align)
                .map(|unit| (unit * align..(unit + 1) * align).all(free))
                .collect();
            let longest = units.split(|free| !free).map(<[bool]>::len).max().unwrap_or(0) as u64 * align;
            let gap = largest_gap(range(base, size), &taken, align);
            prop_assert_eq!(gap.map_or(0, |gap| gap.size_bytes), longest);
            if let Some(gap) = gap {
                prop_assert!((gap.base_address..gap.end_address()).all(free));
                prop_assert_eq!(gap.base_address % align, 0);
            }
        }
    }
}
