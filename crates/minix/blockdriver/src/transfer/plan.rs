//! What a transfer may touch: the checks in the order clients rely on, and the cut at the end of its partition.

use minix_abi::bdev::MAX_ELEMENTS;
use minix_abi::kernel_call::MapElement;
use minix_abi::{Errno, Status};

use super::Transfer;
use crate::device::{Direction, DiskInfo, SECTOR_BYTES, whole_blocks};
use crate::partition::table::Extent;

const fn is_whole_blocks(bytes: u64, block: u64) -> bool {
    whole_blocks(bytes, block) == bytes
}

/// Checks a transfer and cuts it at the end of its partition, in the order in which clients expect their answers.
///
/// The last of the elements that are left is shortened in place. What a status cannot count is cut as well: a transfer
/// never moves more than the whole blocks in 2^31 - 1 bytes.
///
/// # Errors
///
/// The answer, where there is nothing to be done: an error, or zero bytes at and beyond the end.
pub(crate) fn plan(
    direction: Direction,
    position: u64,
    elements: &mut [MapElement],
    disk: &DiskInfo,
    extent: Option<Extent>,
) -> Result<Transfer, Status> {
    let capacity = disk.capacity();
    let block = disk.block();
    if elements.len() > MAX_ELEMENTS {
        return Err(Errno::EINVAL.into());
    }
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
    let mut total = 0_u64;
    for element in elements.iter() {
        let too_long = element.bytes > i64::MAX as u64;
        if element.bytes == 0 || !element.bytes.is_multiple_of(SECTOR_BYTES) || too_long {
            return Err(Errno::EINVAL.into());
        }
        // Both are below 2^63.
        total += element.bytes;
        if total > i64::MAX as u64 {
            return Err(Errno::EINVAL.into());
        }
    }
    if total == 0 || !is_whole_blocks(total, block) {
        return Err(Errno::EINVAL.into());
    }
    let end = extent.end_bytes().min(capacity);
    let first = match extent.base_bytes.checked_add(position) {
        Some(first) if first < end => first,
        _ => return Err(Status::OK),
    };
    let room = whole_blocks(total.min(end - first).min(i32::MAX as u64), block);
    if room == 0 {
        return Err(Status::OK);
    }
    let elements = cut_elements(elements, room);
    Ok(Transfer::new(direction, first, room as u32, elements))
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

    const DISK: DiskInfo = DiskInfo {
        sectors: 100,
        block_bytes: 512,
        read_only: false,
        can_flush: true,
        write_cache: true,
        max_segments: 64,
        max_segment_bytes: u32::MAX,
        geometry: None,
    };

    fn elements(bytes: &[u64]) -> Vec<MapElement> {
        (1..)
            .zip(bytes)
            .map(|(grant, &bytes)| MapElement::granted(GrantId(grant), bytes))
            .collect()
    }

    fn plan_read(
        position: u64,
        elements: &mut [MapElement],
        disk: &DiskInfo,
        extent: Option<Extent>,
    ) -> Result<Transfer, Status> {
        plan(Direction::Read, position, elements, disk, extent)
    }

    fn whole() -> Option<Extent> {
        Some(Extent {
            base_bytes: 0,
            size_bytes: u64::MAX,
        })
    }

    #[test]
    fn check_1_more_than_64_elements_are_einval() {
        let mut list = elements(&[512; 65]);
        assert_eq!(
            plan_read(0, &mut list, &DISK, whole()).err(),
            Some(Errno::EINVAL.into())
        );
        assert!(plan_read(0, &mut list[..64], &DISK, whole()).is_ok());
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
