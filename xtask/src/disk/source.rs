//! Reading the sectors of a disk image.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use guest_protocol::pattern::Digest;
use guest_protocol::{SECTOR_BYTES, SectorRange};

/// Sectors handled at a time.
pub(super) const CHUNK: u64 = 2048;

/// A file that holds a disk, or a part of it, byte by byte.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    /// The sector at the start of the file.
    base: u64,
}

impl Source {
    /// A file that holds the disk from sector `base` on.
    pub(crate) fn raw(path: &Path, base: u64) -> Result<Source> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Source { file, base })
    }

    /// Fills `buffer`, whole sectors, from `first` on. Where the file ends in the middle of a sector, the rest of that reads
    /// as zeroes, as QEMU has it.
    pub(crate) fn read(&mut self, first: u64, buffer: &mut [u8]) -> Result<()> {
        let place = (first - self.base) * SECTOR_BYTES as u64;
        let what = || format!("cannot read sector {first} of the disk image");
        self.file.seek(SeekFrom::Start(place)).with_context(what)?;
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read(&mut buffer[filled..]).with_context(what)? {
                0 => break,
                count => filled += count,
            }
        }
        let missing = &mut buffer[filled..];
        if missing.len() >= SECTOR_BYTES {
            bail!("{}: the image ends before", what());
        }
        missing.fill(0);
        Ok(())
    }

    /// The digest of a range.
    pub(crate) fn digest(&mut self, range: SectorRange) -> Result<u64> {
        let mut digest = Digest::new();
        let mut buffer = vec![0; CHUNK.min(range.count) as usize * SECTOR_BYTES];
        let mut sector = range.first;
        while sector < range.end() {
            let count = CHUNK.min(range.end() - sector);
            let buffer = &mut buffer[..count as usize * SECTOR_BYTES];
            self.read(sector, buffer)?;
            digest.update(buffer);
            sector += count;
        }
        Ok(digest.finish())
    }
}

/// The size of a file of the user's at one moment, and when it was last written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    path: PathBuf,
    bytes: u64,
    written: SystemTime,
}

impl Fingerprint {
    pub(super) fn take(path: &Path) -> Result<Fingerprint> {
        let what = || format!("cannot read {}", path.display());
        let data = std::fs::metadata(path).with_context(what)?;
        Ok(Fingerprint {
            path: path.to_owned(),
            bytes: data.len(),
            written: data.modified().with_context(what)?,
        })
    }

    /// Whether the file has not changed.
    pub(crate) fn still_fits(&self) -> Result<bool> {
        Ok(Fingerprint::take(&self.path)? == *self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_sector_may_be_cut_short() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; 1000]).unwrap();
        let mut source = Source::raw(file.path(), 0).unwrap();
        let mut bytes = [1; 1024];
        source.read(0, &mut bytes).unwrap();
        assert_eq!(bytes[..1000], [7; 1000]);
        assert_eq!(bytes[1000..], [0; 24]);
        assert!(source.read(1, &mut bytes).is_err());
    }

    #[test]
    fn a_write_changes_the_fingerprint() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; 3000]).unwrap();
        let before = Fingerprint::take(file.path()).unwrap();
        assert!(before.still_fits().unwrap());
        // File systems count time in ticks.
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::fs::write(file.path(), [7; 3000]).unwrap();
        assert!(!before.still_fits().unwrap());
    }
}
