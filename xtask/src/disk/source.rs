//! Reading sectors, wherever they are.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use image_blk::SECTOR_BYTES;
use image_blk::options::SectorRange;
use image_blk::pattern::{self, Digest};

/// Sectors handled at a time.
const CHUNK: u64 = 2048;

/// Something that has sectors.
#[derive(Debug)]
pub(crate) enum Source {
    /// The content a prepared disk was made with.
    Computed {
        first_sector: Box<[u8; SECTOR_BYTES]>,
        seed: u64,
    },
    /// A file that holds the disk, or a part of it, byte by byte.
    Raw {
        file: File,
        /// The sector at the start of the file.
        base: u64,
    },
}

impl Source {
    /// A file that holds the whole disk.
    pub(crate) fn raw_file(path: &Path) -> Result<Source> {
        Source::raw_part(path, 0)
    }

    /// A file that holds the disk from sector `base` on.
    pub(crate) fn raw_part(path: &Path, base: u64) -> Result<Source> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Source::Raw { file, base })
    }

    /// Fills `buffer`, whole sectors, from `first` on.
    pub(crate) fn read(&mut self, first: u64, buffer: &mut [u8]) -> Result<()> {
        match self {
            Source::Computed { first_sector, seed } => {
                pattern::fill(*seed, first, buffer);
                if first == 0 {
                    let length = buffer.len().min(SECTOR_BYTES);
                    buffer[..length].copy_from_slice(&first_sector[..length]);
                }
                Ok(())
            }
            Source::Raw { file, base } => {
                let place = (first - *base) * SECTOR_BYTES as u64;
                file.seek(SeekFrom::Start(place))
                    .and_then(|_| file.read_exact(buffer))
                    .with_context(|| format!("cannot read sector {first} of the disk image"))
            }
        }
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

/// Files up to this size (1 GiB) are compared by content; larger ones by size and time of change.
const COMPARED_WHOLE: u64 = 1 << 30;

/// What a file was like at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    bytes: u64,
    modified: Option<SystemTime>,
    digest: Option<u64>,
}

impl Fingerprint {
    pub(crate) fn take(path: &Path) -> Result<Fingerprint> {
        Fingerprint::take_with_limit(path, COMPARED_WHOLE)
    }

    fn take_with_limit(path: &Path, limit: u64) -> Result<Fingerprint> {
        let name = || format!("cannot read {}", path.display());
        let data = std::fs::metadata(path).with_context(name)?;
        if data.len() > limit {
            return Ok(Fingerprint {
                bytes: data.len(),
                modified: data.modified().ok(),
                digest: None,
            });
        }
        let mut file = File::open(path).with_context(name)?;
        let mut digest = Digest::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).with_context(name)? {
                0 => break,
                count => digest.update(&buffer[..count]),
            }
        }
        Ok(Fingerprint {
            bytes: data.len(),
            modified: None,
            digest: Some(digest.finish()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_changes_the_fingerprint() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, [7; 3000]).unwrap();
        let before = Fingerprint::take(&path).unwrap();
        let before_large = Fingerprint::take_with_limit(&path, 100).unwrap();
        assert_eq!(Fingerprint::take(&path).unwrap(), before);
        let mut bytes = [7; 3000];
        bytes[2999] = 8;
        std::fs::write(&path, bytes).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(2);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert_ne!(Fingerprint::take(&path).unwrap(), before);
        assert_ne!(Fingerprint::take_with_limit(&path, 100).unwrap(), before_large);
    }

    #[test]
    fn a_part_of_a_disk_keeps_its_sector_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("part");
        let mut bytes = vec![0; 3 * SECTOR_BYTES];
        pattern::fill(5, 100, &mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let mut part = Source::raw_part(&path, 100).unwrap();
        let mut computed = Source::Computed {
            first_sector: Box::new([0; SECTOR_BYTES]),
            seed: 5,
        };
        let range = SectorRange { first: 101, count: 2 };
        assert_eq!(part.digest(range).unwrap(), computed.digest(range).unwrap());
        assert!(part.read(102, &mut [0; 2 * SECTOR_BYTES]).is_err());
    }
}
