//! The partition table of a disk, in the classic form (MBR): four entries at the end of sector 0. They count blocks of the
//! disk, which can be longer than a sector.

/// Where the four entries start.
const TABLE: usize = 446;
const ENTRY_BYTES: usize = 16;
/// The last two bytes of a sector that holds a table, or a boot sector.
const SIGNATURE: [u8; 2] = [0x55, 0xAA];

/// Entries in a table.
pub(crate) const ENTRIES: usize = 4;
/// The type of the entry that shields a GUID partition table.
pub(crate) const PROTECTIVE: u8 = 0xEE;

/// One entry in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Place in the table, from 0.
    pub(crate) index: u32,
    /// What it is said to hold.
    pub(crate) kind: u8,
    /// First sector.
    pub(crate) first: u64,
    /// Number of sectors.
    pub(crate) sectors: u64,
}

impl Partition {
    /// The first sector behind it.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(self.sectors)
    }

    /// A name for the commonest types.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self.kind {
            0x05 | 0x0F => "extended",
            0x07 => "NTFS or exFAT",
            0x0B | 0x0C => "FAT32",
            0x80 | 0x81 => "MINIX",
            0x82 => "Linux swap",
            0x83 => "Linux",
            0xEF => "EFI system",
            PROTECTIVE => "GUID partition table",
            _ => "unknown",
        }
    }
}

/// The entries in use, or `None` if the sector holds no table. A block of the disk is so many sectors.
///
/// A boot sector of a file system has the same signature with code where the table would be. What gives it away are the
/// boot flags: in a table each is 0 or 0x80.
pub(crate) fn parse(sector: &[u8], block_sectors: u64) -> Option<impl Iterator<Item = Partition> + use<'_>> {
    let table = sector.get(TABLE..TABLE + ENTRIES * ENTRY_BYTES)?;
    let signature = sector.get(TABLE + ENTRIES * ENTRY_BYTES..)?.get(..SIGNATURE.len())?;
    let (entries, _) = table.as_chunks::<ENTRY_BYTES>();
    if signature != SIGNATURE || entries.iter().any(|entry| !matches!(entry[0], 0 | 0x80)) {
        return None;
    }
    Some(
        (0..)
            .zip(entries)
            .filter_map(move |(index, entry)| read(index, entry, block_sectors)),
    )
}

fn read(index: u32, entry: &[u8; ENTRY_BYTES], block_sectors: u64) -> Option<Partition> {
    let kind = entry[4];
    let word = |at: usize| {
        let bytes = entry.get(at..)?.first_chunk::<4>()?;
        Some(u64::from(u32::from_le_bytes(*bytes)).saturating_mul(block_sectors))
    };
    let (first, sectors) = (word(8)?, word(12)?);
    (kind != 0 && sectors != 0).then_some(Partition {
        index,
        kind,
        first,
        sectors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(entries: &[(usize, [u8; ENTRY_BYTES])]) -> [u8; 512] {
        let mut sector = [0; 512];
        sector[510..].copy_from_slice(&SIGNATURE);
        for (index, entry) in entries {
            sector[TABLE + index * ENTRY_BYTES..][..ENTRY_BYTES].copy_from_slice(entry);
        }
        sector
    }

    fn entry(flag: u8, kind: u8, first: u32, sectors: u32) -> [u8; ENTRY_BYTES] {
        let mut entry = [0; ENTRY_BYTES];
        (entry[0], entry[4]) = (flag, kind);
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..].copy_from_slice(&sectors.to_le_bytes());
        entry
    }

    #[test]
    fn entries_in_use_are_found_with_their_places() {
        let sector = sector(&[
            (0, entry(0x80, 0x83, 2048, 32768)),
            (3, entry(0, 0x81, u32::MAX, u32::MAX)),
        ]);
        let found: Vec<_> = parse(&sector, 1).unwrap().collect();
        assert_eq!(
            (found[0].index, found[0].kind, found[0].first, found[0].sectors),
            (0, 0x83, 2048, 32768)
        );
        assert_eq!((found[1].index, found[1].kind_name()), (3, "MINIX"));
        assert_eq!(found[1].end(), 2 * u64::from(u32::MAX));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn entries_count_blocks() {
        let sector = sector(&[(0, entry(0, 0x83, 256, 4096))]);
        let found = parse(&sector, 8).unwrap().next().unwrap();
        assert_eq!((found.first, found.sectors, found.end()), (2048, 32_768, 34_816));
    }

    #[test]
    fn an_entry_without_type_or_sectors_is_not_in_use() {
        let sector = sector(&[(1, entry(0, 0, 1, 1)), (2, entry(0, 0x83, 1, 0))]);
        assert_eq!(parse(&sector, 1).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_table_is_none() {
        assert!(parse(&[0; 512], 1).is_none());
        assert!(parse(&[], 1).is_none());
        assert!(parse(&sector(&[(0, entry(0, 0x83, 1, 1))])[..511], 1).is_none());
        // Code of a boot sector where the flags would be.
        assert!(parse(&sector(&[(1, entry(0x6F, 0x83, 1, 1))]), 1).is_none());
    }
}
