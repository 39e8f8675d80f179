//! The rules of MINIX partition tables, one test each.

use minix_blockdriver::{DeviceTable, Extent};

use crate::disk::{Disk, extent, primaries, run, subs};

const FREE: (u8, u32, u32) = (0, 0, 0);
const LINUX: u8 = 0x83;
const MINIX: u8 = 0x81;

const NOTHING: [Extent; 4] = [Extent::EMPTY; 4];

#[test]
fn when_nothing_is_scanned_on_an_empty_disk() {
    let (table, reads) = Disk::new(0).scan_with_reads(512);
    assert!(reads.is_empty());
    let mut fresh = DeviceTable::new();
    fresh.reset(0);
    assert_eq!(table, fresh);
}

#[test]
fn read_2048_bytes_at_the_start_of_the_disk() {
    let (_, reads) = Disk::new(100).scan_with_reads(512);
    let reads: Vec<_> = reads.iter().map(|read| (read.first_byte, read.bytes)).collect();
    assert_eq!(reads, [(0, 2048)]);
}

#[test]
fn read_is_made_of_whole_blocks() {
    let disk = Disk::new(2048)
        .table(0, [(MINIX, 63, 100), FREE, FREE, FREE])
        .table(504, [(MINIX, 70, 5), FREE, FREE, FREE]);
    let (table, reads) = disk.scan_with_reads(4096);
    let reads: Vec<_> = reads.iter().map(|read| (read.first_byte, read.bytes)).collect();
    assert_eq!(reads, [(0, 4096), (63 * 4096, 4096)]);
    assert_eq!(subs(&table, 0)[0], extent(560, 40));
}

#[test]
fn read_that_is_short_means_no_table() {
    let entries = [(LINUX, 1, 2), FREE, FREE, FREE];
    assert_eq!(primaries(&Disk::new(4).table(0, entries).scan(512))[0], extent(1, 2));
    let (table, reads) = Disk::new(3).table(0, entries).scan_with_reads(512);
    assert!(reads.is_empty(), "three sectors cannot give 2048 bytes");
    assert_eq!(primaries(&table), NOTHING);
}

#[test]
fn a_failed_read_or_one_of_another_length_means_no_table() {
    let disk = Disk::new(100).table(0, [(LINUX, 1, 2), FREE, FREE, FREE]);
    let whole = disk.read(0, 2048);
    let mut long = whole.clone();
    long.push(0);
    for data in [
        None,
        Some(vec![]),
        Some(whole[..512].to_vec()),
        Some(whole[..2047].to_vec()),
        Some(long),
    ] {
        let mut table = DeviceTable::new();
        table.reset(disk.bytes);
        run(&mut table, disk.bytes, 512, |_| data.clone());
        assert_eq!(primaries(&table), NOTHING);
    }
}

#[test]
fn read_of_sub_partitions_does_not_leave_the_partition() {
    // Three sectors are too few for a read of 2048 bytes, though the disk goes on after them.
    for (sectors, found) in [(3, Extent::EMPTY), (4, extent(50, 1))] {
        let disk = Disk::new(100)
            .table(0, [(MINIX, 50, sectors), FREE, FREE, FREE])
            .table(50, [(MINIX, 50, 1), FREE, FREE, FREE]);
        assert_eq!(subs(&disk.scan(512), 0)[0], found);
    }
}

#[test]
fn signature_of_55_aa_at_510_is_needed() {
    for (offset, value) in [(510, 0xAA), (511, 0x55), (510, 0), (511, 0)] {
        let mut disk = Disk::new(100).table(0, [(LINUX, 1, 2), FREE, FREE, FREE]);
        disk.sector(0)[offset] = value;
        assert_eq!(primaries(&disk.scan(512)), NOTHING);
    }
}

#[test]
fn table_is_at_446_and_only_system_first_and_size_matter() {
    let mut disk = Disk::new(100_000);
    let sector = disk.sector(0);
    sector.fill(0xFF);
    let second = [0x80, 1, 2, 3, 0x83, 4, 5, 6, 0x10, 0x27, 0, 0, 0x20, 0x4E, 0, 0];
    sector[446..462].fill(0);
    sector[462..478].copy_from_slice(&second);
    sector[478..510].fill(0);
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    assert_eq!(primaries(&disk.scan(512))[0], extent(10_000, 20_000));
}

#[test]
fn limit_is_the_end_of_the_device() {
    let disk = Disk::new(1000).table(
        0,
        [(LINUX, 10, 990), (LINUX, 20, 981), (LINUX, 30, u32::MAX - 30), FREE],
    );
    assert_eq!(
        primaries(&disk.scan(512))[..3],
        [extent(10, 990), extent(20, 980), extent(30, 970)]
    );
}

#[test]
fn sorting_is_by_first_sector_with_unused_entries_last() {
    let disk = Disk::new(1000).table(0, [FREE, (LINUX, 300, 3), (LINUX, 100, 1), (LINUX, 200, 2)]);
    let sorted = [extent(100, 1), extent(200, 2), extent(300, 3), Extent::EMPTY];
    assert_eq!(primaries(&disk.scan(512)), sorted);
}

#[test]
fn sorting_takes_sub_partitions_along() {
    let disk = Disk::new(1000)
        .table(0, [(MINIX, 500, 100), (LINUX, 100, 100), FREE, FREE])
        .table(500, [(MINIX, 510, 7), FREE, FREE, FREE]);
    let table = disk.scan(512);
    assert_eq!(primaries(&table)[1], extent(500, 100));
    assert_eq!(subs(&table, 1)[0], extent(510, 7));
    assert_eq!(subs(&table, 0), NOTHING);
}

#[test]
fn sorting_happens_in_extended_chains() {
    let disk = Disk::new(1000)
        .table(0, [(5, 100, 500), FREE, FREE, FREE])
        .table(100, [FREE, (LINUX, 90, 9), (LINUX, 50, 5), (LINUX, 70, 7)]);
    let logical = [extent(150, 5), extent(170, 7), extent(190, 9), Extent::EMPTY];
    assert_eq!(subs(&disk.scan(512), 0), logical);
}

#[test]
fn sorting_does_not_happen_in_sub_partition_tables() {
    let disk = Disk::new(1000)
        .table(0, [(MINIX, 100, 500), FREE, FREE, FREE])
        .table(100, [FREE, (MINIX, 300, 3), (MINIX, 200, 2), FREE]);
    let unsorted = [extent(100, 0), extent(300, 3), extent(200, 2), extent(100, 0)];
    assert_eq!(subs(&disk.scan(512), 0), unsorted);
}

#[test]
fn clipping_counts_an_end_past_the_disk_as_the_limit() {
    let disk = Disk::new(1000).table(0, [(LINUX, 100, u32::MAX), (LINUX, 2000, u32::MAX), FREE, FREE]);
    assert_eq!(primaries(&disk.scan(512))[..2], [extent(100, 900), extent(2000, 0)]);
}

/// 2 TiB and more: the sum of start and length has 33 bits.
#[test]
fn clipping_counts_an_end_at_32_bits_and_beyond_as_it_is() {
    let end = u32::MAX - 99;
    let disk = Disk::new(1 << 33).table(0, [(LINUX, 100, end), (LINUX, 200, u32::MAX), FREE, FREE]);
    assert_eq!(100 + u64::from(end), 1 << 32);
    assert_eq!(
        primaries(&disk.scan(512))[..2],
        [extent(100, (1 << 32) - 100), extent(200, u32::MAX.into())]
    );
}

/// An entry of 256 and 4096 on blocks of 4 KiB starts at 1 MiB and is 16 MiB long.
#[test]
fn entries_count_blocks_where_blocks_are_larger() {
    let disk = Disk::new(100_000).table(0, [(LINUX, 256, 4096), FREE, FREE, FREE]);
    assert_eq!(primaries(&disk.scan(4096))[0], extent(2048, 32_768));
    assert_eq!(primaries(&disk.scan(1024))[0], extent(512, 8192));
    assert_eq!(primaries(&disk.scan(512))[0], extent(256, 4096));
}

#[test]
fn sub_partitions_count_blocks_of_the_disk() {
    let disk = Disk::new(100_000)
        .table(0, [(MINIX, 256, 4096), FREE, FREE, FREE])
        .table(2048, [(MINIX, 300, 10), (MINIX, 4350, 10), FREE, FREE]);
    assert_eq!(
        subs(&disk.scan(4096), 0)[..2],
        [extent(2400, 80), extent(34_800, 16)],
        "the second is cut at the end of its partition"
    );
}

#[test]
fn extended_chains_count_blocks_in_places_and_links() {
    let disk = Disk::new(100_000)
        .table(0, [(5, 100, 5000), FREE, FREE, FREE])
        .table(800, [(LINUX, 10, 20), (5, 50, 100), FREE, FREE])
        .table(1200, [(LINUX, 8, 9), FREE, FREE, FREE]);
    assert_eq!(subs(&disk.scan(4096), 0)[..2], [extent(880, 160), extent(1264, 72)]);
}

#[test]
fn sub_partitions_are_cut_at_both_ends_of_their_partition() {
    let disk = Disk::new(1000).table(0, [(MINIX, 100, 100), FREE, FREE, FREE]).table(
        100,
        [(MINIX, 50, 60), (MINIX, 150, 100), (MINIX, 10, 20), (MINIX, 300, 20)],
    );
    let cut = [extent(100, 10), extent(150, 50), extent(100, 0), extent(300, 0)];
    assert_eq!(subs(&disk.scan(512), 0), cut);
}

#[test]
fn clipping_keeps_the_base_of_what_is_empty() {
    let disk = Disk::new(1000).table(0, [(LINUX, 400, 0), (LINUX, 5000, 10), FREE, FREE]);
    assert_eq!(primaries(&disk.scan(512))[..2], [extent(400, 0), extent(5000, 0)]);
}

#[test]
fn empty_entries_are_not_skipped() {
    let disk = Disk::new(1000)
        .table(0, [(MINIX, 100, 500), FREE, FREE, FREE])
        .table(100, [FREE, (0, 250, 0), (MINIX, 200, 2), FREE]);
    let kept = [extent(100, 0), extent(250, 0), extent(200, 2), extent(100, 0)];
    assert_eq!(subs(&disk.scan(512), 0), kept);
}

#[test]
fn empty_entries_are_taken_at_their_length_if_they_have_one() {
    let disk = Disk::new(1000).table(0, [(0, 10, 5), (LINUX, 100, 1), FREE, FREE]);
    assert_eq!(
        primaries(&disk.scan(512))
            .iter()
            .filter(|&&found| found == extent(10, 5))
            .count(),
        1
    );
}

#[test]
fn partition_0x81_has_sub_partitions_at_sectors_of_the_disk() {
    let disk = Disk::new(100_000)
        .table(0, [(MINIX, 1, 8), (MINIX, 9, 8), FREE, FREE])
        .table(1, [(MINIX, 2, 3), FREE, FREE, (MINIX, 5, 4)])
        .table(9, [(MINIX, 9, 8), FREE, FREE, FREE]);
    let table = disk.scan(512);
    assert_eq!(primaries(&table)[..2], [extent(1, 8), extent(9, 8)]);
    assert_eq!(
        subs(&table, 0),
        [extent(2, 3), extent(1, 0), extent(1, 0), extent(5, 4)]
    );
    assert_eq!(subs(&table, 1)[0], extent(9, 8));
}

#[test]
fn partition_0x81_is_not_scanned_if_it_is_empty() {
    let disk = Disk::new(1000)
        .table(0, [(MINIX, 100, 0), FREE, FREE, FREE])
        .table(100, [(MINIX, 110, 5), FREE, FREE, FREE]);
    let (table, reads) = disk.scan_with_reads(512);
    assert_eq!((reads.len(), subs(&table, 0)), (1, NOTHING));
}

#[test]
fn partition_0x81_inside_another_goes_no_deeper() {
    let disk = Disk::new(1000)
        .table(0, [(MINIX, 100, 500), FREE, FREE, FREE])
        .table(100, [(MINIX, 200, 100), (5, 300, 100), FREE, FREE])
        .table(200, [(MINIX, 210, 5), FREE, FREE, FREE]);
    let (_, reads) = disk.scan_with_reads(512);
    assert_eq!(reads.len(), 2);
}

#[test]
fn other_systems_have_no_sub_partitions() {
    for system in [0, 1, 0x80, 0x82, 0x83, 0x85, 0xA9] {
        let disk = Disk::new(1000)
            .table(0, [(system, 100, 500), FREE, FREE, FREE])
            .table(100, [(MINIX, 200, 5), FREE, FREE, FREE]);
        assert_eq!(disk.scan_with_reads(512).1.len(), 1);
    }
}

#[test]
fn extended_chain_fills_the_slots_of_its_partition() {
    for system in [0x05, 0x0F] {
        let disk = Disk::new(10_000)
            .table(0, [(LINUX, 10, 90), (system, 1000, 5000), FREE, FREE])
            .table(1000, [(LINUX, 63, 100), (5, 200, 300), FREE, FREE])
            .table(1200, [(LINUX, 63, 237), (0x0F, 700, 300), FREE, FREE])
            .table(1700, [(LINUX, 20, 30), FREE, FREE, FREE]);
        let table = disk.scan(512);
        let logical = [extent(1063, 100), extent(1263, 237), extent(1720, 30), Extent::EMPTY];
        assert_eq!(subs(&table, 1), logical);
        assert_eq!(subs(&table, 0), NOTHING);
    }
}

#[test]
fn extended_links_are_relative_to_the_extended_partition() {
    let disk = Disk::new(10_000)
        .table(0, [(5, 1000, 5000), FREE, FREE, FREE])
        .table(1000, [(5, 200, 1), FREE, FREE, FREE])
        .table(1200, [(5, 300, 1), FREE, FREE, FREE])
        .table(1300, [(LINUX, 1, 1), FREE, FREE, FREE])
        .table(1500, [(LINUX, 9, 9), FREE, FREE, FREE]);
    assert_eq!(subs(&disk.scan(512), 0)[0], extent(1301, 1));
}

#[test]
fn extended_chain_is_not_clipped() {
    let disk = Disk::new(10_000)
        .table(0, [(5, 1000, 100), FREE, FREE, FREE])
        .table(1000, [(LINUX, 50, 80_000), FREE, FREE, FREE]);
    assert_eq!(subs(&disk.scan(512), 0)[0], extent(1050, 80_000));
}

#[test]
fn extended_chain_takes_four_at_most() {
    let disk = Disk::new(10_000)
        .table(0, [(5, 1000, 5000), FREE, FREE, FREE])
        .table(1000, [(LINUX, 10, 1), (LINUX, 20, 1), (LINUX, 30, 1), (5, 100, 1)])
        .table(1100, [(LINUX, 10, 1), (LINUX, 20, 1), (5, 200, 1), FREE]);
    let (table, reads) = disk.scan_with_reads(512);
    let four = [extent(1010, 1), extent(1020, 1), extent(1030, 1), extent(1110, 1)];
    assert_eq!(subs(&table, 0), four);
    assert_eq!(reads.len(), 3);
}

#[test]
fn extended_chain_goes_on_at_the_last_link_of_a_table() {
    let disk = Disk::new(10_000)
        .table(0, [(5, 1000, 5000), FREE, FREE, FREE])
        .table(1000, [(5, 300, 1), (5, 200, 1), FREE, FREE])
        .table(1200, [(LINUX, 2, 2), FREE, FREE, FREE])
        .table(1300, [(LINUX, 3, 3), FREE, FREE, FREE]);
    assert_eq!(subs(&disk.scan(512), 0)[0], extent(1303, 3));
}

#[test]
fn extended_chain_stops_at_a_link_of_zero_and_without_a_table() {
    let start = Disk::new(10_000).table(0, [(5, 1000, 500), FREE, FREE, FREE]);
    let zero = start.clone().table(1000, [(LINUX, 1, 1), (5, 0, 1), FREE, FREE]);
    assert_eq!(zero.scan_with_reads(512).1.len(), 2);
    let unsigned = start.clone().table(1000, [(LINUX, 1, 1), (5, 40, 1), FREE, FREE]);
    let (table, reads) = unsigned.scan_with_reads(512);
    assert_eq!((reads.len(), subs(&table, 0)[0]), (3, extent(1001, 1)));
    // Past the end of the extended partition there is nothing to read.
    let outside = start
        .table(1000, [(LINUX, 1, 1), (5, 497, 1), FREE, FREE])
        .table(1497, [(LINUX, 1, 1), FREE, FREE, FREE]);
    let (table, reads) = outside.scan_with_reads(512);
    assert_eq!((reads.len(), subs(&table, 0)[1]), (2, Extent::EMPTY));
}

#[test]
fn extended_chain_in_a_circle_ends() {
    let circle = Disk::new(10_000)
        .table(0, [(5, 1000, 500), (5, 2000, 500), (5, 3000, 500), (5, 4000, 500)])
        .table(1000, [(5, 100, 1), FREE, FREE, FREE])
        .table(1100, [(5, 100, 1), FREE, FREE, FREE]);
    assert_eq!(circle.scan_with_reads(512).1.len(), 1 + 32 + 3);
    // A circle with something in it fills the slots and is done.
    let circle = Disk::new(10_000)
        .table(0, [(5, 1000, 500), FREE, FREE, FREE])
        .table(1000, [(LINUX, 7, 1), (5, 100, 1), FREE, FREE])
        .table(1100, [(LINUX, 8, 1), (5, 100, 1), FREE, FREE]);
    let (table, reads) = circle.scan_with_reads(512);
    assert_eq!(
        subs(&table, 0),
        [extent(1007, 1), extent(1108, 1), extent(1108, 1), extent(1108, 1)]
    );
    assert_eq!(reads.len(), 5);
}

#[test]
fn absent_table_leaves_what_was_there() {
    let disk = Disk::new(1000).table(0, [(MINIX, 100, 500), FREE, FREE, FREE]);
    let mut table = DeviceTable::new();
    table.reset(disk.bytes);
    for minor in crate::disk::minors().skip(1) {
        table.set(minor, extent(7, 7)).expect("exists");
    }
    run(&mut table, disk.bytes, 512, |read| {
        Some(disk.read(read.first_byte, read.bytes))
    });
    assert_eq!(primaries(&table)[0], extent(100, 500));
    assert_eq!(subs(&table, 0), [extent(7, 7); 4]);
    run(&mut table, disk.bytes, 512, |_| None);
    assert_eq!(primaries(&table)[0], extent(100, 500));
}

#[test]
fn whole_disk_stays_what_it_is() {
    let disk = Disk::new(1000).table(0, [(MINIX, 0, 1000), (5, 0, 1000), FREE, FREE]);
    assert_eq!(disk.scan(512).get(minix_blockdriver::WHOLE_DISK), Some(extent(0, 1000)));
}
