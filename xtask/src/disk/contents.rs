//! The partition table of a disk that the user gave, and the file systems that begin on it, in words.
//!
//! The guest says what MINIX makes of the disk, which is four primary partitions at most and no types. A person who wonders why
//! there are no files wants to see what is there.

use std::io::Cursor;
use std::path::Path;

use anyhow::Result;
use gpt::partition_types::{self, OperatingSystem};
use guest_protocol::{SECTOR_BYTES, SectorRange};
use minix_abi::partition::{SystemId, TABLE_SECTOR_BYTES, read_table};

use super::Disk;

/// Sectors at the start of a disk that hold its partition table: a GPT of 128 entries takes 34.
const TABLES: u64 = 64;
/// Sectors at the start of a file system that tell what it is. Btrfs has its mark at 64 KiB.
const HEAD: u64 = 136;

/// Where file systems and swap space have their mark.
const MAGICS: [(usize, &[u8], &str); 14] = [
    (1048, &fake_minix::mfs::MAGIC.to_le_bytes(), "MINIX file system"),
    (1040, &[0x7f, 0x13], "MINIX file system, version 1"),
    (1040, &[0x8f, 0x13], "MINIX file system, version 1"),
    (1040, &[0x68, 0x24], "MINIX file system, version 2"),
    (1040, &[0x78, 0x24], "MINIX file system, version 2"),
    (1080, &[0x53, 0xef], "ext2, ext3 or ext4"),
    (54, b"FAT", "FAT"),
    (82, b"FAT32", "FAT32"),
    (3, b"EXFAT", "exFAT"),
    (3, b"NTFS", "NTFS"),
    (0, b"XFSB", "XFS"),
    (0x8001, b"CD001", "ISO 9660"),
    (0x1_0040, b"_BHRfS_M", "Btrfs"),
    (4086, b"SWAPSPACE2", "swap space"),
];

/// A partition, or the whole disk.
struct Place {
    name: String,
    range: SectorRange,
}

impl Disk {
    /// A line for each partition, or one for the disk if it has none.
    pub(crate) fn contents(&self, directory: &Path) -> Result<Vec<String>> {
        let head = self.head_of(self.whole(), TABLES, directory)?;
        let mut places = from_gpt(&head).or_else(|| from_mbr(&head)).unwrap_or_default();
        if places.is_empty() {
            places.push(Place {
                name: "no partitions".to_owned(),
                range: self.whole(),
            });
        }
        let lines = places.into_iter().map(|Place { name, range }| {
            let head = self.head_of(range, HEAD, directory)?;
            let content = file_system(&head).unwrap_or("no file system that is known here");
            Ok(format!("{name}: {content}"))
        });
        lines.collect()
    }

    /// The first sectors of a range, as far as they are on the disk.
    fn head_of(&self, range: SectorRange, most: u64, directory: &Path) -> Result<Vec<u8>> {
        let first = range.first.min(self.sectors);
        let head = SectorRange {
            first,
            count: range.count.min(most).min(self.sectors - first),
        };
        let mut bytes = vec![0; head.count as usize * SECTOR_BYTES];
        if head.count > 0 {
            self.before(head, directory)?.read(first, &mut bytes)?;
        }
        Ok(bytes)
    }
}

fn file_system(head: &[u8]) -> Option<&'static str> {
    let found = MAGICS
        .iter()
        .find(|(at, magic, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    found.map(|(_, _, name)| *name)
}

fn from_gpt(head: &[u8]) -> Option<Vec<Place>> {
    // The copy of the table at the end of the disk is not read: the first one is enough to tell what is there.
    let table = gpt::GptConfig::new()
        .writable(false)
        .open_from_device(Cursor::new(head.to_vec()));
    let entries = table.ok()?.take_partitions();
    let used = entries.into_iter().filter(|(_, entry)| entry.is_used());
    let places = used.map(|(number, entry)| {
        let kind = &entry.part_type_guid;
        let kind = match &kind.os {
            _ if *kind == partition_types::EFI => "EFI system".to_owned(),
            _ if *kind == partition_types::BASIC => "basic data".to_owned(),
            OperatingSystem::None | OperatingSystem::Custom(_) => kind.guid.to_string(),
            os => format!("{os:?} {}", kind.guid),
        };
        Place {
            name: match entry.name.as_str() {
                "" => format!("GPT {number}, type {kind}"),
                name => format!("GPT {number} \"{name}\", type {kind}"),
            },
            range: SectorRange {
                first: entry.first_lba,
                count: (entry.last_lba + 1).saturating_sub(entry.first_lba),
            },
        }
    });
    Some(places.collect())
}

fn from_mbr(head: &[u8]) -> Option<Vec<Place>> {
    let table = read_table(head.get(..TABLE_SECTOR_BYTES)?)?;
    let used = (1..)
        .zip(table)
        .filter(|(_, entry)| entry.system != SystemId::NONE && entry.sectors.get() > 0);
    let places = used.map(|(number, entry)| Place {
        name: format!(
            "MBR {number}, type {:#04x} {}",
            entry.system.0,
            system_name(entry.system)
        )
        .trim_end()
        .to_owned(),
        range: SectorRange {
            first: entry.first.get().into(),
            count: entry.sectors.get().into(),
        },
    });
    Some(places.collect())
}

/// What the usual tools call a type of the old table.
const fn system_name(system: SystemId) -> &'static str {
    match system.0 {
        0x01 | 0x04 | 0x06 | 0x0e => "FAT",
        0x05 | 0x0f | 0x85 => "extended",
        0x07 => "NTFS or exFAT",
        0x0b | 0x0c => "FAT32",
        0x80 => "old MINIX",
        0x81 => "MINIX",
        0x82 => "Linux swap",
        0x83 => "Linux",
        0x8e => "Linux LVM",
        0xa5 => "FreeBSD",
        0xa6 => "OpenBSD",
        0xa9 => "NetBSD",
        0xee => "GPT",
        0xef => "EFI system",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_magic_is_found_at_its_place_alone() {
        for (at, magic, name) in MAGICS {
            let mut head = vec![0; HEAD as usize * SECTOR_BYTES];
            assert_eq!(file_system(&head), None);
            head[at..at + magic.len()].copy_from_slice(magic);
            let found = file_system(&head).unwrap();
            // A FAT32 mark begins like that of the smaller ones, at another place.
            assert_eq!(found, name);
            assert_eq!(file_system(&head[..at + magic.len() - 1]), None);
        }
    }

    #[test]
    fn the_old_table_has_numbers_types_and_names() {
        let mut head = vec![0; TABLES as usize * SECTOR_BYTES];
        assert!(from_mbr(&head).is_none());
        let entry = |kind: u8, first: u32, count: u32| {
            let mut bytes = [0; 16];
            bytes[4] = kind;
            bytes[8..12].copy_from_slice(&first.to_le_bytes());
            bytes[12..].copy_from_slice(&count.to_le_bytes());
            bytes
        };
        head[446..462].copy_from_slice(&entry(0x81, 64, 100));
        head[478..494].copy_from_slice(&entry(0x42, 200, 8));
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        let places = from_mbr(&head).unwrap();
        let told: Vec<_> = places
            .iter()
            .map(|place| (place.name.as_str(), place.range.first, place.range.count))
            .collect();
        assert_eq!(
            told,
            [("MBR 1, type 0x81 MINIX", 64, 100), ("MBR 3, type 0x42", 200, 8)]
        );
    }
}
