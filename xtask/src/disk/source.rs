//! Reading sectors, wherever they are.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result};
use guest_protocol::pattern::{self, Digest};
use guest_protocol::{SECTOR_BYTES, SectorRange};

/// Sectors handled at a time.
const CHUNK: u64 = 2048;

/// What a disk was made with, computed where it is needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// The pattern's seed where nothing else is; None: zeros.
    seed: Option<u64>,
    /// Whole sectors of other content, by their first sector. They do not overlap.
    parts: Vec<(u64, Vec<u8>)>,
}

impl Content {
    /// Nothing but the pattern, or nothing but zeros.
    pub(crate) const fn new(seed: Option<u64>) -> Content {
        Content {
            seed,
            parts: Vec::new(),
        }
    }

    /// The same with these sectors from `first` on.
    pub(crate) fn with(mut self, first: u64, sectors: Vec<u8>) -> Content {
        self.parts.push((first, sectors));
        self
    }

    /// Fills `buffer`, whole sectors, from `first` on.
    pub(crate) fn fill(&self, first: u64, buffer: &mut [u8]) {
        match self.seed {
            Some(seed) => pattern::fill(seed, first, buffer),
            None => buffer.fill(0),
        }
        let end = first + (buffer.len() / SECTOR_BYTES) as u64;
        for (start, bytes) in &self.parts {
            let part_end = start + (bytes.len() / SECTOR_BYTES) as u64;
            let (from, to) = (first.max(*start), end.min(part_end));
            if from < to {
                let at = |sector: u64, base: u64| (sector - base) as usize * SECTOR_BYTES;
                buffer[at(from, first)..at(to, first)].copy_from_slice(&bytes[at(from, *start)..at(to, *start)]);
            }
        }
    }

    /// Ranges that are not zeros, if the rest of the disk is.
    pub(crate) fn islands(&self) -> Option<impl Iterator<Item = SectorRange>> {
        let ranges = self.parts.iter().map(|(first, bytes)| SectorRange {
            first: *first,
            count: (bytes.len() / SECTOR_BYTES) as u64,
        });
        self.seed.is_none().then_some(ranges)
    }
}

/// Something that has sectors.
#[derive(Debug)]
pub(crate) enum Source {
    /// The content a disk was made with.
    Computed(Arc<Content>),
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
            Source::Computed(content) => {
                content.fill(first, buffer);
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
        let mut computed = Source::Computed(Arc::new(Content::new(Some(5))));
        let range = SectorRange { first: 101, count: 2 };
        assert_eq!(part.digest(range).unwrap(), computed.digest(range).unwrap());
        assert!(part.read(102, &mut [0; 2 * SECTOR_BYTES]).is_err());
    }

    #[test]
    fn parts_cover_the_pattern_wherever_a_read_begins() {
        let part = vec![0xee; 3 * SECTOR_BYTES];
        let content = Content::new(Some(5)).with(4, part).with(0, vec![0x11; SECTOR_BYTES]);
        let mut whole = vec![0; 10 * SECTOR_BYTES];
        content.fill(0, &mut whole);
        for (number, sector) in whole.chunks(SECTOR_BYTES).enumerate() {
            let expected = match number {
                0 => [0x11; SECTOR_BYTES],
                4..7 => [0xee; SECTOR_BYTES],
                _ => {
                    let mut sector = [0; SECTOR_BYTES];
                    pattern::fill(5, number as u64, &mut sector);
                    sector
                }
            };
            assert_eq!(sector, expected, "{number}");
        }
        for first in 0..10 {
            for count in 1..=10 - first {
                let mut part = vec![0; count * SECTOR_BYTES];
                content.fill(first as u64, &mut part);
                assert_eq!(part, whole[first * SECTOR_BYTES..(first + count) * SECTOR_BYTES]);
            }
        }
    }
}
