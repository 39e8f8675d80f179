//! Groups G and H: partitions that are set by a control request, and partitions from a table on the disk.

use minix_abi::minor::{Minor, Place};
use minix_abi::partition::{PartitionEntry, SystemId, TABLE_ENTRIES, write_table};
use minix_rt::Ipc;

use super::limits::Twins;
use super::tester::{Form, SECTOR, SECTOR_BYTES, Tester};
use super::verdict::{Expect, Fault};
use crate::bdev::Direction;

/// Sectors of each partition that is set.
const VIRTUAL_SECTORS: usize = 9;
/// Sectors of each partition in the table.
const REAL_SECTORS: usize = 8;
/// Where the first partition starts, in sectors of the tested minor: after the table.
const FIRST: u64 = 1;

impl<I: Ipc> Tester<'_, I> {
    /// Group G.
    pub(crate) fn virtual_partitions(&mut self) {
        self.group('G', "virtual partitions");
        let Some(minors) = self.minors_with_room(31, VIRTUAL_SECTORS) else {
            return;
        };
        if !self.open_both(31, minors) {
            return;
        }
        let twins = Twins {
            minors,
            base: self.place.base + FIRST * SECTOR_BYTES,
            sectors: VIRTUAL_SECTORS,
            real: false,
        };
        if self.set_both(&twins) {
            self.read_limits(&twins);
            if self.settings.write {
                self.write_limits(&twins);
            } else {
                self.skip(37, "write_limits", &"not to be written");
            }
        }
        self.close_both(32, minors);
    }

    /// Group H. The table in the first sector of the tested minor is lost.
    pub(crate) fn real_partitions(&mut self) {
        self.group('H', "real partitions");
        if !self.settings.write {
            return self.skip(41, "real_partitions", &"not to be written");
        }
        let Some(minors) = self.minors_with_room(41, REAL_SECTORS) else {
            return;
        };
        let base = self.place.base + FIRST * SECTOR_BYTES;
        let Ok(first) = u32::try_from(base / SECTOR_BYTES) else {
            return self.skip(41, "real_partitions", &"too far away for a table");
        };

        let result = self.write_first_sector(&[0; SECTOR]);
        self.check(41, "clear_the_table", result);
        if !self.reopen(41) || !self.open_both(41, minors) {
            return;
        }
        self.both(41, ["first_is_empty", "second_is_empty"], |tester, nth| {
            let place = tester.partition(minors[nth])?;
            Fault::number("size", place.bytes, 0)
        });
        self.close_both(41, minors);

        let mut sector = [0; SECTOR];
        write_table(&mut sector, &table(first));
        let result = self.write_first_sector(&sector);
        self.check(42, "write_a_table", result);
        if !self.reopen(42) || !self.open_both(42, minors) {
            return;
        }
        let twins = Twins {
            minors,
            base,
            sectors: REAL_SECTORS,
            real: true,
        };
        // Elsewhere there may be data that has to stay.
        if self.places(42, ["first_place", "second_place"], &twins) {
            self.read_limits(&twins);
            self.write_limits(&twins);
        }
        self.close_both(42, minors);
    }

    /// The minors inside of the tested one, if it has any and is large enough.
    fn minors_with_room(&mut self, number: u32, sectors: usize) -> Option<[Minor; 2]> {
        let minors = minors_inside(self.settings.target.minor);
        if minors.is_none() {
            self.skip(number, "partitions", &"a sub-partition cannot be divided");
        }
        if self.place.bytes < (FIRST + 2 * sectors as u64) * SECTOR_BYTES {
            self.skip(number, "partitions", &"the partition is too small");
            return None;
        }
        minors
    }

    /// Does the same with both minors, by names. Tells whether both checks passed.
    fn both(
        &mut self,
        number: u32,
        names: [&str; 2],
        mut body: impl FnMut(&mut Self, usize) -> Result<(), Fault>,
    ) -> bool {
        let mut all = true;
        for (nth, name) in names.into_iter().enumerate() {
            let result = body(self, nth);
            all &= self.check(number, name, result);
        }
        all
    }

    fn open_both(&mut self, number: u32, minors: [Minor; 2]) -> bool {
        let names = ["open_first", "open_second"];
        self.both(number, names, |tester, nth| tester.open(minors[nth]).map(drop))
    }

    fn close_both(&mut self, number: u32, minors: [Minor; 2]) {
        let names = ["close_first", "close_second"];
        self.both(number, names, |tester, nth| tester.close(minors[nth]).map(drop));
    }

    fn places(&mut self, number: u32, names: [&str; 2], twins: &Twins) -> bool {
        self.both(number, names, |tester, nth| {
            tester.partition_is(twins.minors[nth], twins.base_of(nth), twins.bytes())
        })
    }

    fn set_both(&mut self, twins: &Twins) -> bool {
        let is_set = self.both(32, ["set_first", "set_second"], |tester, nth| {
            let (minor, base) = (twins.minors[nth], twins.base_of(nth));
            let outcome = tester.session.set_partition(minor, base, twins.bytes());
            Expect::OK.judge(outcome).map(drop)
        });
        self.places(32, ["get_first", "get_second"], twins) && is_set
    }

    /// Closes and opens the tested minor, so that nothing is open in between and the table is read again.
    fn reopen(&mut self, number: u32) -> bool {
        let minor = self.settings.target.minor;
        let result = self.close(minor);
        let closed = self.check(number, "close", result);
        let result = self.open(minor);
        self.check(number, "open_again", result) && closed
    }

    fn write_first_sector(&mut self, content: &[u8; SECTOR]) -> Result<(), Fault> {
        let at = self.at(0);
        self.session.client.touched(at.disk_sector(), 1);
        self.memory.write(0, content);
        let outcome = self.send(Direction::Write, Form::Vector, at, core::slice::from_ref(&(0..SECTOR)));
        Expect::bytes(SECTOR).judge(outcome).map(drop)
    }
}

/// Two partitions, one right after the other.
fn table(first: u32) -> [PartitionEntry; TABLE_ENTRIES] {
    let sectors = REAL_SECTORS as u32;
    [
        PartitionEntry::new(SystemId::MINIX, first, sectors),
        PartitionEntry::new(SystemId::MINIX, first.saturating_add(sectors), sectors),
        PartitionEntry::new(SystemId::NONE, 0, 0),
        PartitionEntry::new(SystemId::NONE, 0, 0),
    ]
}

/// The first two minors inside of a minor: partitions of a drive, sub-partitions of a partition.
fn minors_inside(minor: Minor) -> Option<[Minor; 2]> {
    let inside = |nth| match minor.place()? {
        Place::Drive { drive } => Place::Partition { drive, partition: nth }.minor(),
        Place::Partition { drive, partition } => Place::SubPartition {
            drive,
            partition,
            sub: nth,
        }
        .minor(),
        Place::SubPartition { .. } => None,
    };
    Some([inside(0)?, inside(1)?])
}
