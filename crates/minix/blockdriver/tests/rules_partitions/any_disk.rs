//! Disks of any content, any size, any block size.

use minix_abi::minor::Minor;
use minix_blockdriver::{DeviceTable, Extent};
use proptest::prelude::*;

use crate::disk::{minors, run};
use crate::oracle;

/// A disk that has a table in most of its sectors, made up from the number of the sector.
#[derive(Clone, Debug)]
struct Jungle {
    seed: u64,
    sectors: u64,
    systems: Vec<u8>,
}

impl Jungle {
    fn number(&self, sector: u64, nth: u64) -> u64 {
        let mut x = self.seed ^ sector.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ nth.wrapping_mul(0xD1B5_4A32_D192_ED03);
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 31
    }

    /// Mostly a number that makes sense on this disk, sometimes one at an edge, sometimes any.
    fn place(&self, sector: u64, nth: u64) -> u32 {
        let any = self.number(sector, nth);
        let near = self.sectors.min(u32::MAX.into()).max(1);
        match any >> 60 {
            0 => 0,
            1 => u32::MAX - (any as u32 & 3),
            2 => (near as u32).wrapping_add(any as u32 & 7).wrapping_sub(4),
            3 => any as u32,
            4..=7 => (any % 64) as u32,
            _ => (any % near) as u32,
        }
    }

    fn sector(&self, sector: u64) -> [u8; 512] {
        let mut content = [0; 512];
        for entry in 0..4 {
            let bytes = &mut content[446 + 16 * entry..][..16];
            let nth = 4 * entry as u64;
            bytes[4] = self.systems[self.number(sector, nth) as usize % self.systems.len()];
            bytes[8..12].copy_from_slice(&self.place(sector, nth + 1).to_le_bytes());
            bytes[12..].copy_from_slice(&self.place(sector, nth + 2).to_le_bytes());
        }
        if !self.number(sector, 99).is_multiple_of(8) || sector == 0 {
            content[510..].copy_from_slice(&[0x55, 0xAA]);
        }
        content
    }

    fn read(&self, first_byte: u64, bytes: usize) -> Vec<u8> {
        let sectors = (first_byte / 512..).take(bytes / 512);
        sectors.flat_map(|sector| self.sector(sector)).collect()
    }
}

fn jungle(systems: Vec<u8>) -> impl Strategy<Value = Jungle> {
    let sectors = prop_oneof![0..64u64, 64..1u64 << 20, 1u64 << 31..1u64 << 35, 0..1u64 << 55];
    (any::<u64>(), sectors).prop_map(move |(seed, sectors)| Jungle {
        seed,
        sectors,
        systems: systems.clone(),
    })
}

fn expected(jungle: &Jungle, block_sectors: u64) -> Vec<(Minor, Extent)> {
    let read = |sector| (sector < jungle.sectors).then(|| jungle.sector(sector));
    let found = oracle::scan(oracle::Disk {
        read: &read,
        sectors: jungle.sectors,
        block_sectors,
    });
    let place = |minor: Minor| {
        let (first, sectors) = found.get(&minor.0).copied().unwrap_or((0, 0));
        Extent {
            base_bytes: u64::try_from(first * 512).expect("on a disk"),
            size_bytes: u64::try_from(sectors * 512).expect("on a disk"),
        }
    };
    minors().map(|minor| (minor, place(minor))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_device_is_where_the_rules_say(
        jungle in jungle(vec![0, 0x05, 0x0F, 0x81, 0x81, 0x83]),
        block_shift in 0..4u32,
    ) {
        let block_bytes = 512 << block_shift;
        let sectors = jungle.sectors >> block_shift << block_shift;
        let jungle = Jungle { sectors, ..jungle };
        let mut table = DeviceTable::new();
        table.reset(sectors * 512);
        run(&mut table, sectors * 512, block_bytes, |read| Some(jungle.read(read.first_byte, read.bytes)));
        let found: Vec<_> = minors().map(|minor| (minor, table.get(minor).expect("exists"))).collect();
        prop_assert_eq!(found, expected(&jungle, 1 << block_shift));
    }

    /// Links and hardly anything else: the longest scans there are.
    #[test]
    fn chains_are_where_the_rules_say(jungle in jungle(vec![5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 0x83])) {
        let mut table = DeviceTable::new();
        table.reset(jungle.sectors * 512);
        run(&mut table, jungle.sectors * 512, 512, |read| Some(jungle.read(read.first_byte, read.bytes)));
        let found: Vec<_> = minors().map(|minor| (minor, table.get(minor).expect("exists"))).collect();
        prop_assert_eq!(found, expected(&jungle, 1));
    }

    /// Any size of disk and block, placeholders of a GPT, reads that fail or come short or bring noise. `run` checks that
    /// every read stays inside and that there is an end.
    #[test]
    fn a_scan_ends_and_stays_on_the_disk(
        jungle in jungle(vec![0, 0x05, 0x0F, 0x81, 0x83, 0xEE]),
        disk_bytes in prop_oneof![any::<u64>(), 0..100_000u64, (u64::MAX - 100_000)..=u64::MAX],
        block_bytes in prop_oneof![
            prop::sample::select(vec![512u32, 1024, 1536, 2048, 3072, 4096, 8192, 16384]),
            prop::sample::select(vec![0u32, 1, 511, 513, 32768, 65536, u32::MAX, u32::MAX - 511]),
        ],
        mishaps in any::<u64>(),
    ) {
        let mut table = DeviceTable::new();
        table.reset(disk_bytes);
        let mut nth = 0;
        run(&mut table, disk_bytes, block_bytes, |read| {
            nth += 1;
            let mut data = jungle.read(read.first_byte, read.bytes);
            match jungle.number(mishaps, nth) % 16 {
                0 => return None,
                1 => data.truncate(read.bytes / 2),
                2 => data.iter_mut().zip(0..).for_each(|(byte, at)| *byte = jungle.number(mishaps ^ nth, at) as u8),
                _ => {}
            }
            Some(data)
        });
    }
}
