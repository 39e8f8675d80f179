//! The minor devices of the disk: where each begins and how long it is.
//!
//! One service has one disk, which is drive 0: minor 0 is the whole of it, 1 to 4 are its partitions, 128 to 143 their
//! sub-partitions. These 21 always exist; a partition that the disk does not have is zero bytes long, which can be opened
//! and reads as nothing. Every other number is no device.

use core::fmt;

use minix_abi::minor::{DEVICES_PER_DRIVE, FIRST_SUB_PARTITION, Minor, PARTITIONS, SUB_PARTITIONS_PER_DRIVE};

/// Devices in the table: the disk, its partitions and their sub-partitions.
pub const DEVICES: usize = (DEVICES_PER_DRIVE + SUB_PARTITIONS_PER_DRIVE) as usize;

/// The minor number of the whole disk.
pub const WHOLE_DISK: Minor = Minor(0);

/// A run of bytes on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Where it starts, in bytes from the start of the disk.
    pub base_bytes: u64,
    /// How long it is, in bytes.
    pub size_bytes: u64,
}

impl Extent {
    /// Nothing, at the start of the disk.
    pub const EMPTY: Self = Self {
        base_bytes: 0,
        size_bytes: 0,
    };

    /// Whether a byte lies in both.
    pub(crate) const fn overlaps(self, other: Self) -> bool {
        let (first, second) = if self.base_bytes <= other.base_bytes {
            (self, other)
        } else {
            (other, self)
        };
        first.size_bytes > 0 && second.size_bytes > 0 && second.base_bytes < first.end_bytes()
    }

    /// The first byte after it. An extent that someone made up can end past the end of numbers; then it is that end.
    pub const fn end_bytes(self) -> u64 {
        self.base_bytes.saturating_add(self.size_bytes)
    }
}

/// No device has this minor number. Clients are told `ENXIO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMinor;

impl fmt::Display for UnknownMinor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no device has this minor number")
    }
}

impl core::error::Error for UnknownMinor {}

/// The extents of all devices, by minor number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceTable {
    extents: [Extent; DEVICES],
    /// A client has said where these are.
    placed: [bool; DEVICES],
    /// Minor 0 is the whole of the disk.
    has_disk: bool,
}

impl DeviceTable {
    /// A table in which every device is empty.
    pub const fn new() -> Self {
        Self {
            extents: [Extent::EMPTY; DEVICES],
            placed: [false; DEVICES],
            has_disk: false,
        }
    }

    /// Starts over for a disk of that many bytes: the whole disk and no partition.
    pub fn reset(&mut self, disk_bytes: u64) {
        *self = Self::new();
        self.extents[0].size_bytes = disk_bytes;
        self.has_disk = true;
    }

    /// Where a device lies on a disk that has `disk_bytes` bytes now; `None` if there is no such device.
    ///
    /// The whole disk is as large as the disk is now. Partitions keep the size of their table, cut at the end of the disk.
    /// What a client has [set](Self::set) is told as it was set.
    pub fn on_disk(&self, minor: Minor, disk_bytes: u64) -> Option<Extent> {
        let index = device_index(minor)?;
        let extent = self.extents[index];
        if self.placed[index] {
            return Some(extent);
        }
        let size_bytes = if index == 0 && self.has_disk {
            disk_bytes
        } else {
            let room = disk_bytes.saturating_sub(extent.base_bytes);
            extent.size_bytes.min(room)
        };
        Some(Extent { size_bytes, ..extent })
    }

    /// Where a device lies; `None` if there is no such device.
    pub fn get(&self, minor: Minor) -> Option<Extent> {
        device_index(minor).map(|index| self.extents[index])
    }

    /// Puts a device somewhere. Nothing is checked: control requests may set what they like, and transfers are held to the
    /// disk when they are made.
    ///
    /// # Errors
    ///
    /// [`UnknownMinor`].
    pub fn set(&mut self, minor: Minor, extent: Extent) -> Result<(), UnknownMinor> {
        let index = device_index(minor).ok_or(UnknownMinor)?;
        self.extents[index] = extent;
        self.placed[index] = true;
        Ok(())
    }

    /// Puts partition `partition`, counted from zero, somewhere. There are four; others are ignored.
    pub(crate) fn set_partition(&mut self, partition: u8, extent: Extent) {
        if partition < PARTITIONS {
            self.extents[1 + usize::from(partition)] = extent;
        }
    }

    /// Puts sub-partition `sub` of partition `partition`, both counted from zero, somewhere. There are four each; others
    /// are ignored.
    pub(crate) fn set_sub_partition(&mut self, partition: u8, sub: u8, extent: Extent) {
        if partition < PARTITIONS && sub < PARTITIONS {
            self.extents[usize::from(DEVICES_PER_DRIVE + partition * PARTITIONS + sub)] = extent;
        }
    }
}

/// Where in an array of all devices this one has its place; `None` if it is none of drive 0.
#[inline]
pub(crate) fn device_index(minor: Minor) -> Option<usize> {
    const SUB_PARTITIONS: u32 = SUB_PARTITIONS_PER_DRIVE as u32;
    const MAIN: u32 = DEVICES_PER_DRIVE as u32;
    let number = minor.0 as u32;
    let sub = number.wrapping_sub(FIRST_SUB_PARTITION as u32);
    match (number, sub) {
        (0..MAIN, _) => Some(number as usize),
        (_, 0..SUB_PARTITIONS) => Some((MAIN + sub) as usize),
        _ => None,
    }
}

/// The device whose place in an array of all devices this is.
pub(crate) const fn minor_at(index: usize) -> Minor {
    let number = index as i32;
    let main = DEVICES_PER_DRIVE as i32;
    Minor(if number < main {
        number
    } else {
        FIRST_SUB_PARTITION + number - main
    })
}

#[cfg(test)]
mod tests {
    use minix_abi::minor::Place;

    use super::*;

    #[test]
    fn the_place_of_a_device_is_that_of_its_minor_number() {
        for minor in (-300..300).chain([i32::MIN, i32::MAX]).map(Minor) {
            let index = match minor.place() {
                Some(Place::Drive { drive: 0 }) => Some(0),
                Some(Place::Partition { drive: 0, partition }) => Some(1 + partition),
                Some(Place::SubPartition {
                    drive: 0,
                    partition,
                    sub,
                }) => Some(DEVICES_PER_DRIVE + partition * PARTITIONS + sub),
                _ => None,
            };
            assert_eq!(device_index(minor), index.map(usize::from), "{minor:?}");
        }
    }

    fn all() -> impl Iterator<Item = Minor> {
        (0..5).chain(128..144).map(Minor)
    }

    #[test]
    fn there_are_21_devices_and_each_has_its_own_place() {
        let mut table = DeviceTable::new();
        assert_eq!(all().count(), DEVICES);
        assert!(all().eq((0..DEVICES).map(minor_at)));
        for minor in all() {
            let base_bytes = minor.0.unsigned_abs().into();
            let extent = Extent {
                base_bytes,
                size_bytes: 1,
            };
            assert_eq!(table.set(minor, extent), Ok(()));
        }
        for minor in all() {
            let base = table.get(minor).map(|extent| extent.base_bytes);
            assert_eq!(base, Some(minor.0.unsigned_abs().into()));
        }
    }

    #[test]
    fn other_minors_are_no_devices() {
        let mut table = DeviceTable::new();
        for minor in [i32::MIN, -1, 5, 6, 39, 40, 112, 127, 144, 255, 256, i32::MAX].map(Minor) {
            assert_eq!(table.get(minor), None, "{minor:?}");
            assert_eq!(table.set(minor, Extent::EMPTY), Err(UnknownMinor), "{minor:?}");
        }
    }

    #[test]
    fn a_reset_leaves_only_the_whole_disk() {
        let mut table = DeviceTable::new();
        for minor in all() {
            let everything = Extent {
                base_bytes: 3,
                size_bytes: 7,
            };
            table.set(minor, everything).unwrap();
        }
        table.reset(4096);
        let disk = Extent {
            base_bytes: 0,
            size_bytes: 4096,
        };
        assert_eq!(table.get(WHOLE_DISK), Some(disk));
        assert!(all().skip(1).all(|minor| table.get(minor) == Some(Extent::EMPTY)));
    }

    #[test]
    fn partitions_and_sub_partitions_are_where_their_minors_say() {
        let extent = Extent {
            base_bytes: 1,
            size_bytes: 2,
        };
        for (partition, sub, minor) in [(0, 0, 128), (0, 3, 131), (1, 0, 132), (3, 3, 143)] {
            let mut table = DeviceTable::new();
            table.set_sub_partition(partition, sub, extent);
            assert_eq!(table.get(Minor(minor)), Some(extent));
        }
        for partition in 0..4 {
            let mut table = DeviceTable::new();
            table.set_partition(partition, extent);
            assert_eq!(table.get(Minor(1 + i32::from(partition))), Some(extent));
        }
        let mut table = DeviceTable::new();
        table.set_partition(4, extent);
        table.set_sub_partition(4, 0, extent);
        table.set_sub_partition(0, 4, extent);
        table.set_sub_partition(u8::MAX, u8::MAX, extent);
        assert_eq!(table, DeviceTable::new());
    }

    #[test]
    fn an_end_past_the_end_of_numbers_is_that_end() {
        let extent = Extent {
            base_bytes: u64::MAX - 1,
            size_bytes: 5,
        };
        assert_eq!(extent.end_bytes(), u64::MAX);
    }
}
