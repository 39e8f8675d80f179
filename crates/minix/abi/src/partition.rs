//! The partition table in the first sector of a disk, an extended partition or a partition with sub-partitions.
//!
//! Only what is on the disk is here. Sectors are 512 bytes. In extended partitions, positions are relative; in
//! sub-partition tables they are sectors of the whole disk.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of the sector that holds a table.
pub const TABLE_SECTOR_BYTES: usize = 512;
/// Bytes to read for a table, from the start of the disk or partition that it divides.
pub const TABLE_READ_BYTES: usize = 2048;
/// Where in its sector the table is.
pub const TABLE_OFFSET: usize = 0x1BE;
/// Entries of a table.
pub const TABLE_ENTRIES: usize = 4;
/// Where in its sector the signature is.
pub const SIGNATURE_OFFSET: usize = 510;
/// The signature: without it there is no table.
pub const SIGNATURE: [u8; 2] = [0x55, 0xAA];

codes! {
    /// The type of a partition.
    pub struct SystemId(u8) {
        /// The entry is not used.
        NONE = 0x00,
        /// An extended partition, with a chain of tables.
        EXTENDED = 0x05,
        /// An extended partition, with a chain of tables.
        EXTENDED_LBA = 0x0F,
        /// MINIX: it can hold a table of sub-partitions.
        MINIX = 0x81,
        /// The table is a placeholder, the true one is a GPT.
        PROTECTIVE = 0xEE,
    }
}

impl SystemId {
    /// Whether it is an extended partition of either kind.
    pub const fn is_extended(self) -> bool {
        self.0 == Self::EXTENDED.0 || self.0 == Self::EXTENDED_LBA.0
    }
}

/// An entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PartitionEntry {
    /// 0x80 if this is the partition to start from.
    pub boot: u8,
    /// Cylinder, head and sector of its start. Ignored.
    pub first_chs: [u8; 3],
    /// The type.
    pub system: SystemId,
    /// Cylinder, head and sector of its end. Ignored.
    pub last_chs: [u8; 3],
    /// The first sector.
    pub first: U32,
    /// Number of sectors.
    pub sectors: U32,
}

layout!(PartitionEntry, 16 {
    boot: u8 = 0,
    first_chs: [u8; 3] = 1,
    system: SystemId = 4,
    last_chs: [u8; 3] = 5,
    first: U32 = 8,
    sectors: U32 = 12,
});

impl PartitionEntry {
    /// An entry without cylinders, heads and a mark to start from.
    pub const fn new(system: SystemId, first: u32, sectors: u32) -> Self {
        Self {
            boot: 0,
            first_chs: [0; 3],
            system,
            last_chs: [0; 3],
            first: U32::new(first),
            sectors: U32::new(sectors),
        }
    }
}

/// The table in a sector, as it stands there; `None` if the signature is missing.
///
/// More than a sector may be given, since more is what gets read; less has no signature.
pub fn read_table(sector: &[u8]) -> Option<[PartitionEntry; TABLE_ENTRIES]> {
    let sector = sector.first_chunk::<TABLE_SECTOR_BYTES>()?;
    let (front, signature) = sector.split_at(SIGNATURE_OFFSET);
    if signature != SIGNATURE {
        return None;
    }
    <[PartitionEntry; TABLE_ENTRIES]>::read_from_bytes(&front[TABLE_OFFSET..]).ok()
}

/// Puts a table and the signature into a sector, and leaves the rest of it as it is.
pub fn write_table(sector: &mut [u8; TABLE_SECTOR_BYTES], table: &[PartitionEntry; TABLE_ENTRIES]) {
    sector[TABLE_OFFSET..SIGNATURE_OFFSET].copy_from_slice(table.as_bytes());
    sector[SIGNATURE_OFFSET..].copy_from_slice(&SIGNATURE);
}

const _: () = assert!(TABLE_OFFSET + TABLE_ENTRIES * size_of::<PartitionEntry>() == SIGNATURE_OFFSET);
