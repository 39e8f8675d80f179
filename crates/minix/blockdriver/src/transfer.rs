//! A transfer between grants and the disk: what is left of it, and where in its memory that is.

use minix_abi::kernel_call::MapElement;
use minix_abi::{Errno, GrantId};

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
    /// A part of it that is written lingers in a volatile cache.
    pub(crate) lingers: bool,
    /// The first thing that went wrong.
    pub(crate) error: Option<Errno>,
    /// The device did not do it before a reset.
    pub(crate) blamed: bool,
    /// The disk ends before it does, since it has shrunk. To be cut there once the device has none of it.
    pub(crate) beyond: bool,
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
        lingers: false,
        error: None,
        blamed: false,
        beyond: false,
    };

    /// Bytes the device was not given yet.
    pub(crate) const fn rest(&self) -> u32 {
        self.bytes - self.given
    }

    /// Whether there is something to give to the device.
    pub(crate) const fn is_ready(&self) -> bool {
        self.error.is_none() && !self.beyond && (self.given < self.bytes || matches!(self.durability, Durability::Due))
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
        self.lingers = false;
        self.beyond = false;
        if self.durability != Durability::Given {
            self.durability = Durability::Wanted;
        }
    }
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

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn elements(bytes: &[u64]) -> Vec<MapElement> {
        (1..)
            .zip(bytes)
            .map(|(grant, &bytes)| MapElement::granted(GrantId(grant), bytes))
            .collect()
    }

    #[test]
    fn pieces_are_found_and_progress_is_kept_across_elements() {
        let list = elements(&[512, 1024, 512]);
        let found = |offset, bytes| -> Vec<_> {
            pieces(&list, offset, bytes)
                .map(|piece| (piece.grant.0, piece.offset, piece.bytes))
                .collect()
        };
        assert_eq!(found(0, 2048), [(1, 0, 512), (2, 0, 1024), (3, 0, 512)]);
        assert_eq!(found(512, 512), [(2, 0, 512)]);
        assert_eq!(found(1024, 1024), [(2, 512, 512), (3, 0, 512)]);
        assert_eq!(found(2048, 512), []);

        let mut transfer = Transfer {
            bytes: 2048,
            elements: 3,
            ..Transfer::NONE
        };
        transfer.advance(512, &list);
        assert_eq!((transfer.element, transfer.offset), (1, 0));
        transfer.advance(512, &list);
        assert_eq!((transfer.element, transfer.offset), (1, 512));
        transfer.advance(1024, &list);
        assert_eq!((transfer.element, transfer.rest()), (3, 0));
        transfer.rewind();
        assert_eq!((transfer.element, transfer.offset, transfer.rest()), (0, 0, 2048));
    }
}
