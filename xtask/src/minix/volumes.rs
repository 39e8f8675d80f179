//! Where on a disk MINIX file systems are, as minor numbers.
//!
//! This follows the rules by which MINIX drivers read partition tables: primary partitions sorted by their first sector with
//! the empty ones last; in those of type 0x81 there may be a second table, unsorted, with places on the whole disk. Tables
//! count blocks of the device.

use std::path::Path;

use anyhow::Result;
use guest_protocol::{SECTOR_BYTES, SectorRange};
use minix_abi::partition::{PartitionEntry, SystemId, read_table};

use crate::disk::Disk;

/// The minor of the first sub-partition of the first partition.
const FIRST_SUB_MINOR: u32 = 128;

/// The minors whose first blocks look like those of a MINIX file system, on a device with blocks of so many bytes.
pub(super) fn minix_file_systems(disk: &Disk, block: u32, directory: &Path) -> Result<Vec<u32>> {
    let block_sectors = u64::from(block) / SECTOR_BYTES as u64;
    let first_sector = |entry: &PartitionEntry| u64::from(entry.first.get()) * block_sectors;
    let table = |sector: u64| -> Result<Vec<PartitionEntry>> {
        let mut bytes = [0; SECTOR_BYTES];
        if sector < disk.sectors {
            let range = SectorRange {
                first: sector,
                count: 1,
            };
            disk.before(range, directory)?.read(sector, &mut bytes)?;
        }
        Ok(read_table(&bytes).map_or_else(Vec::new, Vec::from))
    };
    let mut places = vec![(0, 0)];
    let mut primaries = table(0)?;
    primaries.sort_by_key(|entry| (entry.system == SystemId::NONE, entry.first.get()));
    for (minor, primary) in (1..).zip(&primaries) {
        if primary.system != SystemId::NONE {
            places.push((minor, first_sector(primary)));
        }
        if primary.system == SystemId::MINIX {
            let inner = (FIRST_SUB_MINOR + 4 * (minor - 1)..).zip(table(first_sector(primary))?);
            let used = inner.filter(|(_, entry)| entry.system != SystemId::NONE);
            places.extend(used.map(|(minor, entry)| (minor, first_sector(&entry))));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Choice, Input, make};
    use minix_abi::partition::{TABLE_ENTRIES, write_table};

    #[test]
    fn file_systems_in_partitions_of_partitions_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let mut sectors = vec![[0; SECTOR_BYTES]; 400];
        let mut table = |sector: usize, entries: &[(usize, SystemId, u32)]| {
            let mut table = [PartitionEntry::new(SystemId::NONE, 0, 0); TABLE_ENTRIES];
            for (index, system, first) in entries {
                table[*index] = PartitionEntry::new(*system, *first, 1);
            }
            write_table(&mut sectors[sector], &table);
        };
        table(0, &[(3, SystemId::MINIX, 100), (0, SystemId(0x83), 300)]);
        table(100, &[(2, SystemId::MINIX, 200)]);
        for start in [200, 300] {
            sectors[start + 2][24..26].copy_from_slice(&0x4d5a_u16.to_le_bytes());
        }
        let path = directory.path().join("disk");
        std::fs::write(&path, sectors.concat()).unwrap();
        let args = crate::cli::qemu_args("--read-only", path.to_str()).unwrap();
        let input = Input::check(path.to_str().unwrap(), None).unwrap();
        let disk = make(&args, Choice::Given(&input), 0, directory.path()).unwrap();
        // The MINIX partition comes first on the disk, so it is minor 1, and the third in it is minor 130.
        assert_eq!(minix_file_systems(&disk, 512, directory.path()).unwrap(), [130, 2]);
    }
}
