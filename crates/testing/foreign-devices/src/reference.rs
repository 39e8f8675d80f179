//! The content that the disk should have.
//!
//! Each write gives its sectors a version. The bytes of a sector follow from its number and its version, so a sector that is read
//! tells which write it comes from. A write that came to no end leaves two answers, until a read tells which of them is true.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Result, bail, ensure};

/// Bytes of a sector.
pub(crate) const SECTOR: usize = 512;

/// The version of a sector of zeroes.
const ZEROES: u32 = 0;

/// What one sector may hold beside its version.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Doubt {
    /// One of these versions.
    Versions(Vec<u32>),
    /// Any bytes, as after a discard.
    Anything,
}

/// The sectors of a disk that begins with zeroes.
pub(crate) struct Reference {
    versions: Vec<u32>,
    doubts: BTreeMap<usize, Doubt>,
    last: u32,
}

impl Reference {
    pub(crate) fn new(sectors: usize) -> Self {
        Self {
            versions: vec![ZEROES; sectors],
            doubts: BTreeMap::new(),
            last: ZEROES,
        }
    }

    pub(crate) fn sectors(&self) -> usize {
        self.versions.len()
    }

    /// The version of the next write.
    pub(crate) fn next_version(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// The sectors have this version now: the write was answered.
    pub(crate) fn written(&mut self, range: Range<usize>, version: u32) {
        self.versions[range.clone()].fill(version);
        for sector in range {
            self.doubts.remove(&sector);
        }
    }

    pub(crate) fn zeroed(&mut self, range: Range<usize>) {
        self.written(range, ZEROES);
    }

    /// The sectors may have this version: the write came to no end.
    pub(crate) fn perhaps_written(&mut self, range: Range<usize>, version: u32) {
        for sector in range {
            match self.doubts.entry(sector).or_insert_with(|| Doubt::Versions(Vec::new())) {
                Doubt::Versions(versions) => versions.push(version),
                Doubt::Anything => {}
            }
        }
    }

    pub(crate) fn perhaps_zeroed(&mut self, range: Range<usize>) {
        self.perhaps_written(range, ZEROES);
    }

    /// The sectors hold anything from now on.
    pub(crate) fn discarded(&mut self, range: Range<usize>) {
        self.doubts.extend(range.map(|sector| (sector, Doubt::Anything)));
    }

    /// Holds what was read from `first` on against what should be there.
    pub(crate) fn check(&mut self, first: usize, content: &[u8]) -> Result<()> {
        for (sector, bytes) in (first..).zip(content.chunks(SECTOR)) {
            let doubt = self.doubts.get(&sector);
            if doubt == Some(&Doubt::Anything) {
                continue;
            }
            let Some(version) = version_of(sector, bytes) else {
                bail!("sector {sector} holds bytes that no write has given it");
            };
            let known = self.versions[sector];
            let is_possible = matches!(doubt, Some(Doubt::Versions(versions)) if versions.contains(&version));
            ensure!(
                version == known || is_possible,
                "sector {sector} holds version {version}, and version {known} was answered"
            );
            self.versions[sector] = version;
            self.doubts.remove(&sector);
        }
        Ok(())
    }
}

/// The bytes of sectors of one version.
pub(crate) fn content(first: usize, sectors: usize, version: u32, into: &mut Vec<u8>) {
    into.clear();
    for sector in first..first + sectors {
        into.extend((0..SECTOR / 8).flat_map(|index| word(sector, version, index).to_le_bytes()));
    }
}

fn word(sector: usize, version: u32, index: usize) -> u64 {
    match version {
        ZEROES => 0,
        _ => u64::from(version) << 32 | (sector as u64 & 0xFF_FFFF) << 8 | index as u64,
    }
}

/// The version of a sector with these bytes.
fn version_of(sector: usize, bytes: &[u8]) -> Option<u32> {
    let mut words = bytes
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
    let version = (words.clone().next()? >> 32) as u32;
    let is_right = words
        .by_ref()
        .enumerate()
        .all(|(index, found)| found == word(sector, version, index));
    is_right.then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(first: usize, sectors: usize, version: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        content(first, sectors, version, &mut bytes);
        bytes
    }

    #[test]
    fn a_lost_an_old_and_a_moved_write_are_seen() {
        let mut reference = Reference::new(16);
        assert!(reference.check(0, &[0; 1024]).is_ok());
        let version = reference.next_version();
        reference.written(2..4, version);
        assert!(reference.check(2, &bytes(2, 2, version)).is_ok());
        assert!(reference.check(2, &[0; 512]).is_err(), "lost");
        let next = reference.next_version();
        reference.written(3..4, next);
        assert!(reference.check(3, &bytes(3, 1, version)).is_err(), "old");
        assert!(reference.check(2, &bytes(3, 1, version)).is_err(), "moved");
        let mut torn = bytes(2, 1, version);
        torn[511] ^= 1;
        assert!(reference.check(2, &torn).is_err());
    }

    #[test]
    fn a_write_without_an_end_may_be_there_and_a_read_settles_it() {
        let mut reference = Reference::new(4);
        let version = reference.next_version();
        reference.perhaps_written(0..2, version);
        assert!(reference.check(0, &[0; 512]).is_ok());
        assert!(
            reference.check(0, &bytes(0, 1, version)).is_err(),
            "it was not there before"
        );
        assert!(reference.check(1, &bytes(1, 1, version)).is_ok());
        assert!(reference.check(1, &[0; 512]).is_err(), "it was there before");
        reference.discarded(0..1);
        assert!(reference.check(0, &[7; 512]).is_ok());
        reference.perhaps_zeroed(1..2);
        reference.zeroed(0..1);
        assert!(reference.check(0, &[0; 1024]).is_ok());
        assert!(reference.check(0, &[7; 512]).is_err());
    }
}
