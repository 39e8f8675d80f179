//! What a transfer may touch: the checks in the order clients rely on, and the cut at the end of its partition.

use minix_abi::bdev::MAX_ELEMENTS;
use minix_abi::kernel_call::MapElement;
use minix_abi::{Errno, Status};

use crate::device::{SECTOR_BYTES, TransferLimits, whole_blocks};
use crate::partition::table::Extent;

const fn is_whole_blocks(bytes: u64, block: u64) -> bool {
    whole_blocks(bytes, block) == bytes
}

/// What the elements of a transfer ask for together, found in one walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// The bytes of all; `None` if the sum of signed numbers was negative after one of them.
    sum: Option<u64>,
    /// Each is some whole sectors, and no negative number.
    is_sound: bool,
}

impl Demand {
    /// As long as no element has more bytes beyond its first sector than this, no sum of them overflows.
    const SMALL: u64 = i64::MAX as u64 / MAX_ELEMENTS as u64 - SECTOR_BYTES;

    /// The only element has so many bytes.
    #[inline]
    pub(crate) const fn of_one(bytes: u64) -> Self {
        Self {
            sum: Some(bytes),
            is_sound: bytes > 0 && bytes.is_multiple_of(SECTOR_BYTES),
        }
    }

    /// The demand of at most [`MAX_ELEMENTS`] elements, as a client has made them: their padding is cleared.
    #[inline]
    pub(crate) fn of(elements: &mut [MapElement]) -> Self {
        // Bytes beyond the first sector: huge if there is less than a sector.
        let (mut any_beyond, mut sum) = (0, 0_u64);
        let mut add = |element: &mut MapElement| {
            element.clear_padding();
            any_beyond |= element.bytes.wrapping_sub(SECTOR_BYTES);
            sum = sum.wrapping_add(element.bytes);
        };
        // Four at a time, since the loop takes as long as two elements.
        let (fours, rest) = elements.as_chunks_mut();
        for [first, second, third, fourth] in fours {
            add(first);
            add(second);
            add(third);
            add(fourth);
        }
        rest.iter_mut().for_each(add);
        if elements.is_empty() || any_beyond > Self::SMALL {
            return Self::of_unusual(elements);
        }
        Self {
            sum: Some(sum),
            is_sound: any_beyond.is_multiple_of(SECTOR_BYTES),
        }
    }

    /// The same for a vector that is empty, that has an element of less than a sector, or whose sum may overflow.
    #[cold]
    fn of_unusual(elements: &[MapElement]) -> Self {
        let mut is_sound = !elements.is_empty();
        let sum = elements.iter().try_fold(0_u64, |sum, element| {
            let is_negative = element.bytes > i64::MAX as u64;
            is_sound &= element.bytes > 0 && element.bytes.is_multiple_of(SECTOR_BYTES) && !is_negative;
            // The sum is one of signed numbers, and only its sign after each element counts.
            let sum = sum.wrapping_add(element.bytes);
            (sum <= i64::MAX as u64).then_some(sum)
        });
        Self { sum, is_sound }
    }

    /// The bytes of all elements, as they are counted for a trace; `None` if a sum was negative.
    pub(crate) const fn sum(&self) -> Option<u64> {
        self.sum
    }

    /// Whether more than that is asked for.
    #[inline]
    pub(crate) fn is_more_than(&self, bytes: u32) -> bool {
        self.sum != Some(bytes.into())
    }
}

/// What is left of a demand after the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Where it starts on the disk, in bytes.
    pub(crate) first: u64,
    /// How much it is, in bytes.
    pub(crate) bytes: u32,
}

/// Checks a transfer and cuts it at the end of its partition, in the order in which clients expect their answers.
///
/// What a status cannot count is cut as well: a transfer never moves more than the whole blocks in 2^31 - 1 bytes.
///
/// # Errors
///
/// The answer, where there is nothing to be done: an error, or zero bytes at and beyond the end.
#[inline]
pub(crate) fn plan(
    position: u64,
    demand: Demand,
    limits: &TransferLimits,
    extent: Option<Extent>,
) -> Result<Planned, Status> {
    let &TransferLimits { capacity, block, .. } = limits;
    if position >= capacity {
        return Err(Status::OK);
    }
    let Some(extent) = extent else {
        return Err(Errno::ENXIO.into());
    };
    // A sum beyond 2^64 keeps its remainder, since blocks divide that; it is caught below.
    if !is_whole_blocks(extent.base_bytes.wrapping_add(position), block) {
        return Err(Errno::EINVAL.into());
    }
    let total = match demand.sum {
        Some(total) if demand.is_sound && is_whole_blocks(total, block) => total,
        _ => return Err(Errno::EINVAL.into()),
    };
    let end = extent.end_bytes().min(capacity);
    let first = match extent.base_bytes.checked_add(position) {
        Some(first) if first < end => first,
        _ => return Err(Status::OK),
    };
    let room = whole_blocks(total.min(end - first).min(i32::MAX as u64), block);
    if room == 0 {
        return Err(Status::OK);
    }
    Ok(Planned {
        first,
        bytes: room as u32,
    })
}

/// Cuts elements that are at least `bytes` long in sum. Returns how many are left; the last of them is shortened in place.
pub(crate) fn cut_elements(elements: &mut [MapElement], bytes: u64) -> u8 {
    let mut left = bytes;
    for (nth, element) in elements.iter_mut().enumerate() {
        if element.bytes >= left {
            element.bytes = left;
            return nth as u8 + 1;
        }
        left -= element.bytes;
    }
    elements.len() as u8
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec;
    use std::vec::Vec;

    use minix_abi::GrantId;
    use proptest::prelude::*;

    use super::*;
    use crate::device::DiskInfo;
    use crate::device::tests::disk;

    const DISK: DiskInfo = disk(100);

    fn elements(bytes: &[u64]) -> Vec<MapElement> {
        (1..)
            .zip(bytes)
            .map(|(grant, &bytes)| MapElement::granted(GrantId(grant), bytes))
            .collect()
    }

    /// The transfer that is left, and its elements, cut.
    #[derive(Clone, Copy, Debug)]
    struct Cut {
        first: u64,
        bytes: u32,
        elements: u8,
    }

    fn plan_read(
        position: u64,
        elements: &mut [MapElement],
        disk: &DiskInfo,
        extent: Option<Extent>,
    ) -> Result<Cut, Status> {
        let demand = Demand::of(elements);
        let Planned { first, bytes } = plan(position, demand, &TransferLimits::of(disk), extent)?;
        let left = if demand.is_more_than(bytes) {
            cut_elements(elements, bytes.into())
        } else {
            elements.len() as u8
        };
        Ok(Cut {
            first,
            bytes,
            elements: left,
        })
    }

    fn whole() -> Option<Extent> {
        Some(Extent {
            base_bytes: 0,
            size_bytes: u64::MAX,
        })
    }

    #[test]
    fn a_sum_is_negative_as_soon_as_it_was_once() {
        let half = 1 << 62;
        let sum = |bytes: &[u64]| Demand::of(&mut elements(bytes)).sum();
        assert_eq!(sum(&[half, half - 512]), Some((1 << 63) - 512));
        assert_eq!(sum(&[half, half]), None);
        assert_eq!(sum(&[half, half, half, half]), None);
        assert_eq!(sum(&[half, half.wrapping_neg(), 512]), Some(512));
        assert_eq!(sum(&[1 << 63]), None);
        assert!(!Demand::of(&mut elements(&[half, half.wrapping_neg(), 512])).is_sound);
        assert!(!Demand::of(&mut []).is_sound && !Demand::of_one(0).is_sound && !Demand::of_one(100).is_sound);
    }

    proptest! {
        #[test]
        fn one_walk_finds_what_careful_arithmetic_finds(sizes in prop::collection::vec(number(), 0..5)) {
            let mut list = elements(&sizes);
            let careful = Demand::of_unusual(&list);
            let found = Demand::of(&mut list);
            prop_assert_eq!(found.sum, careful.sum);
            prop_assert!(found.sum.is_none() || found.is_sound == careful.is_sound);
            if let [size] = sizes[..] && size < 1 << 31 {
                prop_assert_eq!(Demand::of_one(size), found);
            }
        }
    }

    #[test]
    fn a_transfer_is_no_longer_than_a_status_can_count() {
        let disk = DiskInfo {
            sectors: u64::MAX,
            ..DISK
        };
        for (block, bytes) in [(512, 0x7FFF_FE00), (4096, 0x7FFF_F000)] {
            let disk = DiskInfo {
                block_bytes: block,
                ..disk
            };
            let mut list = elements(&[1 << 30, 1 << 30, 1 << 40]);
            let plan = plan_read(1 << 50, &mut list, &disk, whole()).unwrap();
            assert_eq!((plan.first, plan.bytes, plan.elements), (1 << 50, bytes, 2));
            assert_eq!(list[1].bytes, u64::from(bytes) - (1 << 30));
        }
    }

    #[test]
    fn a_disk_that_tells_nonsense_overflows_nothing() {
        for (sectors, block) in [
            (u64::MAX, 512),
            (u64::MAX, 1 << 31),
            (u64::MAX / 512 + 1, 0),
            (3, 4096),
            (3, 100),
        ] {
            let disk = DiskInfo {
                sectors,
                block_bytes: block,
                ..DISK
            };
            for position in [0, 512, u64::MAX - 511] {
                for base in [0, 512, u64::MAX - 511] {
                    let extent = Extent {
                        base_bytes: base,
                        size_bytes: u64::MAX,
                    };
                    if let Ok(plan) = plan_read(position, &mut elements(&[4096]), &disk, Some(extent)) {
                        assert!(plan.first + u64::from(plan.bytes) <= disk.capacity());
                    }
                }
            }
        }
    }

    /// The checks once more, in numbers that cannot overflow.
    fn expected(position: u64, sizes: &[u64], disk: &DiskInfo, extent: Option<Extent>) -> Result<(u64, u32), Status> {
        let block = u128::from(disk.block_bytes);
        let capacity = u128::from(disk.sectors) * 512 / block * block;
        let capacity = capacity.min(u128::from(u64::MAX - 511) / block * block);
        let invalid = Err(Errno::EINVAL.into());
        let position = u128::from(position);
        if position >= capacity {
            return Err(Status::OK);
        }
        let Some(extent) = extent else {
            return Err(Errno::ENXIO.into());
        };
        let (base, size) = (u128::from(extent.base_bytes), u128::from(extent.size_bytes));
        let total: u128 = sizes.iter().map(|&size| u128::from(size)).sum();
        let longest = i64::MAX as u128;
        let bad = |&size: &u64| size == 0 || !size.is_multiple_of(512) || u128::from(size) > longest;
        if !(base + position).is_multiple_of(block)
            || sizes.iter().any(bad)
            || total > longest
            || !total.is_multiple_of(block)
        {
            return invalid;
        }
        let end = (base + size).min(capacity);
        if base + position >= end {
            return Err(Status::OK);
        }
        let bytes = total.min(end - base - position).min(i32::MAX as u128) / block * block;
        if bytes == 0 {
            Err(Status::OK)
        } else {
            Ok(((base + position) as u64, bytes as u32))
        }
    }

    fn number() -> impl Strategy<Value = u64> {
        let near = |bits: u32, off: i64| (1_u64 << bits).wrapping_add_signed(off);
        prop_oneof![
            4 => (0..300_u64).prop_map(|sectors| sectors * 512),
            1 => 0..5000_u64,
            1 => any::<u64>(),
            1 => any::<u64>().prop_map(|any| any & !4095),
            2 => (9..64_u32, -2..2_i64).prop_map(move |(bits, sectors)| near(bits, sectors * 512)),
            1 => (0..4_u64).prop_map(|sectors| (512 * sectors).wrapping_neg()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_checks_agree_with_wider_arithmetic(
            position in number(),
            base in number(),
            size in number(),
            known in prop::bool::weighted(0.95),
            sizes in prop::collection::vec(number(), 1..5),
            sectors in prop_oneof![0..300_u64, any::<u64>()],
            block_bytes in prop::sample::select(vec![512, 1024, 4096, 65536]),
        ) {
            let disk = DiskInfo { sectors, block_bytes, ..DISK };
            let extent = known.then_some(Extent { base_bytes: base, size_bytes: size });
            let mut list = elements(&sizes);
            let found = plan_read(position, &mut list, &disk, extent);
            prop_assert_eq!(found.map(|plan| (plan.first, plan.bytes)), expected(position, &sizes, &disk, extent));
            if let Ok(plan) = found {
                let left = &list[..usize::from(plan.elements)];
                let sum: u64 = left.iter().map(|element| element.bytes).sum();
                prop_assert_eq!(sum, u64::from(plan.bytes));
                prop_assert!(left.iter().zip(&sizes).all(|(now, before)| now.bytes > 0 && now.bytes <= *before));
            }
        }
    }
}
