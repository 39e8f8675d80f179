//! Which part of RAM is free.

use virtio_fdt::PhysRange;

/// The largest part of `space` that overlaps nothing in `taken`, with both ends on a boundary of `align` bytes.
///
/// `align` is a power of two. `None` if nothing is left, or for another `align`. Of equally large parts the lowest is
/// returned. Ranges in `taken` may overlap each other, lie outside of `space` and come in any order.
pub fn largest_gap(space: PhysRange, taken: &[PhysRange], align: u64) -> Option<PhysRange> {
    if !align.is_power_of_two() {
        return None;
    }
    let taken = || taken.iter().filter(|range| range.size_bytes > 0);
    // A gap can only start where the space does or where something taken ends.
    let starts = core::iter::once(space.base_address).chain(taken().map(|range| range.end_address()));
    let mut best: Option<PhysRange> = None;
    for start in starts {
        let Some(start) = round_up(start, align) else { continue };
        let covered = taken().any(|range| range.base_address <= start && start < range.end_address());
        if start < space.base_address || covered {
            continue;
        }
        let next = taken()
            .map(|range| range.base_address)
            .filter(|&base| base >= start)
            .fold(space.end_address(), u64::min);
        let Some(size_bytes) = (next & !(align - 1)).checked_sub(start) else {
            continue;
        };
        let better = match best {
            None => size_bytes > 0,
            Some(best) => {
                (size_bytes, core::cmp::Reverse(start)) > (best.size_bytes, core::cmp::Reverse(best.base_address))
            }
        };
        if better {
            best = PhysRange::new(start, size_bytes);
        }
    }
    best
}

/// `address` rounded up to a multiple of `align`, a power of two.
fn round_up(address: u64, align: u64) -> Option<u64> {
    Some(address.checked_add(align - 1)? & !(align - 1))
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
    fn the_larger_side_of_an_obstacle_wins_and_ends_are_aligned() {
        let space = range(0x1001, 0xefff);
        assert_eq!(
            largest_gap(space, &[range(0x3001, 1)], 0x1000),
            Some(range(0x4000, 0xc000))
        );
        assert_eq!(
            largest_gap(space, &[range(0xdfff, 1)], 0x1000),
            Some(range(0x2000, 0xb000))
        );
    }

    #[test]
    fn overlapping_and_outlying_obstacles_do_no_harm() {
        let space = range(0x1000, 0x9000);
        let taken = [
            range(0, 0x2800),
            range(0x2000, 0x2000),
            range(0x3000, 0x800),
            range(0x9f00, u64::MAX - 0x9f00),
        ];
        assert_eq!(largest_gap(space, &taken, 0x100), Some(range(0x4000, 0x5f00)));
    }

    #[test]
    fn nothing_left_is_none() {
        let space = range(0x1000, 0x1000);
        assert_eq!(largest_gap(space, &[range(0, 0x10_0000)], 16), None);
        assert_eq!(largest_gap(space, &[], 0x2000), None);
        assert_eq!(largest_gap(space, &[], 3), None);
        assert_eq!(largest_gap(range(u64::MAX - 10, 10), &[], 4096), None);
        assert_eq!(largest_gap(range(0x1000, 0), &[], 1), None);
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
