//! From scattered virtual memory to physical ranges, as `SYS_VUMAP` does it.
//!
//! Two properties trap drivers, and are kept: adjacent pages of one element become one range, and when the output is
//! full the mapping just stops.

use heapless::Vec;
use minix_abi::kernel_call::{MAX_RANGES, MapAccess, MapElement, PhysRange};
use minix_abi::{Errno, PAGE_BYTES};

/// Physical ranges found.
pub type Ranges = Vec<PhysRange, MAX_RANGES>;

/// A count of elements or ranges, as the kernel takes it.
///
/// # Errors
///
/// `EINVAL` below one. Above 64 it is taken as 64.
pub fn count(count: i32) -> Result<usize, Errno> {
    match usize::try_from(count) {
        Ok(count @ 1..) => Ok(count.min(MAX_RANGES)),
        _ => Err(Errno::EINVAL),
    }
}

/// Maps `elements` to at most `max` ranges.
///
/// `locate` finds the owner and address of an element from its offset on, for so many bytes; `page` finds the physical
/// address for an address of an owner, and may allocate memory if the flag says so.
///
/// # Errors
///
/// `EINVAL` for an access that is none, or for an element not larger than the offset; `EFAULT` where there is no memory;
/// and those of `locate`.
pub fn map<O: Copy>(
    elements: &[MapElement],
    offset: u64,
    access: MapAccess,
    max: usize,
    mut locate: impl FnMut(&MapElement, u64, u64) -> Result<(O, u64), Errno>,
    mut page: impl FnMut(O, u64, bool) -> Option<u64>,
) -> Result<Ranges, Errno> {
    if access.is_empty() || !(MapAccess::READ | MapAccess::WRITE).contains(access) {
        return Err(Errno::EINVAL);
    }
    // Memory that a device reads has to be there; memory that it overwrites can be allocated now.
    let may_allocate = !access.contains(MapAccess::READ);
    let max = max.min(MAX_RANGES);
    let mut ranges = Ranges::new();
    let mut skip = offset;
    for element in elements {
        if ranges.len() >= max {
            break;
        }
        let mut left = element
            .bytes
            .checked_sub(skip)
            .filter(|&left| left != 0)
            .ok_or(Errno::EINVAL)?;
        let (owner, mut address) = locate(element, skip, left)?;
        skip = 0;
        let first_range = ranges.len();
        while left != 0 {
            let physical = page(owner, address, may_allocate).ok_or(Errno::EFAULT)?;
            let bytes = left.min(PAGE_BYTES - address % PAGE_BYTES);
            let is_full = ranges.len() == max;
            match ranges[first_range..].last_mut() {
                Some(range) if range.address + range.bytes == physical => range.bytes += bytes,
                _ if is_full => break,
                _ => ranges
                    .push(PhysRange {
                        address: physical,
                        bytes,
                    })
                    .map_err(|_| Errno::EINVAL)?,
            }
            left -= bytes;
            address = address.wrapping_add(bytes);
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    const READ: MapAccess = MapAccess::READ;
    const WRITE: MapAccess = MapAccess::WRITE;

    fn own(address: u64, bytes: u64) -> MapElement {
        MapElement::own(address, bytes)
    }

    fn range(address: u64, bytes: u64) -> PhysRange {
        PhysRange { address, bytes }
    }

    /// Below 0x10_0000, page n is at physical 2n, above in one piece; from 0x20_0000 on nothing is there yet, and from
    /// 0x30_0000 on nothing can be.
    fn page((): (), address: u64, allocate: bool) -> Option<u64> {
        match address {
            0..0x10_0000 => Some(address / PAGE_BYTES * 2 * PAGE_BYTES + address % PAGE_BYTES),
            0x10_0000..0x20_0000 => Some(address + 0x8000_0000),
            0x20_0000..0x30_0000 if allocate => Some(address + 0x8000_0000),
            _ => None,
        }
    }

    fn mapped(elements: &[MapElement], offset: u64, access: MapAccess, max: usize) -> Result<Ranges, Errno> {
        map(
            elements,
            offset,
            access,
            max,
            |element, offset, _| Ok(((), element.address + offset)),
            page,
        )
    }

    #[test]
    fn adjacent_pages_of_an_element_are_one_range() {
        let whole = mapped(&[own(0x10_0800, 0x3000)], 0, READ, 64).unwrap();
        assert_eq!(whole[..], [range(0x8010_0800, 0x3000)]);
        let pieces = mapped(&[own(0x800, 0x1000)], 0, READ, 64).unwrap();
        assert_eq!(pieces[..], [range(0x800, 0x800), range(0x2000, 0x800)]);
        // Elements stay apart even if they touch.
        let two = mapped(&[own(0x10_0000, 0x800), own(0x10_0800, 0x800)], 0, READ, 64).unwrap();
        assert_eq!(two.len(), 2);
    }

    #[test]
    fn a_full_output_stops_without_an_error() {
        let scattered = [own(0, 0x4_1000), own(0x10_0000, 0x1000)];
        let ranges = mapped(&scattered, 0, READ, 64).unwrap();
        assert_eq!(
            (ranges.len(), ranges.iter().map(|range| range.bytes).sum::<u64>()),
            (64, 0x4_0000)
        );
        let rest = mapped(&scattered, 0x4_0000, READ, 64).unwrap();
        assert_eq!(rest[..], [range(0x8_0000, 0x1000), range(0x8010_0000, 0x1000)]);
        // The last range that fits is still merged to its end.
        let merged = mapped(&[own(0x10_0000, 0x3000)], 0, READ, 1).unwrap();
        assert_eq!(merged[..], [range(0x8010_0000, 0x3000)]);
        // What comes after the end of the output is not looked at.
        assert_eq!(mapped(&[own(0, 0x1000), own(0, 0)], 0, READ, 1).unwrap().len(), 1);
    }

    #[test]
    fn counts_and_sizes_have_limits() {
        assert_eq!((count(0), count(-1)), (Err(Errno::EINVAL), Err(Errno::EINVAL)));
        assert_eq!((count(1), count(64), count(1000)), (Ok(1), Ok(64), Ok(64)));
        let refused = Err(Errno::EINVAL);
        assert_eq!(mapped(&[own(0, 0)], 0, READ, 64), refused);
        for offset in [0x1000, u64::MAX] {
            assert_eq!(mapped(&[own(0, 0x1000)], offset, READ, 64), refused);
        }
        // The offset is for the first element alone.
        let elements = [own(0, 0x1000), own(0, 8)];
        assert_eq!(mapped(&elements, 0xFFF, READ, 64).unwrap()[0].bytes, 1);
        for access in [0, 4] {
            assert_eq!(
                mapped(&[own(0, 1)], 0, MapAccess::from_bits_retain(access), 64),
                refused
            );
        }
    }

    #[test]
    fn missing_memory_is_allocated_only_to_be_overwritten() {
        let absent = [own(0x1F_F000, 0x2000)];
        assert_eq!(mapped(&absent, 0, READ, 64), Err(Errno::EFAULT));
        assert_eq!(mapped(&absent, 0, READ | WRITE, 64), Err(Errno::EFAULT));
        assert_eq!(mapped(&absent, 0, WRITE, 64).unwrap().len(), 1);
        assert_eq!(mapped(&[own(0x30_0000, 1)], 0, WRITE, 64), Err(Errno::EFAULT));
    }
}
