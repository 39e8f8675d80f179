//! Disks of any size and content under the search for partitions.

use std::collections::BTreeMap;

use crc::{CRC_32_ISO_HDLC, Crc};
use minix_abi::minor::Minor;
use minix_blockdriver::{BOUNCE_BYTES, DeviceTable, Scan, ScanRead};

use crate::choices::Choices;

/// What a GPT is checked with.
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Sectors that `input` puts something into, at most.
const MOST_SECTORS: usize = 64;

/// The disk that `input` describes. What is not written is zero.
struct Disk {
    bytes: u64,
    block_bytes: u32,
    sectors: BTreeMap<u64, [u8; 512]>,
}

/// Looks for partitions on the disk that `input` describes.
///
/// # Panics
///
/// If a read is not on the disk or not in whole blocks, if there is no end, or if a partition cannot be addressed.
pub fn partitions(input: &[u8]) {
    let mut choices = Choices::new(input);
    let disk = Disk::new(&mut choices);
    let mut table = DeviceTable::new();
    table.reset(disk.bytes);
    let mut scan = Scan::new(disk.bytes, disk.block_bytes);
    let mut reads = 0;
    while let Some(read) = scan.next_read() {
        assert_eq!(scan.next_read(), Some(read), "asking again changes nothing");
        disk.check(&read);
        reads += 1;
        assert!(reads <= Scan::MOST_READS, "a scan without end");
        let data = disk.read(&read);
        match choices.any::<u8>() {
            255 => scan.feed(&mut table, None),
            254 => scan.feed(&mut table, Some(&data[..data.len() / 2])),
            _ => scan.feed(&mut table, Some(&data)),
        }
    }
    let done = table.clone();
    scan.feed(&mut table, Some(&[0x55; 2048]));
    assert!(table == done, "what comes after the end is ignored");
    for minor in (0..256).map(Minor) {
        if let Some(extent) = table.get(minor) {
            let end = extent.base_bytes.checked_add(extent.size_bytes);
            assert!(end.is_some(), "{minor:?}: {extent:?}");
        }
    }
}

impl Disk {
    fn new(choices: &mut Choices<'_>) -> Self {
        let block_bytes = match choices.below(16) {
            15 => choices.any(),
            nth => [512, 512, 512, 1024, 2048, 4096, 8192, 1536][nth % 8],
        };
        let bytes = match choices.below(8) {
            0..=3 => u64::from(choices.any::<u16>()) << 12,
            4 | 5 => u64::from(choices.any::<u32>()) << 9,
            6 => choices.any(),
            _ => u64::MAX - u64::from(choices.any::<u16>()),
        };
        let mut disk = Self {
            bytes,
            block_bytes,
            sectors: BTreeMap::new(),
        };
        while !choices.is_over() && disk.sectors.len() < MOST_SECTORS {
            disk.put_something(choices);
        }
        disk
    }

    fn sector(&mut self, number: u64) -> &mut [u8; 512] {
        self.sectors.entry(number).or_insert([0; 512])
    }

    fn put_something(&mut self, choices: &mut Choices<'_>) {
        let place = match choices.below(4) {
            0 => 0,
            1 => u64::from(choices.any::<u8>()),
            2 => (self.bytes / 512).wrapping_sub(1 + u64::from(choices.any::<u8>())),
            _ => u64::from(choices.any::<u32>()),
        };
        match choices.below(4) {
            0 | 1 => self.put_table(choices, place),
            2 => self.put_gpt(choices),
            _ => {
                let noise = choices.bytes(64);
                self.sector(place)[..noise.len()].copy_from_slice(noise);
            }
        }
    }

    /// Four entries, small numbers more often than others.
    fn put_table(&mut self, choices: &mut Choices<'_>, place: u64) {
        let systems = [0, 0x05, 0x0F, 0x81, 0x83, 0xEE];
        let number = |choices: &mut Choices<'_>| match choices.below(4) {
            0 | 1 => u32::from(choices.any::<u8>()),
            2 => u32::from(choices.any::<u16>()),
            _ => choices.any(),
        };
        for entry in 0..4 {
            let system = choices.of(&systems);
            let (first, count) = (number(choices), number(choices));
            let bytes = &mut self.sector(place)[446 + 16 * entry..][..16];
            bytes[4] = system;
            bytes[8..12].copy_from_slice(&first.to_le_bytes());
            bytes[12..].copy_from_slice(&count.to_le_bytes());
        }
        self.sector(place)[510..].copy_from_slice(&[0x55, 0xAA]);
    }

    /// A header whose checksums are right, mostly with fields that make sense.
    fn put_gpt(&mut self, choices: &mut Choices<'_>) {
        let block = u64::from(self.block_bytes.max(512)) / 512;
        let last = (self.bytes / u64::from(self.block_bytes.max(1))).saturating_sub(1);
        let (own, other) = if choices.rarely(3) { (last, 1) } else { (1, last) };
        let odd = |choices: &mut Choices<'_>, usual: u64| if choices.rarely(8) { choices.any() } else { usual };
        let entry_bytes = odd(choices, 128) as u32;
        let entries = odd(choices, 4) as u32;
        let array = if own == 1 { 2 } else { last.saturating_sub(1) };
        let array = odd(choices, array);
        let (first_usable, last_usable) = (odd(choices, 3), odd(choices, last.saturating_sub(3)));
        let mut content = [0; 512];
        for entry in content.chunks_mut(128) {
            let kind = choices.any::<u8>() % 3;
            entry[..16].fill(kind);
            let (from, to): (u16, u16) = (choices.any(), choices.any());
            entry[32..40].copy_from_slice(&u64::from(from).to_le_bytes());
            entry[40..48].copy_from_slice(&odd(choices, u64::from(to)).to_le_bytes());
        }
        let mut header = [0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&0x0001_0000_u32.to_le_bytes());
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        for (at, value) in [
            (24, own),
            (32, other),
            (40, first_usable),
            (48, last_usable),
            (72, array),
        ] {
            header[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let used = (u64::from(entries) * u64::from(entry_bytes)).min(512) as usize;
        for (at, value) in [(80, entries), (84, entry_bytes), (88, CRC.checksum(&content[..used]))] {
            header[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let checksum = CRC.checksum(&header);
        header[16..20].copy_from_slice(&checksum.to_le_bytes());
        self.sector(own.wrapping_mul(block))[..92].copy_from_slice(&header);
        *self.sector(array.wrapping_mul(block)) = content;
        if !choices.rarely(8) {
            let protective = self.sector(0);
            protective[446 + 4] = 0xEE;
            protective[446 + 8..446 + 16].copy_from_slice(&[1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
            protective[510..].copy_from_slice(&[0x55, 0xAA]);
        }
    }

    fn check(&self, read: &ScanRead) {
        assert!(read.bytes > 0 && read.bytes <= BOUNCE_BYTES, "{read:?}");
        assert!(read.first_byte.is_multiple_of(self.block_bytes.into()), "{read:?}");
        assert!(read.bytes.is_multiple_of(self.block_bytes as usize), "{read:?}");
        let end = read.first_byte.checked_add(read.bytes as u64);
        assert!(end.is_some_and(|end| end <= self.bytes), "{read:?} of {}", self.bytes);
    }

    fn read(&self, read: &ScanRead) -> Vec<u8> {
        let sectors = (read.first_byte / 512..).take(read.bytes / 512);
        let content = |sector| self.sectors.get(&sector).copied().unwrap_or([0; 512]);
        sectors.flat_map(content).collect()
    }
}
