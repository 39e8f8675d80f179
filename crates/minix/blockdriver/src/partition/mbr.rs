//! The rules by which the four entries of a table become partitions, as MINIX has them.
//!
//! They come in three kinds. The entries of the first sector are sorted and held to the disk. Those of a MINIX partition are
//! held to it but keep their order, and their positions count from the start of the whole disk. Those in the chain of an
//! extended partition are sorted, relative, and held to nothing.
//!
//! Positions and lengths count blocks of the disk, which are sectors of 512 bytes on most disks and longer on some. Every
//! other system reads them so.

use minix_abi::partition::{PartitionEntry, SystemId, TABLE_ENTRIES};

use super::table::Extent;

/// The entries of one table.
pub(crate) type Table = [PartitionEntry; TABLE_ENTRIES];

/// Sorts a table by first sector, with the unused entries at its end.
///
/// This has to be a bubble sort of exactly so many passes: an unused entry trades places with the next one, another
/// unused one too, and as unused entries may have a length, the order in which they end up can be seen.
pub(crate) fn sort(table: &mut Table) {
    for _ in 0..TABLE_ENTRIES {
        for left in 0..TABLE_ENTRIES - 1 {
            let (this, next) = (table[left], table[left + 1]);
            let in_order = next.system == SystemId::NONE || this.first.get() <= next.first.get();
            if this.system == SystemId::NONE || !in_order {
                table.swap(left, left + 1);
            }
        }
    }
}

/// What is left of an entry inside `parent`, to whose table it belongs. Positions count blocks of so many bytes from the start
/// of the disk.
///
/// An entry that starts too early is cut at its start, one that ends too late at its end. An entry of which nothing is left
/// is empty, but keeps its place.
pub(crate) fn clipped(entry: &PartitionEntry, parent: Extent, block_bytes: u64) -> Extent {
    let first = u64::from(entry.first.get());
    let end = first + u64::from(entry.sectors.get());
    let base_bytes = first.saturating_mul(block_bytes).max(parent.base_bytes);
    let end_bytes = end.saturating_mul(block_bytes).min(parent.end_bytes());
    Extent {
        base_bytes,
        size_bytes: end_bytes.saturating_sub(base_bytes),
    }
}

/// A logical partition: an entry of the table that lies `link` blocks into the extended partition.
pub(crate) fn logical(entry: &PartitionEntry, extended: Extent, link: u32, block_bytes: u64) -> Extent {
    let blocks = u64::from(link) + u64::from(entry.first.get());
    Extent {
        base_bytes: extended.base_bytes.saturating_add(blocks.saturating_mul(block_bytes)),
        size_bytes: u64::from(entry.sectors.get()).saturating_mul(block_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIX: SystemId = SystemId::MINIX;
    const NONE: SystemId = SystemId::NONE;

    fn firsts(mut table: Table) -> [u32; TABLE_ENTRIES] {
        sort(&mut table);
        table.map(|entry| entry.first.get())
    }

    fn table(entries: [(SystemId, u32); TABLE_ENTRIES]) -> Table {
        entries.map(|(system, first)| PartitionEntry::new(system, first, 1))
    }

    fn extent(first: u64, count: u64) -> Extent {
        Extent {
            base_bytes: first * 512,
            size_bytes: count * 512,
        }
    }

    #[test]
    fn used_entries_are_sorted_and_unused_ones_go_to_the_end() {
        assert_eq!(
            firsts(table([(MINIX, 4), (MINIX, 3), (MINIX, 2), (MINIX, 1)])),
            [1, 2, 3, 4]
        );
        assert_eq!(
            firsts(table([(NONE, 0), (MINIX, 9), (NONE, 5), (MINIX, 3)]))[..2],
            [3, 9]
        );
        assert_eq!(
            firsts(table([(NONE, 1), (MINIX, 9), (MINIX, 8), (MINIX, 7)])),
            [7, 8, 9, 1]
        );
    }

    #[test]
    fn used_entries_with_the_same_start_keep_their_order() {
        let mut same = [1, 2, 3, 4].map(|sectors| PartitionEntry::new(MINIX, 7, sectors));
        sort(&mut same);
        assert_eq!(same.map(|entry| entry.sectors.get()), [1, 2, 3, 4]);
    }

    #[test]
    fn each_pass_brings_the_first_unused_entry_to_the_end() {
        // Two are back in their order after four passes, three are not.
        assert_eq!(
            firsts(table([(NONE, 1), (NONE, 2), (MINIX, 3), (MINIX, 4)])),
            [3, 4, 1, 2]
        );
        assert_eq!(
            firsts(table([(MINIX, 3), (NONE, 1), (MINIX, 4), (NONE, 2)])),
            [3, 4, 1, 2]
        );
        assert_eq!(
            firsts(table([(NONE, 1), (NONE, 2), (MINIX, 4), (NONE, 3)])),
            [4, 2, 3, 1]
        );
        assert_eq!(
            firsts(table([(NONE, 1), (NONE, 2), (NONE, 3), (NONE, 4)])),
            [1, 2, 3, 4]
        );
    }

    #[test]
    fn an_entry_is_held_to_its_parent() {
        let parent = extent(100, 50);
        let clip = |first, count| clipped(&PartitionEntry::new(MINIX, first, count), parent, 512);
        assert_eq!(clip(110, 10), extent(110, 10));
        assert_eq!(clip(110, 40), extent(110, 40));
        assert_eq!(clip(110, 41), extent(110, 40));
        assert_eq!(clip(90, 20), extent(100, 10));
        assert_eq!(clip(90, 200), extent(100, 50));
    }

    #[test]
    fn an_entry_of_which_nothing_is_left_keeps_its_place() {
        let parent = extent(100, 50);
        let clip = |first, count| clipped(&PartitionEntry::new(NONE, first, count), parent, 512);
        assert_eq!(clip(0, 0), extent(100, 0));
        assert_eq!(clip(120, 0), extent(120, 0));
        assert_eq!(clip(50, 10), extent(100, 0));
        assert_eq!(clip(150, 10), extent(150, 0));
        assert_eq!(clip(200, 10), extent(200, 0));
    }

    #[test]
    fn an_end_at_or_past_32_bits_is_where_it_is() {
        let clip = |first, count, parent| clipped(&PartitionEntry::new(MINIX, first, count), parent, 512);
        let small = extent(0, 1000);
        assert_eq!(clip(10, 0xFFFF_FFF0, small), extent(10, 990));
        assert_eq!(clip(2000, 0xFFFF_FFF0, small), extent(2000, 0));
        let large = extent(0, 1 << 33);
        for count in [0xFFFF_FFF5, 0xFFFF_FFF6, 0xFFFF_FFF7, u32::MAX] {
            assert_eq!(clip(10, count, large), extent(10, count.into()));
        }
    }

    #[test]
    fn blocks_may_be_longer_than_sectors() {
        let entry = PartitionEntry::new(MINIX, 256, 4096);
        assert_eq!(clipped(&entry, extent(0, 100_000), 4096), extent(2048, 32_768));
        assert_eq!(clipped(&entry, extent(0, 3000), 4096), extent(2048, 952));
        assert_eq!(logical(&entry, extent(800, 1), 100, 4096), extent(3648, 32_768));
    }

    #[test]
    fn a_logical_partition_is_relative_and_held_to_nothing() {
        let extended = extent(1000, 50);
        let entry = PartitionEntry::new(MINIX, 63, 5000);
        assert_eq!(logical(&entry, extended, 0, 512), extent(1063, 5000));
        assert_eq!(logical(&entry, extended, 20, 512), extent(1083, 5000));
        let far = PartitionEntry::new(MINIX, u32::MAX, u32::MAX);
        let extended = extent(u32::MAX.into(), 1);
        let first = 3 * u64::from(u32::MAX);
        assert_eq!(logical(&far, extended, u32::MAX, 512), extent(first, u32::MAX.into()));
    }

    #[test]
    fn a_wild_parent_does_no_harm() {
        let wild = Extent {
            base_bytes: u64::MAX,
            size_bytes: u64::MAX,
        };
        let entry = PartitionEntry::new(MINIX, 1, 1);
        assert_eq!(clipped(&entry, wild, 512).size_bytes, 0);
        let far = PartitionEntry::new(MINIX, u32::MAX, u32::MAX);
        assert_eq!(logical(&far, wild, u32::MAX, u64::MAX).base_bytes, u64::MAX);
    }
}
