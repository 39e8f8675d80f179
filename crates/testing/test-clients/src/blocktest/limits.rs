//! The end of a partition, for reading and for writing: what lies behind it belongs to the next one.
//!
//! There are two small partitions, the second right behind the first. The tested minor holds both, so what is really on the
//! disk can be looked up through it.

use minix_abi::minor::Minor;
use minix_rt::Ipc;

use super::tester::{MARGIN, SECTOR, SECTOR_BYTES, Spot, Tester};
use super::verdict::Fault;
use crate::buffer::Memory;

/// A position whose distance to the end of 64 bits is one sector.
const LAST_OF_64_BITS: u64 = SECTOR_BYTES.wrapping_neg();
/// A position far behind any disk, but not negative.
const FAR: u64 = 0x1000_0000_0000_0000;
/// Where in the memory for pieces the content of both partitions is kept.
const REFERENCE: usize = 0;

/// Two partitions of the same size, one right behind the other.
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

/// The patterns that a test of writing leaves around the border.
struct Border {
    /// In the last sector but one, and in the last one of the first partition.
    ends: [u64; 2],
    /// In the first sectors of the second one.
    start: u64,
}

/// Sectors at the start of the second partition that are watched.
const START: usize = 3;

impl<I: Ipc> Tester<'_, I> {
    /// Reads around the ends.
    pub(crate) fn read_limits(&mut self, twins: &Twins) {
        let end = twins.sectors;
        let reference = self.reference(twins);
        if !self.check(twins.number(33), "read_both_by_the_tested_minor", reference) {
            return;
        }
        let inside = [
            ("read_last", 0, end - 1, 1, 1),
            ("read_last_three", 0, end - 3, 3, 3),
            ("read_one_past", 0, end - 2, 3, 2),
            ("read_two_past", 0, end - 1, 3, 1),
            ("read_start_of_second", 1, 0, 3, 3),
        ];
        for (name, nth, sector, sectors, expected) in inside {
            let result = self.read_compare(twins, nth, sector, sectors, expected);
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
        let result = self.read_far(twins);
        self.check(twins.number(35), "read_far_away", result);
        let result = self.read(twins.spot(1, 0).plus(LAST_OF_64_BITS), SECTOR, 0);
        self.check(twins.number(36), "read_before_the_start", result);
    }

    /// Writes around the ends.
    pub(crate) fn write_limits(&mut self, twins: &Twins) {
        let end = twins.sectors;
        let mut border = Border {
            ends: [0; 2],
            start: self.seed(),
        };
        let result = self.write_and_read(twins.spot(1, 0), START, border.start);
        self.check(twins.number(37), "write_start_of_second", result);
        border.ends[1] = self.seed();
        let result = self.write_and_read(twins.spot(0, end - 1), 1, border.ends[1]);
        self.check(twins.number(37), "write_last", result);

        border.ends = [self.seed(); 2];
        let result = self
            .write_pattern(twins.spot(0, end - 2), 3, border.ends[0], 2)
            .and_then(|()| self.border(twins, &border));
        self.check(twins.number(37), "write_one_past", result);
        border.ends[1] = self.seed();
        let result = self
            .write_pattern(twins.spot(0, end - 1), 3, border.ends[1], 1)
            .and_then(|()| self.border(twins, &border));
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
                .write_pattern(twins.spot(0, sector), sectors, seed, 0)
                .and_then(|()| self.border(twins, &border));
            self.check(twins.number(38), name, result);
        }
        let result = self.read_pattern(twins.spot(1, 0), START, border.start);
        self.check(twins.number(39), "start_of_second", result);

        let seed = self.seed();
        // Added up without care, that is the last sector of the first partition.
        let before = twins.spot(1, 0).plus(LAST_OF_64_BITS);
        let result = self
            .write_pattern(before, 1, seed, 0)
            .and_then(|()| self.read_pattern(twins.spot(0, end - 1), 1, border.ends[1]));
        self.check(twins.number(40), "write_before_the_start", result);
    }

    fn write_and_read(&mut self, at: Spot, sectors: usize, seed: u64) -> Result<(), Fault> {
        self.write_pattern(at, sectors, seed, sectors)?;
        self.read_pattern(at, sectors, seed)
    }

    /// Whether both sides of the border are what they should be, seen by the tested minor.
    fn border(&mut self, twins: &Twins, border: &Border) -> Result<(), Fault> {
        let first = self.by_tested_minor(twins.spot(0, twins.sectors - 2));
        let sectors = 2 + START;
        self.read(first, sectors * SECTOR, sectors * SECTOR)?;
        let disk_sector = first.disk_sector();
        self.holds_pattern(0, 1, border.ends[0], disk_sector)?;
        self.holds_pattern(1, 1, border.ends[1], disk_sector + 1)?;
        self.holds_pattern(2, START, border.start, disk_sector + 2)
    }

    /// Keeps what is in both partitions, as seen by the tested minor.
    fn reference(&mut self, twins: &Twins) -> Result<(), Fault> {
        let bytes = 2 * twins.sectors * SECTOR;
        let from = self.by_tested_minor(twins.spot(0, 0));
        self.read(from, bytes, bytes)?;
        copy(&self.flat, MARGIN, &mut self.pieces, REFERENCE, bytes);
        Ok(())
    }

    /// Reads sectors of one of the partitions and compares them with what was kept.
    fn read_compare(
        &mut self,
        twins: &Twins,
        nth: usize,
        sector: usize,
        sectors: usize,
        expected: usize,
    ) -> Result<(), Fault> {
        self.read(twins.spot(nth, sector), sectors * SECTOR, expected * SECTOR)?;
        let kept = REFERENCE + (nth * twins.sectors + sector) * SECTOR;
        self.flat
            .compare(MARGIN, &self.pieces, kept, expected * SECTOR)
            .map_err(|at| Fault::Data { at })
    }

    /// A read so far away that drivers differ in what they say. That there is an answer is all.
    fn read_far(&mut self, twins: &Twins) -> Result<(), Fault> {
        let into = self.flat.piece(MARGIN, SECTOR);
        self.session.read(self.client, twins.minors[0], FAR, into)?;
        Ok(())
    }

    /// The same place on the disk, by way of the tested minor.
    fn by_tested_minor(&self, spot: Spot) -> Spot {
        self.at(spot.base + spot.position - self.place.base)
    }
}

fn copy(from: &Memory, from_offset: usize, to: &mut Memory, to_offset: usize, bytes: usize) {
    let mut sector = [0; SECTOR];
    for at in (0..bytes).step_by(SECTOR) {
        from.read(from_offset + at, &mut sector);
        to.write(to_offset + at, &sector);
    }
}
