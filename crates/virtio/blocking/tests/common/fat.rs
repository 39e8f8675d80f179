//! A disk with a FAT file system in its first partition.

use std::io::{Read, Seek, Write};

/// Bytes of the disk.
pub(crate) const DISK_BYTES: u64 = 16384 * 512;
/// Bytes of the partition on the disk.
pub(crate) const PARTITION: std::ops::Range<u64> = 64 * 512..DISK_BYTES;

/// The first sector of the disk: one partition of type FAT16.
pub(crate) fn partition_table() -> [u8; 512] {
    let mut sector = [0; 512];
    sector[450] = 0x06;
    sector[454..458].copy_from_slice(&((PARTITION.start / 512) as u32).to_le_bytes());
    sector[458..462].copy_from_slice(&(((PARTITION.end - PARTITION.start) / 512) as u32).to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

/// Makes a FAT16 file system with sectors of 512 bytes.
pub(crate) fn format(mut volume: impl Read + Write + Seek) -> std::io::Result<()> {
    let options = fatfs::FormatVolumeOptions::new()
        .fat_type(fatfs::FatType::Fat16)
        .bytes_per_sector(512)
        .bytes_per_cluster(512);
    fatfs::format_volume(&mut volume, options)
}

/// Mounts a file system.
pub(crate) fn mount<V: Read + Write + Seek>(volume: V) -> std::io::Result<fatfs::FileSystem<V>> {
    fatfs::FileSystem::new(volume, fatfs::FsOptions::new())
}
