//! The medium: sectors in memory, and a volatile cache in front of them.

use std::collections::BTreeMap;

type Content = Box<[u8; 512]>;

/// A disk of any size; only what was written takes memory. Sectors never written read as zeroes.
#[derive(Default)]
pub(crate) struct Disk {
    sectors: BTreeMap<u64, Content>,
    /// What sectors held before writes that are not durable yet.
    undo: BTreeMap<u64, Option<Content>>,
}

impl Disk {
    pub(crate) fn read(&self, sector: u64) -> [u8; 512] {
        self.sectors.get(&sector).map_or([0; 512], |content| **content)
    }

    /// Reads whole sectors from `first` on.
    pub(crate) fn read_many(&self, first: u64, count: u64) -> Vec<u8> {
        (first..first + count).flat_map(|sector| self.read(sector)).collect()
    }

    /// Writes one sector. A write that is not `durable` can be lost until the next flush.
    pub(crate) fn write(&mut self, sector: u64, content: &[u8; 512], durable: bool) {
        let old = self.sectors.insert(sector, Box::new(*content));
        if !durable {
            self.undo.entry(sector).or_insert(old);
        }
    }

    /// Writes whole sectors from `first` on.
    pub(crate) fn write_many(&mut self, first: u64, bytes: &[u8], durable: bool) {
        let (sectors, _) = bytes.as_chunks::<512>();
        for (sector, content) in (first..).zip(sectors) {
            self.write(sector, content, durable);
        }
    }

    pub(crate) fn flush(&mut self) {
        self.undo.clear();
    }

    /// Sectors whose content would be lost now.
    pub(crate) fn unflushed(&self) -> usize {
        self.undo.len()
    }

    /// Loses everything that is not durable.
    pub(crate) fn lose_cache(&mut self) {
        for (sector, old) in std::mem::take(&mut self.undo) {
            match old {
                Some(content) => self.sectors.insert(sector, content),
                None => self.sectors.remove(&sector),
            };
        }
    }
}

/// What discarded or erased sectors read as: nothing anybody could rely on (`BLK-D-25`).
pub(crate) fn noise(sector: u64) -> [u8; 512] {
    let mut state = sector ^ 0x9E37_79B9_7F4A_7C15;
    let mut content = [0; 512];
    for byte in &mut content {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_flushed_writes_survive() {
        let mut disk = Disk::default();
        disk.write(1, &[1; 512], true);
        disk.write(1, &[2; 512], false);
        disk.write(1, &[3; 512], false);
        disk.write(2, &[4; 512], false);
        assert_eq!(disk.unflushed(), 2);
        disk.lose_cache();
        assert_eq!((disk.read(1), disk.read(2)), ([1; 512], [0; 512]));

        disk.write(2, &[5; 512], false);
        disk.flush();
        disk.lose_cache();
        assert_eq!(disk.read(2), [5; 512]);
    }
}
