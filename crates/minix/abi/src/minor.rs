//! Minor numbers: which drive, partition or sub-partition; and device numbers.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Drives of one driver.
pub const DRIVES: u8 = 8;
/// Partitions of a drive, and sub-partitions of a partition.
pub const PARTITIONS: u8 = 4;
/// Device entries of a drive: the whole and its partitions.
pub const DEVICES_PER_DRIVE: u8 = 1 + PARTITIONS;
/// Sub-partitions of a drive.
pub const SUB_PARTITIONS_PER_DRIVE: u8 = PARTITIONS * PARTITIONS;
/// The first minor number of a sub-partition.
pub const FIRST_SUB_PARTITION: i32 = 128;
/// Where the minor numbers of floppy partitions start. Disks do not use them.
pub const FLOPPY_PARTITIONS: i32 = 28 << 2;
/// Major numbers there are.
pub const MAJORS: u32 = 135;
/// Major numbers of the disk controllers c0 to c3.
pub const CONTROLLER_MAJORS: [u32; 4] = [3, 8, 10, 12];

/// A minor number as it comes in requests; any number can.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub struct Minor(pub i32);

impl Minor {
    /// What the number stands for; `None` if for nothing on a disk.
    pub const fn place(self) -> Option<Place> {
        let drives = (DRIVES * DEVICES_PER_DRIVE) as i32;
        let subs = DRIVES as i32 * SUB_PARTITIONS_PER_DRIVE as i32;
        if self.0 >= 0 && self.0 < drives {
            let minor = self.0 as u8;
            let drive = minor / DEVICES_PER_DRIVE;
            return Some(match minor % DEVICES_PER_DRIVE {
                0 => Place::Drive { drive },
                nth => Place::Partition {
                    drive,
                    partition: nth - 1,
                },
            });
        }
        let sub = self.0.wrapping_sub(FIRST_SUB_PARTITION);
        if sub >= 0 && sub < subs {
            let sub = sub as u8;
            return Some(Place::SubPartition {
                drive: sub / SUB_PARTITIONS_PER_DRIVE,
                partition: sub / PARTITIONS % PARTITIONS,
                sub: sub % PARTITIONS,
            });
        }
        None
    }
}

impl fmt::Debug for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Minor({})", self.0)
    }
}

/// What a minor number of a disk stands for. All counts start at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A whole drive.
    Drive {
        /// Number of the drive.
        drive: u8,
    },
    /// A partition.
    Partition {
        /// Number of the drive.
        drive: u8,
        /// Number of the partition on its drive.
        partition: u8,
    },
    /// A sub-partition.
    SubPartition {
        /// Number of the drive.
        drive: u8,
        /// Number of the partition on its drive.
        partition: u8,
        /// Which sub-partition of that one.
        sub: u8,
    },
}

impl Place {
    /// Number of the drive that it is on.
    pub const fn drive(self) -> u8 {
        match self {
            Self::Drive { drive } | Self::Partition { drive, .. } | Self::SubPartition { drive, .. } => drive,
        }
    }

    /// The minor number; `None` if there are not so many drives, partitions or sub-partitions.
    pub const fn minor(self) -> Option<Minor> {
        if self.drive() >= DRIVES {
            return None;
        }
        match self {
            Self::Drive { drive } => Some(Minor((drive * DEVICES_PER_DRIVE) as i32)),
            Self::Partition { drive, partition } if partition < PARTITIONS => {
                Some(Minor((drive * DEVICES_PER_DRIVE + 1 + partition) as i32))
            }
            Self::SubPartition { drive, partition, sub } if partition < PARTITIONS && sub < PARTITIONS => {
                let nth = drive * SUB_PARTITIONS_PER_DRIVE + partition * PARTITIONS + sub;
                Some(Minor(FIRST_SUB_PARTITION + nth as i32))
            }
            _ => None,
        }
    }
}

/// A device number, as in an inode: the major number in bits 8 to 19, the low eight bits of the minor number in bits 0
/// to 7, the rest of it from bit 20 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceNumber(pub u32);

impl DeviceNumber {
    /// From major and minor number; `None` if the one has more than 12 bits or the other more than 20.
    pub const fn new(major: u32, minor: u32) -> Option<Self> {
        if major < 1 << 12 && minor < 1 << 20 {
            Some(Self((minor & !0xFF) << 12 | major << 8 | minor & 0xFF))
        } else {
            None
        }
    }

    /// The major number.
    pub const fn major(self) -> u32 {
        self.0 >> 8 & 0xFFF
    }

    /// The minor number.
    pub const fn minor(self) -> u32 {
        self.0 >> 12 & !0xFF | self.0 & 0xFF
    }
}
