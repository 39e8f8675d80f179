//! A disk of any size, of which only what was written takes memory.

use std::collections::HashMap;

use guest_protocol::pattern;

/// What the disk holds where nothing was written.
pub(crate) const ORIGINAL_SEED: u64 = 0xd15c_0000_0000;

pub(crate) type Sector = [u8; 512];

pub(crate) struct Disk {
    pub(crate) sectors: u64,
    written: HashMap<u64, Sector>,
}

impl Disk {
    pub(crate) fn new(sectors: u64) -> Self {
        Self {
            sectors,
            written: HashMap::new(),
        }
    }

    pub(crate) fn read(&self, sector: u64) -> Sector {
        assert!(sector < self.sectors, "sector {sector} of {}", self.sectors);
        self.written.get(&sector).copied().unwrap_or_else(|| {
            let mut original = [0; 512];
            pattern::fill(ORIGINAL_SEED, sector, &mut original);
            original
        })
    }

    pub(crate) fn write(&mut self, sector: u64, content: &Sector) {
        assert!(sector < self.sectors, "sector {sector} of {}", self.sectors);
        self.written.insert(sector, *content);
    }

    /// Sectors that were ever written.
    pub(crate) fn written(&self) -> impl Iterator<Item = u64> {
        self.written.keys().copied()
    }
}
