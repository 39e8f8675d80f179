//! The part of the disk the image may overwrite, and the reports of what was done to it.

use board_qemu_virt::counters;
use guest_protocol::Record;
use image_blk::options::SectorRange;
use image_blk::pattern;

use super::report::record;

/// Hands out the scratch region piece by piece, each once, so that at the end all of it holds what was reported last.
#[derive(Debug)]
pub(crate) struct Scratch {
    free: SectorRange,
    block_sectors: u64,
    seed: u64,
    seeds: u64,
}

impl Scratch {
    /// The region `range`, narrowed to whole blocks of the disk. None: nothing may be written.
    pub(crate) fn new(range: Option<SectorRange>, block_sectors: u64, capacity: u64) -> Self {
        let range = range.unwrap_or_default();
        let first = range.first.next_multiple_of(block_sectors);
        let end = range.end().min(capacity) / block_sectors * block_sectors;
        Scratch {
            free: SectorRange {
                first,
                count: end.saturating_sub(first),
            },
            block_sectors,
            // Another one at each boot, or what an earlier run left could be taken for what this one wrote.
            seed: counters::now().0,
            seeds: 0,
        }
    }

    /// Sectors not handed out yet.
    pub(crate) fn free(&self) -> u64 {
        self.free.count
    }

    /// Hands out `sectors`, a whole number of blocks; `None` if that many are not left.
    pub(crate) fn take(&mut self, sectors: u64) -> Option<SectorRange> {
        let sectors = sectors.next_multiple_of(self.block_sectors);
        let left = self.free.count.checked_sub(sectors)?;
        let taken = SectorRange {
            first: self.free.first,
            count: sectors,
        };
        self.free = SectorRange {
            first: taken.end(),
            count: left,
        };
        Some(taken)
    }

    /// A seed no earlier write has used.
    pub(crate) fn seed(&mut self) -> u64 {
        self.seeds += 1;
        pattern::word(self.seed, self.seeds, 0)
    }
}

/// These sectors now hold the pattern of `seed`.
pub(crate) fn wrote(first: u64, sectors: u64, seed: u64) {
    let range = SectorRange { first, count: sectors };
    record(Record::Wrote { range, seed });
}

/// These sectors now hold zeros.
pub(crate) fn zeroed(first: u64, sectors: u64) {
    let range = SectorRange { first, count: sectors };
    record(Record::Zeroed { range });
}

/// Nobody knows what these sectors hold now: they were discarded, or a write to them failed half-way.
pub(crate) fn discarded(first: u64, sectors: u64) {
    let range = SectorRange { first, count: sectors };
    record(Record::Undefined { range });
}
