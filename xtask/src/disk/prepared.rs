//! The disk xtask makes: 64 MiB, a partition table, two partitions, and content that is known everywhere.
//!
//! | sectors | what |
//! |---|---|
//! | 0 | the partition table |
//! | 1..2048 | the pattern |
//! | 2048..34816 | partition 1, type 0x83 (Linux), 16 MiB: the pattern |
//! | 34816..131072 | partition 2, type 0x81 (MINIX), 47 MiB: the pattern |
//! | 65536..81920 | inside partition 2: the scratch region of the self-test, 8 MiB |
//!
//! All numbers count 512-byte sectors whatever the block size of the device is, and are multiples of 8, so that they stand
//! with 4096-byte blocks too.

use std::fs::File;
use std::io::{Cursor, Write};
use std::path::Path;

use anyhow::{Context, Result};
use image_blk::options::SectorRange;
use image_blk::{SECTOR_BYTES, pattern};
use mbrman::{BOOT_INACTIVE, CHS, MBR, MBRPartitionEntry};

use super::source::Source;
use super::{Attachment, Disk, Origin, Outline, images};
use crate::cli::Format;

const SECTORS: u64 = 131_072;

/// Type and place of each partition.
pub(crate) const PARTITIONS: [(u8, SectorRange); 2] = [
    (
        0x83,
        SectorRange {
            first: 2048,
            count: 32_768,
        },
    ),
    (
        0x81,
        SectorRange {
            first: 34_816,
            count: 96_256,
        },
    ),
];

/// What the self-test may overwrite.
const SCRATCH: SectorRange = SectorRange {
    first: 65_536,
    count: 16_384,
};

/// Seed of the content. Any value with bits above bit 32 would do.
const SEED: u64 = 0x6d69_6e69_785f_3634;

/// What the guest digests: the table and what follows, the start of each partition, the end of the disk.
const SAMPLES: [SectorRange; 4] = [
    SectorRange { first: 0, count: 64 },
    SectorRange {
        first: 2048,
        count: 2048,
    },
    SectorRange {
        first: 34_816,
        count: 2048,
    },
    SectorRange {
        first: SECTORS - 64,
        count: 64,
    },
];

/// What the guest is told about it.
pub(super) fn outline(read_only: bool) -> Outline {
    Outline {
        scratch: (!read_only).then_some(SCRATCH),
        pattern: Some(SEED),
        samples: SAMPLES.to_vec(),
    }
}

/// Makes the disk where `attachment` says.
pub(super) fn make(attachment: Attachment, directory: &Path) -> Result<Disk> {
    let place = Path::new(&attachment.file);
    match attachment.format {
        Format::Raw => write_raw(place)?,
        Format::Qcow2 => {
            let raw = directory.join("content.raw");
            write_raw(&raw)?;
            images::convert(&raw, Format::Raw, place, attachment.format)?;
            std::fs::remove_file(&raw).context("cannot remove a temporary file")?;
        }
    }
    let mut original = original(SECTORS)?;
    let outline = outline(attachment.read_only);
    let mut digests = Vec::new();
    for range in &outline.samples {
        digests.push((*range, original.digest(*range)?));
    }
    Ok(Disk {
        origin: Origin::Prepared,
        attachment,
        overlaid: false,
        sectors: SECTORS,
        outline,
        digests,
    })
}

/// The content before the run, computed anew.
pub(super) fn original(sectors: u64) -> Result<Source> {
    Ok(Source::Computed {
        first_sector: Box::new(table(sectors)?),
        seed: SEED,
    })
}

fn write_raw(place: &Path) -> Result<()> {
    let name = || format!("cannot write {}", place.display());
    let mut file = File::create(place).with_context(name)?;
    file.write_all(&table(SECTORS)?).with_context(name)?;
    const CHUNK: u64 = 2048;
    let mut bytes = vec![0; CHUNK as usize * SECTOR_BYTES];
    let mut sector = 1;
    while sector < SECTORS {
        let count = CHUNK.min(SECTORS - sector) as usize;
        let bytes = &mut bytes[..count * SECTOR_BYTES];
        pattern::fill(SEED, sector, bytes);
        file.write_all(bytes).with_context(name)?;
        sector += count as u64;
    }
    Ok(())
}

/// Sector 0.
fn table(sectors: u64) -> Result<[u8; SECTOR_BYTES]> {
    let mut sector = Cursor::new([0; SECTOR_BYTES]);
    let mut table =
        MBR::new_from(&mut sector, SECTOR_BYTES as u32, *b"blk1").context("cannot make a partition table")?;
    table.disk_size = u32::try_from(sectors).context("the disk is too large for a partition table")?;
    for (index, (kind, range)) in PARTITIONS.iter().enumerate() {
        table[index + 1] = MBRPartitionEntry {
            boot: BOOT_INACTIVE,
            first_chs: CHS::empty(),
            sys: *kind,
            last_chs: CHS::empty(),
            starting_lba: range.first as u32,
            sectors: range.count as u32,
        };
    }
    table.write_into(&mut sector).context("cannot make a partition table")?;
    Ok(sector.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_holds_with_large_blocks() {
        for (_, range) in PARTITIONS {
            assert!(range.first.is_multiple_of(8) && range.count.is_multiple_of(8));
        }
        const { assert!(SCRATCH.first.is_multiple_of(8) && SCRATCH.count.is_multiple_of(8)) };
        assert!(PARTITIONS[1].1.contains(SCRATCH));
        assert_eq!(PARTITIONS[0].1.end(), PARTITIONS[1].1.first);
        assert_eq!(PARTITIONS[1].1.end(), SECTORS);
        for digest in SAMPLES {
            assert!(digest.first.is_multiple_of(8) && digest.count.is_multiple_of(8));
            assert!(digest.end() <= SCRATCH.first || digest.first >= SCRATCH.end());
        }
    }

    #[test]
    fn the_partition_table_reads_back() {
        let table = table(SECTORS).unwrap();
        assert_eq!(table[510..], [0x55, 0xaa]);
        let read = MBR::read_from(&mut Cursor::new(table), 512).unwrap();
        for (index, (kind, range)) in PARTITIONS.iter().enumerate() {
            let entry = &read[index + 1];
            assert_eq!(
                (entry.sys, u64::from(entry.starting_lba), u64::from(entry.sectors)),
                (*kind, range.first, range.count)
            );
        }
    }

    #[test]
    fn what_is_written_is_what_is_computed() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("disk.raw");
        write_raw(&place).unwrap();
        assert_eq!(std::fs::metadata(&place).unwrap().len(), SECTORS * SECTOR_BYTES as u64);
        let mut written = Source::raw_file(&place).unwrap();
        let mut computed = original(SECTORS).unwrap();
        for range in SAMPLES {
            assert_eq!(written.digest(range).unwrap(), computed.digest(range).unwrap());
        }
    }
}
