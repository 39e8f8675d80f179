//! The raw image file of the device.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::SECTOR_BYTES;

/// A raw image, byte by byte the disk.
#[derive(Debug)]
pub struct Image {
    file: File,
    sectors: u64,
}

impl Image {
    /// Opens the file, for reading only if the device refuses writes. Bytes after its last whole sector are not served.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn open(path: &Path, read_only: bool) -> io::Result<Image> {
        let file = File::options().read(true).write(!read_only).open(path)?;
        let sectors = file.metadata()?.len() / SECTOR_BYTES;
        Ok(Image { file, sectors })
    }

    /// Size in sectors.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Whether a request for `bytes` bytes at a sector lies inside the disk.
    pub fn contains(&self, sector: u64, bytes: u64) -> bool {
        let end = sector.checked_add(bytes.div_ceil(SECTOR_BYTES));
        end.is_some_and(|end| end <= self.sectors)
    }

    pub(crate) fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    /// Returns when everything written is on stable storage.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
