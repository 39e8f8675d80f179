//! Group K: a few sectors are written and read in all ways they can overlap, in places where numbers get longer.

use minix_rt::Ipc;

use super::tester::{Content, Form, MARGIN, SECTOR, SECTOR_BYTES, Spot, Tester};
use super::verdict::Fault;

/// Sectors that are swept.
const SECTORS: usize = 8;
/// Sectors of a window.
const WINDOW: usize = 3;
/// A position whose number needs more than 32 bits.
const HIGH: u64 = 1 << 32;
/// Sectors at the start that a driver with shorter numbers would damage.
const DAMAGED: usize = 3;

impl<I: Ipc> Tester<'_, I> {
    /// The whole group.
    pub(crate) fn sweeps(&mut self) {
        self.group('K', "sweeps");
        self.sweep(47, "", self.at(SECTOR_BYTES));
        match self.across(HIGH, self.place.base) {
            Some(at) => self.sweep_without_damage(48, "disk_4g_", at),
            None => self.skip(48, "disk_4g", &"the partition is elsewhere"),
        }
        match self.across(HIGH, 0) {
            _ if self.place.base == 0 => self.skip(49, "partition_4g", &"the partition starts with the disk"),
            Some(at) => self.sweep_without_damage(49, "partition_4g_", at),
            None => self.skip(49, "partition_4g", &"the partition is too small"),
        }
        for (bits, name, prefix) in [(24, "lba_2_24", "lba_2_24_"), (28, "lba_2_28", "lba_2_28_")] {
            match self.across(SECTOR_BYTES << bits, self.place.base) {
                Some(at) => self.sweep(50, prefix, at),
                None => self.skip(50, name, &"the partition is elsewhere"),
            }
        }
    }

    /// A sweep that must not change the start of the tested minor.
    fn sweep_without_damage(&mut self, number: u32, prefix: &str, at: Spot) {
        let start = self.at(0);
        let before = self.contents::<DAMAGED>(start);
        self.sweep(number, prefix, at);
        let result = before.and_then(|before| self.read_contents(start, &before));
        self.check(number, "no_damage_at_the_start", result);
    }

    fn sweep(&mut self, number: u32, prefix: &str, at: Spot) {
        let name = |what: &str| {
            // Names are short enough.
            let mut name = heapless::String::<32>::new();
            let _ = core::fmt::write(&mut name, format_args!("{prefix}{what}"));
            name
        };
        let contents = if self.settings.write {
            let seed = self.seed();
            let pieces: [_; SECTORS] = core::array::from_fn(|nth| {
                let start = MARGIN + nth * SECTOR;
                start..start + SECTOR
            });
            let result = self.write_from(Form::Vector, at, &pieces, seed, SECTORS);
            self.check(number, &name("write"), result);
            Ok([Content::Pattern(seed); SECTORS])
        } else {
            self.skip(number, &name("write"), &"not to be written");
            self.contents(at)
        };
        let mut contents = match contents {
            Ok(contents) => contents,
            Err(fault) => {
                self.check(number, &name("read"), Err::<(), _>(fault));
                return;
            }
        };
        let result = self.read_contents(at, &contents);
        self.check(number, &name("read"), result);
        let result = (0..=SECTORS - WINDOW).try_for_each(|first| {
            let window = &mut contents[first..first + WINDOW];
            self.window(at.plus(first as u64 * SECTOR_BYTES), window)
        });
        self.check(number, &name("windows"), result);
        let result = self.read_contents(at, &contents);
        self.check(number, &name("read_again"), result);
    }

    /// Reads three sectors, writes them, and reads them again.
    fn window(&mut self, at: Spot, window: &mut [Content]) -> Result<(), Fault> {
        self.read_contents(at, window)?;
        if self.settings.write {
            let seed = self.seed();
            self.write(at, WINDOW, seed, WINDOW)?;
            window.fill(Content::Pattern(seed));
            self.read_contents(at, window)?;
        }
        Ok(())
    }

    /// Reads sectors and digests each.
    fn contents<const N: usize>(&mut self, at: Spot) -> Result<[Content; N], Fault> {
        self.read(at, N * SECTOR, N * SECTOR)?;
        Ok(self.digests())
    }

    /// Where on the tested minor the swept sectors lie half before and half beyond a place that is counted from what `base` is
    /// counted from; `None` if they are not all on the minor.
    fn across(&self, place: u64, base: u64) -> Option<Spot> {
        let half = (SECTORS / 2) as u64 * SECTOR_BYTES;
        let position = (place - half).checked_sub(base)?;
        (position + 2 * half <= self.place.bytes).then(|| self.at(position))
    }
}
