//! The part of the disk the image may overwrite, and the reports of changes.

use board_qemu_virt::counters;
use guest_protocol::Record;
use image_blk::options::SectorRange;
use image_blk::pattern;
use virtio_blk::Limits;
use virtio_blk::proto::Sector;

use bare_image::report::record;

/// Hands out the scratch region piece by piece, each once, so that the last report of each sector is true at the end.
#[derive(Debug)]
pub(crate) struct Scratch {
    free: SectorRange,
    block_sectors: u64,
    seed: u64,
    seeds: u64,
}

impl Scratch {
    /// The region `range`, narrowed to whole blocks of the disk. None: nothing may be written.
    pub(crate) fn new(range: Option<SectorRange>, limits: &Limits) -> Self {
        let range = range.filter(|_| !limits.read_only).unwrap_or_default();
        let block_sectors = limits.block_sectors();
        let first = range.first.next_multiple_of(block_sectors);
        let end = range.end().min(limits.capacity.get()) / block_sectors * block_sectors;
        Scratch {
            free: SectorRange {
                first,
                count: end.saturating_sub(first),
            },
            block_sectors,
            // Another one at each boot. Otherwise the content of an earlier run could pass for that of this one.
            seed: counters::now().0,
            seeds: 0,
        }
    }

    /// Blocks not handed out yet.
    pub(crate) fn free_blocks(&self) -> u64 {
        self.free.count / self.block_sectors
    }

    /// Hands out whole blocks of at least `sectors`; `None` if that many are not left.
    pub(crate) fn take(&mut self, sectors: u64) -> Option<SectorRange> {
        let count = sectors.next_multiple_of(self.block_sectors);
        let left = self.free.count.checked_sub(count)?;
        let first = self.free.first;
        self.free = SectorRange {
            first: first + count,
            count: left,
        };
        Some(SectorRange { first, count })
    }

    /// Hands out all that is left.
    pub(crate) fn rest(&mut self) -> SectorRange {
        core::mem::take(&mut self.free)
    }

    /// A seed that no earlier write has used.
    pub(crate) fn seed(&mut self) -> u64 {
        self.seeds += 1;
        pattern::word(self.seed, self.seeds, 0)
    }
}

/// These sectors now hold the pattern of `seed`.
pub(crate) fn wrote(range: SectorRange, seed: u64) {
    record(Record::Wrote { range, seed });
}

/// These sectors now hold zeros.
pub(crate) fn zeroed(range: SectorRange) {
    record(Record::Zeroed { range });
}

/// The content of these sectors is unknown to the host: they were discarded, or a write to them failed.
pub(crate) fn undefined(range: SectorRange) {
    record(Record::Undefined { range });
}

/// The driver's type for the same range.
pub(crate) fn driver_range(range: SectorRange) -> virtio_blk::SectorRange {
    virtio_blk::SectorRange {
        first: Sector(range.first),
        sectors: range.count,
    }
}
