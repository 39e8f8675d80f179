//! The disks xtask can make: what is where on them.
//!
//! All numbers count 512-byte sectors, also on a device with larger blocks, and are multiples of 8, so that they stand
//! with 4096-byte blocks too.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result};
use fake_minix::mfs::{self, KnownFile};
use guest_protocol::{SECTOR_BYTES, SectorRange, pattern};
use minix_abi::partition::{PartitionEntry, SystemId, TABLE_ENTRIES, write_table};

use super::source::CHUNK;

/// Partition types.
const LINUX: u8 = 0x83;
const MINIX: u8 = SystemId::MINIX.0;

/// Which disk to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// For the bare image. Disks of different numbers have different content.
    ///
    /// | sectors | what |
    /// |---|---|
    /// | 0 | the partition table |
    /// | 1..2048 | the pattern |
    /// | 2048..34816 | partition 1, type 0x83 (Linux), 16 MiB: the pattern |
    /// | 34816..131072 | partition 2, type 0x81 (MINIX), 47 MiB: the pattern |
    /// | 65536..81920 | inside partition 2: the scratch region of the self-test, 8 MiB |
    Bare { number: u8 },
    /// For the service.
    ///
    /// | sectors | what |
    /// |---|---|
    /// | 0 | the partition table |
    /// | 1..2048 | the pattern |
    /// | 2048..34816 | partition 1, type 0x81 (MINIX), 16 MiB: a MINIX file system |
    /// | 34816..100352 | partition 2, type 0x81 (MINIX), 32 MiB: the pattern, for the block test |
    /// | 100352..131072 | partition 3, type 0x83 (Linux), 15 MiB: the pattern, for the other clients |
    Service,
    /// A second disk: as the first, with other content.
    Second,
    /// 140 GiB of zeros, nearly none of it stored: a MINIX partition before and one from 1 GiB on, of which the block test
    /// reaches the places beyond 2^32 bytes, 2^24 sectors and 2^28 sectors.
    Large,
}

/// Ranges that the clients overwrite on the disk for the service: the block test, and the others.
pub(crate) const BLOCK_TEST: SectorRange = range(34_816, 65_536);
pub(crate) const OTHERS: SectorRange = range(100_352, 30_720);

const fn range(first: u64, count: u64) -> SectorRange {
    SectorRange { first, count }
}

/// Content at a place: the first sector, and whole sectors.
pub(super) type Part = (u64, Vec<u8>);

/// A disk on paper.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Size in sectors.
    pub(crate) sectors: u64,
    /// Type and place of each partition.
    pub(crate) partitions: Vec<(u8, SectorRange)>,
    /// Seed of the content outside of table and files; its bits above bit 32 keep disks apart. None: zeros.
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
            Recipe::Bare { number } => Layout {
                sectors: small,
                partitions: vec![(LINUX, range(2048, 32_768)), (MINIX, range(34_816, 96_256))],
                seed: Some(0x6d69_6e69_785f_3634 ^ u64::from(number) << 32),
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
    /// Everything that is not the pattern, and the files in it. `block` is the block size of
    /// the device in bytes.
    pub(super) fn parts(&self, block: u32) -> Result<(Vec<Part>, Vec<KnownFile>)> {
        let mut parts = vec![(0, self.table(block)?)];
        let mut files = Vec::new();
        if let Some(place) = self.files {
            // MINIX's own size of a block, unless the device forces another.
            let block = if block == 512 { 4096 } else { block as usize };
            let (image, known) = mfs::sample(place.count as usize * SECTOR_BYTES / block, block);
            parts.push((place.first, image));
            files = known;
        }
        Ok((parts, files))
    }

    /// Writes the disk to a file. Zeros are a hole.
    pub(super) fn write(&self, place: &Path, parts: &[Part]) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let mut file = File::create(place)?;
            file.set_len(self.sectors * SECTOR_BYTES as u64)?;
            if let Some(seed) = self.seed {
                let mut bytes = vec![0; CHUNK as usize * SECTOR_BYTES];
                for first in (0..self.sectors).step_by(CHUNK as usize) {
                    let bytes = &mut bytes[..CHUNK.min(self.sectors - first) as usize * SECTOR_BYTES];
                    pattern::fill(seed, first, bytes);
                    file.write_all(bytes)?;
                }
            }
            for (first, bytes) in parts {
                file.seek(SeekFrom::Start(first * SECTOR_BYTES as u64))?;
                file.write_all(bytes)?;
            }
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", place.display()))
    }

    /// Sector 0. The table in it counts blocks of the device.
    fn table(&self, block: u32) -> Result<Vec<u8>> {
        let block_sectors = u64::from(block) / SECTOR_BYTES as u64;
        let blocks = |sectors: u64| {
            u32::try_from(sectors / block_sectors).context("the disk is too large for a partition table")
        };
        let mut table = [PartitionEntry::new(SystemId::NONE, 0, 0); TABLE_ENTRIES];
        for (entry, (kind, range)) in table.iter_mut().zip(&self.partitions) {
            *entry = PartitionEntry::new(SystemId(*kind), blocks(range.first)?, blocks(range.count)?);
        }
        let mut sector = [0; SECTOR_BYTES];
        write_table(&mut sector, &table);
        Ok(sector.into())
    }
}
