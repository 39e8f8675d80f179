//! The disks xtask can make: what is where on them.
//!
//! All numbers count 512-byte sectors whatever the block size of the device is, and are multiples of 8, so that they stand
//! with 4096-byte blocks too.

use anyhow::{Context, Result};
use fake_minix::mfs::{self, KnownFile};
use guest_protocol::{SECTOR_BYTES, SectorRange};
use mbrman::{BOOT_INACTIVE, CHS, MBR, MBRPartitionEntry};

use super::source::Content;

/// Partition types.
const LINUX: u8 = 0x83;
pub(crate) const MINIX: u8 = 0x81;

/// Which disk to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// For the bare image.
    ///
    /// | sectors | what |
    /// |---|---|
    /// | 0 | the partition table |
    /// | 1..2048 | the pattern |
    /// | 2048..34816 | partition 1, type 0x83 (Linux), 16 MiB: the pattern |
    /// | 34816..131072 | partition 2, type 0x81 (MINIX), 47 MiB: the pattern |
    /// | 65536..81920 | inside partition 2: the scratch region of the self-test, 8 MiB |
    Bare,
    /// For the service.
    ///
    /// | sectors | what |
    /// |---|---|
    /// | 0 | the partition table |
    /// | 1..2048 | the pattern |
    /// | 2048..34816 | partition 1, type 0x81 (MINIX), 16 MiB: a MINIX file system |
    /// | 34816..100352 | partition 2, type 0x81 (MINIX), 32 MiB: the pattern, for the block test |
    /// | 100352..131072 | partition 3, type 0x83 (Linux), 15 MiB: the pattern, for everybody else |
    Service,
    /// A second disk: as the first, with other content.
    Second,
    /// 140 GiB of zeros, nearly none of it stored: a MINIX partition before and one from 1 GiB on, of which the block test
    /// reaches the places beyond 2^32 bytes, 2^24 sectors and 2^28 sectors.
    Large,
}

/// What the guest may overwrite on the disk for the service, and who does.
pub(crate) const BLOCK_TEST: SectorRange = range(34_816, 65_536);
pub(crate) const OTHERS: SectorRange = range(100_352, 30_720);

const fn range(first: u64, count: u64) -> SectorRange {
    SectorRange { first, count }
}

/// A disk on paper.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Size in sectors.
    pub(crate) sectors: u64,
    /// Type and place of each partition.
    pub(crate) partitions: Vec<(u8, SectorRange)>,
    /// Seed of the content that nothing else is said of. Any value with bits above bit 32 would do. None: zeros.
    pub(crate) seed: Option<u64>,
    /// What the guest may overwrite.
    pub(crate) scratch: Vec<SectorRange>,
    /// What the guest digests.
    pub(crate) samples: Vec<SectorRange>,
    /// Where a MINIX file system is.
    pub(crate) files: Option<SectorRange>,
}

impl Recipe {
    pub(crate) fn layout(self) -> Layout {
        let small = 131_072;
        match self {
            Recipe::Bare => Layout {
                sectors: small,
                partitions: vec![(LINUX, range(2048, 32_768)), (MINIX, range(34_816, 96_256))],
                seed: Some(0x6d69_6e69_785f_3634),
                scratch: vec![range(65_536, 16_384)],
                // The table and what follows, the start of each partition, the end of the disk.
                samples: vec![
                    range(0, 64),
                    range(2048, 2048),
                    range(34_816, 2048),
                    range(small - 64, 64),
                ],
                files: None,
            },
            Recipe::Service | Recipe::Second => {
                let files = range(2048, 32_768);
                Layout {
                    sectors: small,
                    partitions: vec![(MINIX, files), (MINIX, BLOCK_TEST), (LINUX, OTHERS)],
                    seed: Some(if self == Recipe::Service {
                        0x6d69_6e69_785f_3931
                    } else {
                        0x6d69_6e69_785f_3932
                    }),
                    scratch: vec![BLOCK_TEST, OTHERS],
                    samples: vec![
                        range(0, 64),
                        range(2048, 2048),
                        range(34_808, 16),
                        range(100_352, 1024),
                        range(small - 64, 64),
                    ],
                    files: Some(files),
                }
            }
            Recipe::Large => {
                let sectors = 140 << 21;
                let first = range(2048, (1 << 21) - 2048);
                let second = range(1 << 21, sectors - (1 << 21));
                Layout {
                    sectors,
                    partitions: vec![(MINIX, first), (MINIX, second)],
                    seed: None,
                    scratch: vec![range(0, sectors)],
                    samples: vec![range(0, 64), range(1 << 28, 64), range(sectors - 64, 64)],
                    files: None,
                }
            }
        }
    }
}

impl Layout {
    /// The content before the run, and the files in it. `block` is the block size of the device in bytes.
    pub(super) fn content(&self, block: u32) -> Result<(Content, Vec<KnownFile>)> {
        let mut content = Content::new(self.seed).with(0, self.table(block)?);
        let mut files = Vec::new();
        if let Some(place) = self.files {
            // MINIX's own size of a block, unless the device forces another.
            let block = if block == 512 { 4096 } else { block as usize };
            let (image, known) = mfs::sample(place.count as usize * SECTOR_BYTES / block, block);
            content = content.with(place.first, image);
            files = known;
        }
        Ok((content, files))
    }

    /// Sector 0. The table in it counts blocks of the device.
    fn table(&self, block: u32) -> Result<Vec<u8>> {
        let block_sectors = u64::from(block) / SECTOR_BYTES as u64;
        let blocks = |sectors: u64| {
            let blocks = sectors.checked_div(block_sectors).map(u32::try_from);
            blocks
                .and_then(Result::ok)
                .context("the disk is too large for a partition table")
        };
        let mut sector = std::io::Cursor::new(vec![0; SECTOR_BYTES]);
        let mut table =
            MBR::new_from(&mut sector, SECTOR_BYTES as u32, *b"blk1").context("cannot make a partition table")?;
        table.disk_size = blocks(self.sectors)?;
        for (index, (kind, range)) in self.partitions.iter().enumerate() {
            table[index + 1] = MBRPartitionEntry {
                boot: BOOT_INACTIVE,
                first_chs: CHS::empty(),
                sys: *kind,
                last_chs: CHS::empty(),
                starting_lba: blocks(range.first)?,
                sectors: blocks(range.count)?,
            };
        }
        table.write_into(&mut sector).context("cannot make a partition table")?;
        Ok(sector.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Recipe; 4] = [Recipe::Bare, Recipe::Service, Recipe::Second, Recipe::Large];

    #[test]
    fn layouts_hold_with_large_blocks() {
        for layout in ALL.map(Recipe::layout) {
            let places = layout.partitions.iter().map(|(_, range)| range);
            let all = places.chain(&layout.scratch).chain(&layout.samples);
            for range in all.chain(&layout.files) {
                assert!(
                    range.first.is_multiple_of(8) && range.count.is_multiple_of(8),
                    "{range}"
                );
                assert!(range.end() <= layout.sectors, "{range}");
            }
            for pair in layout.partitions.windows(2) {
                assert_eq!(pair[0].1.end(), pair[1].1.first);
            }
            assert_eq!(layout.partitions.last().unwrap().1.end(), layout.sectors);
        }
    }

    #[test]
    fn nothing_overwrites_the_files() {
        for layout in [Recipe::Service, Recipe::Second].map(Recipe::layout) {
            let files = layout.files.unwrap();
            assert!(layout.partitions.contains(&(MINIX, files)));
            for scratch in layout.scratch {
                assert!(scratch.first >= files.end());
            }
        }
    }

    #[test]
    fn partition_tables_read_back() {
        for (layout, block) in ALL.map(Recipe::layout).iter().zip([512_u32, 1024, 4096, 512]) {
            let table = layout.table(block).unwrap();
            let blocks = |sectors: u64| (sectors * 512 / u64::from(block)) as u32;
            assert_eq!(table[510..], [0x55, 0xaa]);
            let read = MBR::read_from(&mut std::io::Cursor::new(table), 512).unwrap();
            for (index, (kind, range)) in layout.partitions.iter().enumerate() {
                let entry = &read[index + 1];
                assert_eq!(
                    (entry.sys, entry.starting_lba, entry.sectors),
                    (*kind, blocks(range.first), blocks(range.count))
                );
            }
        }
    }
}
