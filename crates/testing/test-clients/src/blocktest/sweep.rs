//! Group K: a few sectors are written and read in all ways they can overlap, in places where numbers get longer.

use minix_rt::Ipc;

use super::tester::{MARGIN, SECTOR, SECTOR_BYTES, Spot, Tester};
use super::verdict::Fault;
use crate::bdev::Direction;

/// Sectors that are swept.
const SECTORS: usize = 8;
/// Sectors of a window.
const WINDOW: usize = 3;
/// A position whose number needs more than 32 bits.
const HIGH: u64 = 1 << 32;
/// Sectors at the start that a driver with shorter numbers would damage.
const DAMAGED: usize = 3;

/// What a sector of the swept ones has to hold: a digest, or a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Digest(u64),
    Pattern(u64),
}

impl<I: Ipc> Tester<'_, I> {
    /// The whole group.
    pub(crate) fn sweeps(&mut self) {
        self.group('K', "sweeps");
        self.sweep(47, ["write", "read", "windows", "read_again"], self.at(SECTOR_BYTES));

        match across(HIGH, self.place.base, self.place.bytes) {
            Some(position) => {
                let names = ["disk_4g_write", "disk_4g_read", "disk_4g_windows", "disk_4g_read_again"];
                self.sweep_without_damage(48, names, self.at(position));
            }
            None => self.skip(48, "disk_4g", &"the partition is elsewhere"),
        }

        if self.place.base == 0 {
            self.skip(49, "partition_4g", &"the partition starts with the disk");
        } else {
            match across(HIGH, 0, self.place.bytes) {
                Some(position) => {
                    let names = [
                        "partition_4g_write",
                        "partition_4g_read",
                        "partition_4g_windows",
                        "partition_4g_read_again",
                    ];
                    self.sweep_without_damage(49, names, self.at(position));
                }
                None => self.skip(49, "partition_4g", &"the partition is too small"),
            }
        }

        let addresses = [
            (
                24,
                [
                    "lba_2_24_write",
                    "lba_2_24_read",
                    "lba_2_24_windows",
                    "lba_2_24_read_again",
                ],
                "lba_2_24",
            ),
            (
                28,
                [
                    "lba_2_28_write",
                    "lba_2_28_read",
                    "lba_2_28_windows",
                    "lba_2_28_read_again",
                ],
                "lba_2_28",
            ),
        ];
        for (bits, names, name) in addresses {
            match across(SECTOR_BYTES << bits, self.place.base, self.place.bytes) {
                Some(position) => self.sweep(50, names, self.at(position)),
                None => self.skip(50, name, &"the partition is elsewhere"),
            }
        }
    }

    /// A sweep, after which the start of the tested minor has to be what it was.
    fn sweep_without_damage(&mut self, number: u32, names: [&str; 4], at: Spot) {
        let start = self.at(0);
        let before = self.contents::<DAMAGED>(start);
        self.sweep(number, names, at);
        let result = before.and_then(|before| self.contents_are(start, &before));
        self.check(number, "no_damage_at_the_start", result);
    }

    fn sweep(&mut self, number: u32, names: [&str; 4], at: Spot) {
        let mut contents = if self.settings.write {
            let seed = self.seed();
            let result = self.write_all(at, seed);
            self.check(number, names[0], result);
            [Content::Pattern(seed); SECTORS]
        } else {
            self.skip(number, names[0], &"not to be written");
            match self.contents(at) {
                Ok(contents) => contents,
                Err(fault) => {
                    self.check(number, names[1], Err::<(), _>(fault));
                    return;
                }
            }
        };
        let result = self.contents_are(at, &contents);
        self.check(number, names[1], result);
        let result = (0..=SECTORS - WINDOW).try_for_each(|first| self.window(at, &mut contents, first));
        self.check(number, names[2], result);
        let result = self.contents_are(at, &contents);
        self.check(number, names[3], result);
    }

    /// Reads three sectors, writes them, and reads them again.
    fn window(&mut self, at: Spot, contents: &mut [Content; SECTORS], first: usize) -> Result<(), Fault> {
        let window = &mut contents[first..first + WINDOW];
        let at = at.plus(first as u64 * SECTOR_BYTES);
        self.contents_are(at, window)?;
        if self.settings.write {
            let seed = self.seed();
            self.write_pattern(at, WINDOW, seed, WINDOW)?;
            window.fill(Content::Pattern(seed));
            self.contents_are(at, window)?;
        }
        Ok(())
    }

    /// Writes all of the sectors, each from a piece of its own.
    fn write_all(&mut self, at: Spot, seed: u64) -> Result<(), Fault> {
        self.pieces.fill_pattern(0, SECTORS * SECTOR, seed, at.disk_sector());
        let pieces: [_; SECTORS] = core::array::from_fn(|nth| self.pieces.piece(nth * SECTOR, SECTOR));
        let result = self.move_pieces(Direction::Write, at, &pieces);
        self.wrote(&result, at, SECTORS, seed, SECTORS);
        result
    }

    /// Reads sectors and digests each.
    fn contents<const N: usize>(&mut self, at: Spot) -> Result<[Content; N], Fault> {
        self.read(at, N * SECTOR, N * SECTOR)?;
        Ok(core::array::from_fn(|nth| Content::Digest(self.digest(nth))))
    }

    /// Reads sectors and compares.
    fn contents_are(&mut self, at: Spot, contents: &[Content]) -> Result<(), Fault> {
        let bytes = contents.len() * SECTOR;
        self.read(at, bytes, bytes)?;
        for (nth, content) in contents.iter().enumerate() {
            match *content {
                Content::Pattern(seed) => self.holds_pattern(nth, 1, seed, at.disk_sector() + nth as u64)?,
                Content::Digest(digest) if digest == self.digest(nth) => {}
                Content::Digest(_) => return Err(Fault::Data { at: nth * SECTOR }),
            }
        }
        Ok(())
    }

    /// Digest of a sector that was just read.
    fn digest(&self, nth: usize) -> u64 {
        let mut sector = [0; SECTOR];
        self.flat.read(MARGIN + nth * SECTOR, &mut sector);
        let mut digest = guest_protocol::pattern::Digest::new();
        digest.update(&sector);
        digest.finish()
    }
}

/// Where on a partition the swept sectors lie half before and half behind a place that is counted from what `base` is
/// counted from; `None` if they are not all on the partition.
fn across(place: u64, base: u64, bytes: u64) -> Option<u64> {
    let half = (SECTORS / 2) as u64 * SECTOR_BYTES;
    let position = (place - half).checked_sub(base)?;
    (position + 2 * half <= bytes).then_some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_places_are_found_on_partitions_that_have_them() {
        let half = 4 * 512;
        assert_eq!(across(HIGH, 0, 1 << 40), Some(HIGH - half));
        assert_eq!(across(HIGH, 4096, 1 << 40), Some(HIGH - half - 4096));
        assert_eq!(across(HIGH, HIGH - half, 1 << 20), Some(0));
        assert_eq!(across(HIGH, HIGH - half + 512, 1 << 20), None);
        assert_eq!(across(HIGH, 0, HIGH + half), Some(HIGH - half));
        assert_eq!(across(HIGH, 0, HIGH + half - 1), None);
    }
}
