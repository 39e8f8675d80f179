//! The rules of MINIX partition tables a second time, straight on: it reads where it likes, calls itself, and counts in
//! sectors and wide numbers.

use std::collections::BTreeMap;

/// A disk as the oracle sees it.
#[derive(Clone, Copy)]
pub(crate) struct Disk<'a> {
    /// Sector of the disk to content, if there is such a sector.
    pub(crate) read: &'a dyn Fn(u64) -> Option<[u8; 512]>,
    pub(crate) sectors: u64,
    /// Sectors in a block: tables count blocks.
    pub(crate) block_sectors: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    system: u8,
    first: u128,
    count: u128,
}

/// First sector and number of sectors, by minor number. Devices without an entry are empty.
pub(crate) type Found = BTreeMap<i32, (u128, u128)>;

pub(crate) fn scan(disk: Disk<'_>) -> Found {
    let whole = (0, u128::from(disk.sectors));
    let mut found = Found::from([(0, whole)]);
    let Some(table) = table(disk, 0, whole) else {
        return found;
    };
    for (nth, entry) in (0..).zip(sorted(table)) {
        let place = clip(entry, whole);
        found.insert(1 + nth, place);
        let slots = 128 + 4 * nth;
        if entry.system == 0x81 {
            for (sub, entry) in (0..).zip(self::table(disk, place.0, place).into_iter().flatten()) {
                found.insert(slots + sub, clip(entry, place));
            }
        }
        if entry.system == 5 || entry.system == 15 {
            let logical = chain(disk, place, 0, 32);
            for (slot, place) in (slots..slots + 4).zip(logical) {
                found.insert(slot, place);
            }
        }
    }
    found
}

/// All logical partitions from the table at `link` on, over so many tables.
fn chain(disk: Disk<'_>, extended: (u128, u128), link: u128, tables: u32) -> Vec<(u128, u128)> {
    let at = extended.0 + link;
    let Some(table) = table(disk, at, extended).filter(|_| tables > 0) else {
        return Vec::new();
    };
    let is_link = |entry: &Entry| entry.system == 5 || entry.system == 15;
    let table = sorted(table);
    let partitions = table.iter().filter(|entry| entry.system != 0 && !is_link(entry));
    let mut all: Vec<_> = partitions.map(|entry| (at + entry.first, entry.count)).collect();
    if let Some(next) = table
        .iter()
        .rfind(|&entry| is_link(entry))
        .filter(|entry| entry.first != 0)
    {
        all.extend(chain(disk, extended, next.first, tables - 1));
    }
    all
}

/// The table in a sector, if it and the three after it lie inside the device.
fn table(disk: Disk<'_>, at: u128, device: (u128, u128)) -> Option<[Entry; 4]> {
    if at + 4 > device.0 + device.1 {
        return None;
    }
    let sector = (disk.read)(u64::try_from(at).ok()?)?;
    if sector[510] != 0x55 || sector[511] != 0xAA {
        return None;
    }
    let number = |at: usize| (0..4).fold(0, |sum, byte| sum + (u128::from(sector[at + byte]) << (8 * byte)));
    Some([446, 462, 478, 494].map(|at| Entry {
        system: sector[at + 4],
        first: number(at + 8) * u128::from(disk.block_sectors),
        count: number(at + 12) * u128::from(disk.block_sectors),
    }))
}

/// Used entries by first sector, those with the same in the order they had. After them the unused ones: each of the four
/// passes of the sort takes the first of them to the end.
fn sorted(table: [Entry; 4]) -> Vec<Entry> {
    let (mut used, mut unused): (Vec<_>, Vec<_>) = table.into_iter().partition(|entry| entry.system != 0);
    used.sort_by_key(|entry| entry.first);
    let unused_count = unused.len().max(1);
    unused.rotate_left(4 % unused_count);
    used.extend(unused);
    used
}

fn clip(entry: Entry, device: (u128, u128)) -> (u128, u128) {
    let limit = device.0 + device.1;
    let end = (entry.first + entry.count).min(limit);
    let first = if entry.first < device.0 { device.0 } else { entry.first };
    (first, end.max(first) - first)
}
