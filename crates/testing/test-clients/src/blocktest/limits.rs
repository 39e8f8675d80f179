//! The end of a partition, for reading and for writing: the sectors after it belong to the next one.
//!
//! There are two small partitions, the second right after the first. The tested minor holds both, so the content of the
//! disk is checked through it.

use minix_abi::minor::Minor;
use minix_rt::Ipc;

use super::tester::{Content, SECTOR, SECTOR_BYTES, Spot, Tester};
use super::verdict::Fault;

/// A position whose distance to the end of 64 bits is one sector.
const LAST_OF_64_BITS: u64 = SECTOR_BYTES.wrapping_neg();
/// A position far beyond any disk, but not negative.
const FAR: u64 = 0x1000_0000_0000_0000;
/// Sectors at the start of the second partition that are watched.
const START: usize = 3;
/// Most sectors of both partitions.
const MAX_SECTORS: usize = 18;

/// Two partitions of the same size, one right after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Twins {
    pub(crate) minors: [Minor; 2],
    /// Where the first one starts on the disk, in bytes.
    pub(crate) base: u64,
    pub(crate) sectors: usize,
    /// They come from a table on the disk, which makes a difference for the numbers of the checks.
    pub(crate) real: bool,
}

impl Twins {
    /// Bytes of each.
    pub(crate) const fn bytes(&self) -> u64 {
        self.sectors as u64 * SECTOR_BYTES
    }

    /// Where one of them starts on the disk.
    pub(crate) const fn base_of(&self, nth: usize) -> u64 {
        self.base + nth as u64 * self.bytes()
    }

    const fn spot(&self, nth: usize, sector: usize) -> Spot {
        Spot {
            minor: self.minors[nth],
            base: self.base_of(nth),
            position: sector as u64 * SECTOR_BYTES,
        }
    }

    const fn number(&self, virtual_number: u32) -> u32 {
        if self.real { 43 } else { virtual_number }
    }
}

impl<I: Ipc> Tester<'_, I> {
    /// Reads around the ends.
    pub(crate) fn read_limits(&mut self, twins: &Twins) {
        let end = twins.sectors;
        let both = self.by_tested_minor(twins.spot(0, 0));
        let bytes = 2 * end * SECTOR;
        let result = self.read(both, bytes, bytes);
        if !self.check(twins.number(33), "read_both_by_the_tested_minor", result) {
            return;
        }
        let reference: [Content; MAX_SECTORS] = self.digests();
        let inside = [
            ("read_last", 0, end - 1, 1, 1),
            ("read_last_three", 0, end - 3, 3, 3),
            ("read_one_past", 0, end - 2, 3, 2),
            ("read_two_past", 0, end - 1, 3, 1),
            ("read_start_of_second", 1, 0, 3, 3),
        ];
        for (name, nth, sector, sectors, expected) in inside {
            let at = twins.spot(nth, sector);
            let kept = &reference[nth * end + sector..][..expected];
            let result = self
                .read(at, sectors * SECTOR, expected * SECTOR)
                .and_then(|()| self.holds_each(at, kept));
            self.check(twins.number(33), name, result);
        }
        let outside = [
            ("read_at_the_end", end, 1),
            ("read_three_at_the_end", end, 3),
            ("read_past_the_end", end + 1, 1),
            ("read_three_past_the_end", end + 1, 3),
        ];
        for (name, sector, sectors) in outside {
            let result = self.read(twins.spot(0, sector), sectors * SECTOR, 0);
            self.check(twins.number(34), name, result);
        }
        // So far away that drivers differ. Any answer is right.
        let into = self.memory.piece(0, SECTOR);
        let result = self.session.read(twins.minors[0], FAR, into).map_err(Fault::Trouble);
        self.check(twins.number(35), "read_far_away", result);
        let result = self.read(twins.spot(1, 0).plus(LAST_OF_64_BITS), SECTOR, 0);
        self.check(twins.number(36), "read_before_the_start", result);
    }

    /// Writes around the ends.
    pub(crate) fn write_limits(&mut self, twins: &Twins) {
        let end = twins.sectors;
        let start = self.seed();
        let result = self.write_and_read(twins.spot(1, 0), START, start);
        self.check(twins.number(37), "write_start_of_second", result);
        let seed = self.seed();
        let result = self.write_and_read(twins.spot(0, end - 1), 1, seed);
        self.check(twins.number(37), "write_last", result);

        // The patterns in the last two sectors of the first partition.
        let mut ends = [self.seed(); 2];
        let result = self
            .write(twins.spot(0, end - 2), 3, ends[0], 2)
            .and_then(|()| self.border(twins, ends, start));
        self.check(twins.number(37), "write_one_past", result);
        ends[1] = self.seed();
        let result = self
            .write(twins.spot(0, end - 1), 3, ends[1], 1)
            .and_then(|()| self.border(twins, ends, start));
        self.check(twins.number(37), "write_two_past", result);

        let outside = [
            ("write_at_the_end", end, 1),
            ("write_three_at_the_end", end, 3),
            ("write_past_the_end", end + 1, 1),
            ("write_three_past_the_end", end + 1, 3),
        ];
        for (name, sector, sectors) in outside {
            let seed = self.seed();
            let result = self
                .write(twins.spot(0, sector), sectors, seed, 0)
                .and_then(|()| self.border(twins, ends, start));
            self.check(twins.number(38), name, result);
        }
        let result = self.read_pattern(twins.spot(1, 0), START, start);
        self.check(twins.number(39), "start_of_second", result);

        let seed = self.seed();
        // Added up without care, that is the last sector of the first partition.
        let before = twins.spot(1, 0).plus(LAST_OF_64_BITS);
        let result = self
            .write(before, 1, seed, 0)
            .and_then(|()| self.read_pattern(twins.spot(0, end - 1), 1, ends[1]));
        self.check(twins.number(40), "write_before_the_start", result);
    }

    fn write_and_read(&mut self, at: Spot, sectors: usize, seed: u64) -> Result<(), Fault> {
        self.write(at, sectors, seed, sectors)?;
        self.read_pattern(at, sectors, seed)
    }

    /// Whether both sides of the border hold their patterns, read through the tested minor.
    fn border(&mut self, twins: &Twins, ends: [u64; 2], start: u64) -> Result<(), Fault> {
        let first = self.by_tested_minor(twins.spot(0, twins.sectors - 2));
        let contents = [ends[0], ends[1], start, start, start].map(Content::Pattern);
        self.read_contents(first, &contents)
    }

    /// The same place on the disk, by way of the tested minor.
    fn by_tested_minor(&self, spot: Spot) -> Spot {
        self.at(spot.base + spot.position - self.place.base)
    }
}
