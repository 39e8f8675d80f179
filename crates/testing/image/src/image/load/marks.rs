//! What a part of the disk holds: a mark for each request that may have been written.

use alloc::vec;
use alloc::vec::Vec;

use image_blk::options::SectorRange;

use crate::image::scratch;

/// The seed of the pattern of each piece. `None`: the content is not known.
pub(crate) struct Marks {
    part: SectorRange,
    /// Sectors of a piece.
    sectors: u64,
    seeds: Vec<Option<u64>>,
}

impl Marks {
    /// A part of unknown content.
    pub(super) fn new(part: SectorRange, sectors: u64) -> Self {
        Self {
            seeds: vec![None; (part.count / sectors) as usize],
            part,
            sectors,
        }
    }

    pub(super) fn part(&self) -> SectorRange {
        self.part
    }

    /// Sectors of a piece.
    pub(crate) fn sectors(&self) -> u64 {
        self.sectors
    }

    /// A write of the piece may happen from now on.
    pub(super) fn writing(&mut self, first: u64) {
        self.set(first, None);
    }

    /// A write of the piece was acknowledged.
    pub(super) fn written(&mut self, first: u64, seed: u64) {
        self.set(first, Some(seed));
    }

    fn set(&mut self, first: u64, seed: Option<u64>) {
        let place = first.checked_sub(self.part.first).map(|sectors| sectors / self.sectors);
        if let Some(mark) = place.and_then(|place| self.seeds.get_mut(place as usize)) {
            *mark = seed;
        }
    }

    /// The pieces whose content is known: first sector, and seed.
    pub(crate) fn known(&self) -> impl Iterator<Item = (u64, u64)> {
        let firsts = (self.part.first..).step_by(self.sectors as usize);
        firsts
            .zip(&self.seeds)
            .filter_map(|(first, seed)| Some((first, (*seed)?)))
    }

    /// Reports to the host what the part holds, in as few ranges as possible.
    pub(super) fn report(&self) {
        let mut first = self.part.first;
        for run in self.seeds.chunk_by(PartialEq::eq) {
            let count = run.len() as u64 * self.sectors;
            let range = SectorRange { first, count };
            match run[0] {
                Some(seed) => scratch::wrote(range, seed),
                None => scratch::undefined(range),
            }
            first += count;
        }
    }
}
