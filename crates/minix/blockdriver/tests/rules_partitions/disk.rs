//! A disk of few sectors that hold something, and the scan of it.

use std::collections::BTreeMap;

use minix_abi::minor::{Minor, Place};
use minix_abi::partition::{PartitionEntry, SystemId, write_table};
use minix_blockdriver::{BOUNCE_BYTES, DeviceTable, Extent, Scan, ScanRead};

pub(crate) type Sector = [u8; 512];

/// What is not written is zero.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) bytes: u64,
    sectors: BTreeMap<u64, Sector>,
}

impl Disk {
    pub(crate) fn new(sectors: u64) -> Self {
        Self {
            bytes: sectors * 512,
            sectors: BTreeMap::new(),
        }
    }

    pub(crate) fn sector(&mut self, number: u64) -> &mut Sector {
        self.sectors.entry(number).or_insert([0; 512])
    }

    /// Puts a table into a sector: four times system, first sector, sectors.
    pub(crate) fn table(mut self, sector: u64, entries: [(u8, u32, u32); 4]) -> Self {
        let entries = entries.map(|(system, first, sectors)| PartitionEntry::new(SystemId(system), first, sectors));
        write_table(self.sector(sector), &entries);
        self
    }

    pub(crate) fn put(&mut self, first_byte: u64, mut bytes: &[u8]) {
        let mut at = first_byte;
        while !bytes.is_empty() {
            let offset = (at % 512) as usize;
            let (piece, rest) = bytes.split_at(bytes.len().min(512 - offset));
            self.sector(at / 512)[offset..offset + piece.len()].copy_from_slice(piece);
            at += piece.len() as u64;
            bytes = rest;
        }
    }

    pub(crate) fn read(&self, first_byte: u64, bytes: usize) -> Vec<u8> {
        assert!(first_byte.is_multiple_of(512) && bytes.is_multiple_of(512));
        let sectors = (first_byte / 512..).take(bytes / 512);
        let zeroes = [0; 512];
        sectors
            .flat_map(|sector| *self.sectors.get(&sector).unwrap_or(&zeroes))
            .collect()
    }

    pub(crate) fn scan(&self, block_bytes: u32) -> DeviceTable {
        self.scan_with_reads(block_bytes).0
    }

    /// Also tells what was read.
    pub(crate) fn scan_with_reads(&self, block_bytes: u32) -> (DeviceTable, Vec<ScanRead>) {
        let mut table = DeviceTable::new();
        table.reset(self.bytes);
        let reads = run(&mut table, self.bytes, block_bytes, |read| {
            Some(self.read(read.first_byte, read.bytes))
        });
        (table, reads)
    }
}

/// Drives a scan to its end and holds every read against what is allowed.
pub(crate) fn run(
    table: &mut DeviceTable,
    disk_bytes: u64,
    block_bytes: u32,
    mut answer: impl FnMut(ScanRead) -> Option<Vec<u8>>,
) -> Vec<ScanRead> {
    let mut scan = Scan::new(disk_bytes, block_bytes);
    let mut reads = Vec::new();
    while let Some(read) = scan.next_read() {
        assert_eq!(scan.next_read(), Some(read), "asking again changes nothing");
        assert!(read.bytes > 0 && read.bytes <= BOUNCE_BYTES, "{read:?}");
        assert!(read.first_byte.is_multiple_of(block_bytes.into()), "{read:?}");
        assert!(read.bytes.is_multiple_of(block_bytes as usize), "{read:?}");
        let end = read.first_byte.checked_add(read.bytes as u64);
        assert!(end.is_some_and(|end| end <= disk_bytes), "{read:?} of {disk_bytes}");
        assert_eq!(read.first_sector(), read.first_byte / 512);
        reads.push(read);
        assert!(reads.len() <= Scan::MOST_READS, "a scan without end");
        let data = answer(read);
        scan.feed(table, data.as_deref());
    }
    let done = table.clone();
    scan.feed(table, Some(&[0x55; 2048]));
    assert_eq!(*table, done, "what comes after the end is ignored");
    reads
}

pub(crate) fn minor(partition: u8) -> Minor {
    Minor(1 + i32::from(partition))
}

pub(crate) fn sub_minor(partition: u8, sub: u8) -> Minor {
    let place = Place::SubPartition {
        drive: 0,
        partition,
        sub,
    };
    place.minor().expect("few of both")
}

/// Every minor of the disk.
pub(crate) fn minors() -> impl Iterator<Item = Minor> {
    (0..5).chain(128..144).map(Minor)
}

pub(crate) fn extent(first: u64, sectors: u64) -> Extent {
    Extent {
        base_bytes: first * 512,
        size_bytes: sectors * 512,
    }
}

/// The four primary partitions.
pub(crate) fn primaries(table: &DeviceTable) -> [Extent; 4] {
    [0, 1, 2, 3].map(|partition| table.get(minor(partition)).expect("exists"))
}

/// The four sub-partitions of one.
pub(crate) fn subs(table: &DeviceTable, partition: u8) -> [Extent; 4] {
    [0, 1, 2, 3].map(|sub| table.get(sub_minor(partition, sub)).expect("exists"))
}
