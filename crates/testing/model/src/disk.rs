//! The medium: sectors in memory, and a volatile cache in front of them.

use std::collections::BTreeMap;

type Content = Box<[u8; 512]>;

/// A disk of any size; only what was written takes memory. Sectors never written read as zeroes.
#[derive(Default)]
pub(crate) struct Disk {
    sectors: BTreeMap<u64, Content>,
    /// Sectors whose content is not durable.
    dirty: BTreeMap<u64, Dirty>,
}

/// A sector whose content is in the volatile cache only.
#[derive(Default)]
struct Dirty {
    /// The content before each write since the sector was durable, oldest first; `None` if it was never written. The cache
    /// may have put any of these on the medium.
    before: Vec<Option<Content>>,
    /// A flush of this content has failed, and later flushes leave it out.
    forgotten: bool,
}

impl Disk {
    pub(crate) fn read(&self, sector: u64) -> [u8; 512] {
        self.sectors.get(&sector).map_or([0; 512], |content| **content)
    }

    /// Reads whole sectors from `first` on.
    pub(crate) fn read_many(&self, first: u64, count: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count as usize * 512);
        for sector in first..first + count {
            bytes.extend_from_slice(&self.read(sector));
        }
        bytes
    }

    /// Writes one sector. A write that is not `durable` can be lost until the next flush.
    pub(crate) fn write(&mut self, sector: u64, content: &[u8; 512], durable: bool) {
        let old = self.sectors.insert(sector, Box::new(*content));
        if durable {
            self.dirty.remove(&sector);
        } else {
            let dirty = self.dirty.entry(sector).or_default();
            dirty.before.push(old);
            dirty.forgotten = false;
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
        self.dirty.retain(|_, dirty| dirty.forgotten);
    }

    /// A flush fails, and the cache marks the sectors it could not write as clean. Only another write makes such a
    /// sector durable again.
    pub(crate) fn forget_dirty(&mut self) {
        for dirty in self.dirty.values_mut() {
            dirty.forgotten = true;
        }
    }

    /// Sectors whose content would be lost now.
    pub(crate) fn unflushed(&self) -> usize {
        self.dirty.len()
    }

    /// Each sector that is not durable, with each possible content after a power cut.
    pub(crate) fn visit_unflushed(&self, mut visit: impl FnMut(u64, &[&[u8; 512]])) {
        let mut contents = Vec::new();
        for (&sector, dirty) in &self.dirty {
            contents.clear();
            let before = dirty.before.iter().map(|old| old.as_deref().unwrap_or(&[0; 512]));
            contents.extend(before);
            contents.extend(self.sectors.get(&sector).map(|content| &**content));
            visit(sector, &contents);
        }
    }

    /// Of each sector that is not durable, one content survives. `choose` is given the sector and the number of contents, and
    /// names one, counted from the oldest.
    pub(crate) fn power_cut(&mut self, mut choose: impl FnMut(u64, usize) -> usize) {
        for (sector, mut dirty) in std::mem::take(&mut self.dirty) {
            let survivor = choose(sector, dirty.before.len() + 1);
            if survivor >= dirty.before.len() {
                continue;
            }
            match dirty.before.swap_remove(survivor) {
                Some(content) => self.sectors.insert(sector, content),
                None => self.sectors.remove(&sector),
            };
        }
    }
}

/// What discarded, erased and unwritten sectors read as (`BLK-D-25`).
pub fn noise(sector: u64) -> [u8; 512] {
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
