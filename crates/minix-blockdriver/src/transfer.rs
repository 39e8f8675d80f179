//! A transfer between grants and the disk: what it may do, and how far it has come.

use minix_abi::bdev::MAX_ELEMENTS;
use minix_abi::kernel_call::MapElement;
use minix_abi::{Errno, GrantId, Status};

use crate::{DiskInfo, Extent, SECTOR_BYTES};

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the disk.
    Read,
    /// To the disk.
    Write,
}

/// What a write that has to be on the medium still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Nothing: it was not asked for, or the disk has no volatile cache, or it is there.
    Given,
    /// A flush when the data is written.
    Wanted,
    /// The flush, now.
    Due,
    /// The flush, which the device has.
    Flushing,
}

/// A transfer that passed its checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) direction: Direction,
    pub(crate) durability: Durability,
    /// It must not share a device request: one it shared has failed.
    pub(crate) alone: bool,
    /// The next piece of it has to go through staging memory.
    pub(crate) staged: bool,
    /// How often it was given to the device again.
    pub(crate) replays: u8,
    pub(crate) elements: u8,
    /// Device requests that carry it.
    pub(crate) outstanding: u16,
    /// Where it starts on the disk, in bytes.
    pub(crate) first: u64,
    /// All of it, in bytes.
    pub(crate) bytes: u32,
    /// How much of it the device was given.
    pub(crate) given: u32,
    /// The element in which the rest starts.
    pub(crate) element: u8,
    /// Where in that element.
    pub(crate) offset: u32,
    /// The first thing that went wrong.
    pub(crate) error: Option<Errno>,
    /// The device did not do it before a reset.
    pub(crate) blamed: bool,
}

impl Transfer {
    pub(crate) const NONE: Self = Self {
        direction: Direction::Read,
        durability: Durability::Given,
        alone: false,
        staged: false,
        replays: 0,
        elements: 0,
        outstanding: 0,
        first: 0,
        bytes: 0,
        given: 0,
        element: 0,
        offset: 0,
        error: None,
        blamed: false,
    };

    /// Bytes the device was not given yet.
    pub(crate) const fn rest(&self) -> u32 {
        self.bytes - self.given
    }

    /// Whether there is something to give to the device.
    pub(crate) const fn is_ready(&self) -> bool {
        self.error.is_none() && (self.given < self.bytes || matches!(self.durability, Durability::Due))
    }

    /// Where it ends on the disk, in bytes.
    pub(crate) const fn end(&self) -> u64 {
        self.first + self.bytes as u64
    }

    /// Whether one of the two would see whether the other one went first.
    pub(crate) const fn conflicts(&self, other: &Self) -> bool {
        let both_read = matches!(self.direction, Direction::Read) && matches!(other.direction, Direction::Read);
        !both_read && self.first < other.end() && other.first < self.end()
    }

    /// Notes that the device was given `bytes` more. `elements` are all its elements.
    pub(crate) fn advance(&mut self, bytes: u32, elements: &[MapElement]) {
        self.given += bytes;
        let mut left = u64::from(self.offset) + u64::from(bytes);
        while let Some(element) = elements.get(usize::from(self.element)) {
            if left < element.bytes {
                break;
            }
            left -= element.bytes;
            self.element += 1;
        }
        self.offset = left as u32;
    }

    /// Starts over: the device has none of it.
    pub(crate) fn rewind(&mut self) {
        self.given = 0;
        self.element = 0;
        self.offset = 0;
        self.outstanding = 0;
        self.staged = false;
        if self.durability != Durability::Given {
            self.durability = Durability::Wanted;
        }
    }
}

/// What a transfer does on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Where it starts, in bytes.
    pub(crate) first: u64,
    /// How long it is, in bytes: more than none.
    pub(crate) bytes: u32,
    /// How many of the elements are left.
    pub(crate) elements: u8,
}

/// Bytes of the disk that requests can reach: whole blocks.
pub(crate) const fn capacity(disk: &DiskInfo) -> u64 {
    let most = u64::MAX / SECTOR_BYTES;
    let sectors = if disk.sectors < most { disk.sectors } else { most };
    let bytes = sectors * SECTOR_BYTES;
    bytes - bytes % block_bytes(disk)
}

/// Bytes of a block. A disk that claims nonsense gets 512.
pub(crate) const fn block_bytes(disk: &DiskInfo) -> u64 {
    let block = disk.block_bytes as u64;
    if block == 0 || !block.is_multiple_of(SECTOR_BYTES) { SECTOR_BYTES } else { block }
}

/// Checks a transfer and cuts it at the end of its partition, in the order in which clients expect their answers.
///
/// The last of the elements that are left is shortened in place. What a status cannot count is cut as well: a transfer
/// never moves more than the whole blocks in 2^31 - 1 bytes.
///
/// # Errors
///
/// The answer, where there is nothing to be done: an error, or zero bytes at and behind the end.
pub(crate) fn plan(
    position: u64,
    elements: &mut [MapElement],
    disk: &DiskInfo,
    extent: Option<Extent>,
) -> Result<Plan, Status> {
    let capacity = capacity(disk);
    let block = block_bytes(disk);
    if elements.len() > MAX_ELEMENTS {
        return Err(Errno::EINVAL.into());
    }
    if position >= capacity {
        return Err(Status::OK);
    }
    let Some(extent) = extent else {
        return Err(Errno::ENXIO.into());
    };
    // A sum beyond 2^64 keeps its remainder, since blocks divide that; it is caught below.
    if !extent.base_bytes.wrapping_add(position).is_multiple_of(block) {
        return Err(Errno::EINVAL.into());
    }
    let mut total = 0_u64;
    for element in elements.iter() {
        let too_long = element.bytes > i64::MAX as u64;
        if element.bytes == 0 || !element.bytes.is_multiple_of(SECTOR_BYTES) || too_long {
            return Err(Errno::EINVAL.into());
        }
        // Both are below 2^63.
        total += element.bytes;
        if total > i64::MAX as u64 {
            return Err(Errno::EINVAL.into());
        }
    }
    if total == 0 || !total.is_multiple_of(block) {
        return Err(Errno::EINVAL.into());
    }
    let end = extent.end_bytes().min(capacity);
    let first = match extent.base_bytes.checked_add(position) {
        Some(first) if first < end => first,
        _ => return Err(Status::OK),
    };
    let room = total.min(end - first).min(i32::MAX as u64);
    let room = room - room % block;
    if room == 0 {
        return Err(Status::OK);
    }
    let mut left = room;
    for (nth, element) in elements.iter_mut().enumerate() {
        if element.bytes >= left {
            element.bytes = left;
            return Ok(Plan {
                first,
                bytes: room as u32,
                elements: nth as u8 + 1,
            });
        }
        left -= element.bytes;
    }
    // Not reached: the elements are at least as long as what is left of their sum.
    Err(Errno::EINVAL.into())
}

/// A piece of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) grant: GrantId,
    /// Where in the grant.
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
}

/// The pieces of grants that `bytes` from `offset` of the transfer on are made of.
pub(crate) fn pieces(elements: &[MapElement], offset: u32, bytes: usize) -> impl Iterator<Item = Piece> + '_ {
    let mut skip = u64::from(offset);
    let mut left = bytes as u64;
    elements.iter().filter_map(move |element| {
        let start = skip.min(element.bytes);
        skip -= start;
        let bytes = left.min(element.bytes - start);
        left -= bytes;
        (bytes > 0).then_some(Piece {
            grant: element.grant(),
            offset: start,
            bytes: bytes as usize,
        })
    })
}
