//! Where on a disk MINIX file systems are, as minor numbers.
//!
//! This follows the rules by which MINIX drivers read partition tables: primary partitions sorted by their first sector with
//! the empty ones last; in those of type 0x81 there may be a second table, unsorted, with places on the whole disk. Tables
//! count blocks of the device.

use std::path::Path;

use anyhow::Result;
use guest_protocol::{SECTOR_BYTES, SectorRange};

use crate::disk::Disk;
use crate::disk::layout::MINIX;

const TABLE_AT: usize = 446;
const ENTRY_BYTES: usize = 16;
/// The minor of the first sub-partition of the first partition.
const FIRST_SUB_MINOR: u32 = 128;

/// An entry of a partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    kind: u8,
    first: u64,
}

/// The minors whose first blocks look like those of a MINIX file system, on a device with blocks of so many bytes.
pub(super) fn minix_file_systems(disk: &Disk, block: u32, directory: &Path) -> Result<Vec<u32>> {
    let sector = |number: u64| -> Result<Vec<u8>> {
        let mut bytes = vec![0; SECTOR_BYTES];
        if number < disk.sectors {
            let range = SectorRange {
                first: number,
                count: 1,
            };
            disk.before(range, directory)?.read(number, &mut bytes)?;
        }
        Ok(bytes)
    };
    let block_sectors = u64::from(block) / SECTOR_BYTES as u64;
    let mut places = vec![(0, 0)];
    for (minor, primary) in (1..).zip(sorted(entries(&sector(0)?, block_sectors))) {
        if primary.kind == 0 {
            continue;
        }
        places.push((minor, primary.first));
        if primary.kind == MINIX {
            let inner = (FIRST_SUB_MINOR + 4 * (minor - 1)..).zip(entries(&sector(primary.first)?, block_sectors));
            places.extend(
                inner
                    .filter(|(_, entry)| entry.kind != 0)
                    .map(|(minor, entry)| (minor, entry.first)),
            );
        }
    }
    let mut found = Vec::new();
    for (minor, first) in places {
        if disk.has_files_at(first, directory)? {
            found.push(minor);
        }
    }
    Ok(found)
}

/// The four entries of a table, in sectors; none if there is no table.
fn entries(sector: &[u8], block_sectors: u64) -> Vec<Entry> {
    if sector.get(510..512) != Some(&[0x55, 0xaa]) {
        return Vec::new();
    }
    let entries = sector[TABLE_AT..510].chunks(ENTRY_BYTES);
    entries
        .map(|entry| Entry {
            kind: entry[4],
            first: u64::from(u32::from_le_bytes([entry[8], entry[9], entry[10], entry[11]])) * block_sectors,
        })
        .collect()
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(|entry| (entry.kind == 0, entry.first));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_and_sorted() {
        let mut sector = vec![0; SECTOR_BYTES];
        assert_eq!(entries(&sector, 1), []);
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector[TABLE_AT + 4] = 0x81;
        sector[TABLE_AT + 8..TABLE_AT + 12].copy_from_slice(&500_u32.to_le_bytes());
        sector[TABLE_AT + 32 + 4] = 0x83;
        sector[TABLE_AT + 32 + 8] = 9;
        let entry = |kind, first| Entry { kind, first };
        let sorted = sorted(entries(&sector, 8));
        assert_eq!(sorted, [entry(0x83, 72), entry(0x81, 4000), entry(0, 0), entry(0, 0)]);
    }

    #[test]
    fn file_systems_of_a_disk_made_here_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let args = crate::cli::qemu_args("", None).unwrap();
        let disk = crate::disk::make(
            &args,
            crate::disk::Wish::Made(crate::disk::layout::Recipe::Service),
            0,
            directory.path(),
        )
        .unwrap();
        assert_eq!(minix_file_systems(&disk, 512, directory.path()).unwrap(), [1]);
    }

    #[test]
    fn file_systems_in_partitions_of_partitions_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = vec![0; 400 * SECTOR_BYTES];
        let mut table = |sector: usize, index: usize, kind: u8, first: u32| {
            let at = sector * SECTOR_BYTES + TABLE_AT + index * ENTRY_BYTES;
            bytes[at + 4] = kind;
            bytes[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
            bytes[sector * SECTOR_BYTES + 510..][..2].copy_from_slice(&[0x55, 0xaa]);
        };
        table(0, 3, MINIX, 100);
        table(0, 0, 0x83, 300);
        table(100, 2, MINIX, 200);
        for start in [200, 300] {
            bytes[start * SECTOR_BYTES + 1024 + 24..][..2].copy_from_slice(&0x4d5a_u16.to_le_bytes());
        }
        let path = directory.path().join("disk");
        std::fs::write(&path, bytes).unwrap();
        let args = crate::cli::qemu_args("--read-only", path.to_str()).unwrap();
        let input = crate::disk::Input::check(path.to_str().unwrap(), None, 512).unwrap();
        let disk = crate::disk::make(&args, crate::disk::Wish::Given(&input), 0, directory.path()).unwrap();
        // The MINIX partition comes first on the disk, so it is minor 1, and the third in it is minor 130.
        assert_eq!(minix_file_systems(&disk, 512, directory.path()).unwrap(), [130, 2]);
    }
}
