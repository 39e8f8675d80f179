//! Disks with a GPT, written by code that is not ours.

use gpt_disk_types::{
    BlockSize, Crc32, GptHeader, GptPartitionEntry, GptPartitionEntryArray, GptPartitionEntryArrayLayout,
    GptPartitionEntrySize, GptPartitionType, Lba, LbaLe, U32Le,
};
use minix_blockdriver::{DeviceTable, Extent};
use proptest::prelude::*;

use crate::disk::{Disk, extent, primaries, run, subs};

/// What a test wants on its disk.
#[derive(Clone, Debug)]
pub(crate) struct GptPlan {
    block_bytes: u32,
    disk_blocks: u64,
    entry_bytes: u32,
    entries: u32,
    /// First and last block; `None` is unused.
    partitions: Vec<Option<(u64, u64)>>,
}

const PROTECTIVE: [(u8, u32, u32); 4] = [(0xEE, 1, u32::MAX), (0, 0, 0), (0, 0, 0), (0, 0, 0)];
const FIRST: u64 = 1;

impl GptPlan {
    pub(crate) fn usual(partitions: &[Option<(u64, u64)>]) -> Self {
        Self {
            block_bytes: 512,
            disk_blocks: 1 << 20,
            entry_bytes: 128,
            entries: 128,
            partitions: partitions.to_vec(),
        }
    }

    fn array_blocks(&self) -> u64 {
        (u64::from(self.entries) * u64::from(self.entry_bytes)).div_ceil(self.block_bytes.into())
    }

    fn last(&self) -> u64 {
        self.disk_blocks - 1
    }

    fn array_block(&self, header: u64) -> u64 {
        if header == FIRST {
            2
        } else {
            self.last() - self.array_blocks()
        }
    }

    /// A disk with both copies.
    pub(crate) fn disk(&self) -> Disk {
        let mut disk = Disk::new(self.disk_blocks * u64::from(self.block_bytes / 512)).table(0, PROTECTIVE);
        for header in [FIRST, self.last()] {
            self.write(&mut disk, header, |_| {});
        }
        disk
    }

    /// Writes a copy, with a change to the header before its sum is taken.
    fn write(&self, disk: &mut Disk, at_block: u64, change: impl FnOnce(&mut GptHeader)) {
        let block_size = BlockSize::new(self.block_bytes).expect("block size");
        let layout = GptPartitionEntryArrayLayout {
            start_lba: Lba(self.array_block(at_block)),
            entry_size: GptPartitionEntrySize::new(self.entry_bytes).expect("entry size"),
            num_entries: self.entries,
        };
        let mut storage = vec![0; layout.num_bytes_rounded_to_block_as_usize(block_size).expect("small")];
        let mut array = GptPartitionEntryArray::new(layout, block_size, &mut storage).expect("array");
        for (index, partition) in (0..).zip(&self.partitions) {
            if let (Some((first, last)), Some(entry)) = (partition, array.get_partition_entry_mut(index)) {
                *entry = GptPartitionEntry {
                    partition_type_guid: GptPartitionType::BASIC_DATA,
                    starting_lba: LbaLe::from_u64(*first),
                    ending_lba: LbaLe::from_u64(*last),
                    ..GptPartitionEntry::default()
                };
            }
        }
        let mut header = GptHeader {
            my_lba: LbaLe::from_u64(at_block),
            alternate_lba: LbaLe::from_u64(if at_block == FIRST { self.last() } else { FIRST }),
            partition_entry_lba: layout.start_lba.into(),
            number_of_partition_entries: U32Le::from_u32(self.entries),
            size_of_partition_entry: U32Le::from_u32(self.entry_bytes),
            partition_entry_array_crc32: array.calculate_crc32(),
            ..GptHeader::default()
        };
        change(&mut header);
        header.update_header_crc32();
        disk.put(layout.start_lba.to_u64() * u64::from(self.block_bytes), &storage);
        disk.put(at_block * u64::from(self.block_bytes), &header_bytes(&header));
    }

    fn expected(&self) -> [Extent; 4] {
        [0, 1, 2, 3].map(|index| match self.partitions.get(index).copied().flatten() {
            Some((first, last)) if index < self.entries as usize && first <= last && first < self.disk_blocks => {
                let per_block = u64::from(self.block_bytes / 512);
                let blocks = last.min(self.last()) - first + 1;
                extent(first * per_block, blocks * per_block)
            }
            _ => Extent::EMPTY,
        })
    }
}

fn header_bytes(header: &GptHeader) -> Vec<u8> {
    let numbers = |number: u64| number.to_le_bytes();
    let words = |number: u32| number.to_le_bytes();
    let mut bytes = Vec::new();
    bytes.extend(numbers(header.signature.to_u64()));
    bytes.extend(words(header.revision.0.to_u32()));
    bytes.extend(words(header.header_size.to_u32()));
    bytes.extend(words(header.header_crc32.0.to_u32()));
    bytes.extend(words(header.reserved.to_u32()));
    for lba in [
        header.my_lba,
        header.alternate_lba,
        header.first_usable_lba,
        header.last_usable_lba,
    ] {
        bytes.extend(numbers(lba.to_u64()));
    }
    bytes.extend({ header.disk_guid }.to_bytes());
    bytes.extend(numbers({ header.partition_entry_lba }.to_u64()));
    bytes.extend(words(header.number_of_partition_entries.to_u32()));
    bytes.extend(words(header.size_of_partition_entry.to_u32()));
    bytes.extend(words(header.partition_entry_array_crc32.0.to_u32()));
    bytes
}

/// What there is when no copy is good: the placeholder is no partition.
const NOTHING: [Extent; 4] = [Extent::EMPTY; 4];

#[test]
fn four_entries_are_the_partitions_in_their_order() {
    let plan = GptPlan::usual(&[
        Some((5000, 5999)),
        None,
        Some((100, 100)),
        Some((2000, 2999)),
        Some((7000, 7999)),
    ]);
    let (table, reads) = plan.disk().scan_with_reads(512);
    let partitions = [extent(5000, 1000), Extent::EMPTY, extent(100, 1), extent(2000, 1000)];
    assert_eq!(primaries(&table), partitions);
    let reads: Vec<_> = reads.iter().map(|read| (read.first_byte, read.bytes)).collect();
    assert_eq!(reads, [(0, 2048), (512, 512), (1024, 16384)]);
    assert_eq!(subs(&table, 0), [Extent::EMPTY; 4]);
}

#[test]
fn positions_count_blocks_of_the_disk() {
    let plan = GptPlan {
        block_bytes: 4096,
        disk_blocks: 10_000,
        ..GptPlan::usual(&[Some((6, 1005)), Some((1006, 2005))])
    };
    let (table, reads) = plan.disk().scan_with_reads(4096);
    assert_eq!(primaries(&table)[..2], [extent(48, 8000), extent(8048, 8000)]);
    assert_eq!((reads[1].first_byte, reads[1].bytes), (4096, 4096));
}

#[test]
fn partitions_are_held_to_the_disk() {
    let end = 1 << 20;
    let plan = GptPlan::usual(&[
        Some((end - 10, end + 10)),
        Some((end, end + 10)),
        Some((end - 1, u64::MAX)),
        Some((50, 49)),
    ]);
    let held = [extent(end - 10, 10), Extent::EMPTY, extent(end - 1, 1), Extent::EMPTY];
    assert_eq!(primaries(&plan.disk().scan(512)), held);
    let plan = GptPlan::usual(&[Some((u64::MAX, u64::MAX)), Some((0, u64::MAX))]);
    assert_eq!(primaries(&plan.disk().scan(512))[..2], [Extent::EMPTY, extent(0, end)]);
}

#[test]
fn the_backup_serves_when_the_header_is_damaged() {
    let plan = GptPlan::usual(&[Some((5000, 5999))]);
    for byte in 0..92 {
        let mut disk = plan.disk();
        disk.sector(1)[byte] ^= 0x10;
        let (table, reads) = disk.scan_with_reads(512);
        assert_eq!(primaries(&table), plan.expected(), "byte {byte}");
        assert_eq!(reads[2].first_sector(), (1 << 20) - 1, "byte {byte}");
    }
}

#[test]
fn the_backup_serves_when_the_entries_are_damaged() {
    let plan = GptPlan::usual(&[Some((5000, 5999))]);
    for byte in [0, 32, 127, 128, 511] {
        let mut disk = plan.disk();
        disk.sector(2)[byte] ^= 1;
        let (table, reads) = disk.scan_with_reads(512);
        assert_eq!(primaries(&table), plan.expected(), "byte {byte}");
        assert_eq!(reads.len(), 5);
    }
    // The last byte of the last of 128 entries is under the sum as well.
    let mut disk = plan.disk();
    disk.sector(33)[511] ^= 1;
    assert_eq!(disk.scan_with_reads(512).1.len(), 5);
}

#[test]
fn without_a_good_copy_the_placeholder_is_no_partition() {
    let plan = GptPlan::usual(&[Some((5000, 5999))]);
    let mut disk = plan.disk();
    disk.sector(1)[70] ^= 1;
    disk.sector((1 << 20) - 1)[70] ^= 1;
    assert_eq!(primaries(&disk.scan(512)), NOTHING);
    let bare = Disk::new(1000).table(0, PROTECTIVE);
    assert_eq!(primaries(&bare.scan(512)), NOTHING);
    let smallest = Disk::new(4).table(0, PROTECTIVE);
    assert_eq!(primaries(&smallest.scan(512)), NOTHING);
}

#[test]
fn without_a_good_gpt_copy_other_table_entries_are_followed() {
    let disk = Disk::new(1000)
        .table(0, [(0xEE, 1, 99), (0x81, 100, 100), (0, 0, 0), (0, 0, 0)])
        .table(100, [(0x81, 110, 5), (0, 0, 0), (0, 0, 0), (0, 0, 0)]);
    let table = disk.scan(512);
    assert_eq!(primaries(&table)[..2], [Extent::EMPTY, extent(100, 100)]);
    assert_eq!(subs(&table, 1)[0], extent(110, 5));
}

#[test]
fn a_header_of_another_block_is_none() {
    // As on the image of a disk that was copied to one with longer or shorter blocks, or in the wrong place.
    let plan = GptPlan::usual(&[Some((5000, 5999))]);
    let mut disk = plan.disk();
    plan.write(&mut disk, FIRST, |header| {
        header.my_lba = LbaLe::from_u64(2);
    });
    disk.sector((1 << 20) - 1).fill(0);
    assert_eq!(primaries(&disk.scan(512)), NOTHING);
}

#[test]
fn no_gpt_is_looked_for_without_a_placeholder() {
    let plan = GptPlan::usual(&[Some((5000, 5999))]);
    let disk = plan.disk().table(0, [(0x83, 1, 10), (0, 0, 0), (0, 0, 0), (0, 0, 0)]);
    assert_eq!(primaries(&disk.scan(512))[0], extent(1, 10));
    let mut disk = plan.disk();
    disk.sector(0)[511] = 0;
    assert_eq!(primaries(&disk.scan(512)), [Extent::EMPTY; 4]);
}

#[test]
fn the_placeholder_may_be_any_of_the_four_entries() {
    let plan = GptPlan::usual(&[Some((5000, 5999))]);
    let disk = plan
        .disk()
        .table(0, [(0x83, 5000, 10), (0, 0, 0), (0xEE, 1, 4999), (0, 0, 0)]);
    assert_eq!(primaries(&disk.scan(512)), plan.expected());
}

/// 1000 entries of 128 bytes take eight reads of a bounce buffer.
#[test]
fn a_long_array_is_under_the_sum_as_a_whole() {
    let plan = GptPlan {
        entries: 1000,
        ..GptPlan::usual(&[Some((5000, 5999)), Some((6000, 6001))])
    };
    let (table, reads) = plan.disk().scan_with_reads(512);
    assert_eq!(primaries(&table), plan.expected());
    let array: Vec<_> = reads[2..].iter().map(|read| read.bytes).collect();
    assert_eq!(array, [16384, 16384, 16384, 16384, 16384, 16384, 16384, 13312]);

    // The last byte of the last entry, then one byte in each of the pieces.
    for byte in [127_999, 0, 16_384, 100_000] {
        let mut disk = plan.disk();
        disk.sector(2 + byte / 512)[byte as usize % 512] ^= 1;
        disk.put((plan.array_block(FIRST) * 512) + 32, &7000_u64.to_le_bytes());
        let (table, reads) = disk.scan_with_reads(512);
        assert_eq!(primaries(&table), plan.expected(), "the backup serves, byte {byte}");
        assert_eq!(reads.len(), 1 + 2 * 9, "byte {byte}");
        disk.sector(plan.last())[70] ^= 1;
        assert_eq!(primaries(&disk.scan(512)), NOTHING, "byte {byte}");
    }
}

#[test]
fn a_long_array_that_cannot_be_read_is_refused() {
    let plan = GptPlan {
        entries: 1000,
        ..GptPlan::usual(&[Some((5000, 5999))])
    };
    let disk = plan.disk();
    // Whichever read of the first copy fails, the backup serves.
    for failing in 1..10 {
        let mut table = DeviceTable::new();
        table.reset(disk.bytes);
        let mut nth = 0;
        run(&mut table, disk.bytes, 512, |read| {
            nth += 1;
            (nth - 1 != failing).then(|| disk.read(read.first_byte, read.bytes))
        });
        assert_eq!(primaries(&table), plan.expected(), "read {failing}");
    }
}

/// A sum over gigabytes would hold the first open up for ever.
#[test]
fn an_array_longer_than_a_mebibyte_is_refused() {
    for (entries, good) in [(8192, true), (8193, false), (u32::MAX, false)] {
        let plan = GptPlan {
            entries: entries.min(8193),
            ..GptPlan::usual(&[Some((20_000, 20_999))])
        };
        let mut disk = plan.disk();
        if entries > 8193 {
            plan.write(&mut disk, FIRST, |header| {
                header.number_of_partition_entries = U32Le::from_u32(entries);
            });
        }
        disk.sector(plan.last()).fill(0);
        let expected = if good { plan.expected() } else { NOTHING };
        assert_eq!(primaries(&disk.scan(512)), expected, "{entries}");
    }
}

#[test]
fn wrong_sizes_of_entries_are_refused() {
    let plan = GptPlan::usual(&[Some((5000, 5999))]);
    for bytes in [0, 1, 64, 127, 129, 192, 8192, u32::MAX, 1 << 31] {
        let mut disk = plan.disk();
        plan.write(&mut disk, FIRST, |header| {
            header.size_of_partition_entry = U32Le::from_u32(bytes);
        });
        disk.sector((1 << 20) - 1).fill(0);
        assert_eq!(primaries(&disk.scan(512)), NOTHING, "{bytes}");
    }
}

#[test]
fn an_array_off_the_disk_is_refused() {
    let plan = GptPlan::usual(&[Some((5000, 5999))]);
    for block in [(1 << 20) - 31, 1 << 20, u64::MAX / 512 + 1, u64::MAX] {
        let mut disk = plan.disk();
        plan.write(&mut disk, FIRST, |header| {
            header.partition_entry_lba = LbaLe::from_u64(block);
        });
        disk.sector((1 << 20) - 1).fill(0);
        assert_eq!(primaries(&disk.scan(512)), NOTHING, "{block}");
    }
}

#[test]
fn an_impossible_length_of_the_header_is_refused() {
    let plan = GptPlan::usual(&[Some((5000, 5999))]);
    for bytes in [0, 15, 91, 513, u32::MAX] {
        let mut disk = plan.disk();
        plan.write(&mut disk, FIRST, |header| header.header_size = U32Le::from_u32(bytes));
        disk.sector((1 << 20) - 1).fill(0);
        assert_eq!(primaries(&disk.scan(512)), NOTHING, "{bytes}");
    }
}

#[test]
fn a_longer_header_is_under_the_sum_as_a_whole() {
    for damage in [0, 1] {
        let (plan, mut disk) = with_header_length(512);
        disk.sector(1)[500] ^= damage;
        let good = primaries(&disk.scan(512)) == plan.expected();
        assert_eq!(good, damage == 0);
    }
}

#[test]
fn a_short_header_with_a_right_sum_is_refused() {
    for bytes in [20, 24, 32, 80, 91] {
        let (_, disk) = with_header_length(bytes);
        assert_eq!(primaries(&disk.scan(512)), NOTHING, "{bytes}");
    }
}

/// A disk without a backup, whose header is so long and has the sum of so many bytes.
fn with_header_length(bytes: u32) -> (GptPlan, Disk) {
    use gpt_disk_types::crc::Crc;

    let plan = GptPlan::usual(&[Some((5000, 5999))]);
    let mut disk = plan.disk();
    disk.sector((1 << 20) - 1).fill(0);
    let header = disk.sector(1);
    header[12..16].copy_from_slice(&bytes.to_le_bytes());
    header[16..20].fill(0);
    header[400] = 7;
    let sum = Crc::<u32>::new(&Crc32::ALGORITHM).checksum(&header[..bytes as usize]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    (plan, disk)
}

fn partition() -> impl Strategy<Value = Option<(u64, u64)>> {
    let block = || prop_oneof![4 => 0..70_000u64, 1 => any::<u64>()];
    prop::option::weighted(0.8, (block(), block()))
}

fn plan() -> impl Strategy<Value = GptPlan> {
    let shape = (0..4u32, 0..3u32, prop_oneof![1..200u32, 1..2000u32]);
    // Both copies of the longest array, their headers and the first table fit on the smallest disk.
    (shape, 4010..60_000u64, prop::collection::vec(partition(), 0..6)).prop_map(
        |((block_shift, entry_shift, entries), disk_blocks, partitions)| GptPlan {
            block_bytes: 512 << block_shift,
            disk_blocks,
            entry_bytes: 128 << entry_shift,
            entries,
            partitions,
        },
    )
}

proptest! {
    #[test]
    fn the_partitions_are_those_that_were_written(plan in plan(), damaged in any::<bool>()) {
        let mut disk = plan.disk();
        if damaged {
            disk.put(u64::from(plan.block_bytes), &[0; 512]);
        }
        let table = disk.scan(plan.block_bytes);
        prop_assert_eq!(primaries(&table), plan.expected());
    }
}
