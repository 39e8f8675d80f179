//! A transfer between grants and the disk: how far it is, and where in its memory the rest is.

pub(crate) mod bounce_pool;
pub(crate) mod map;
pub(crate) mod plan;
pub(crate) mod together;

use minix_abi::kernel_call::MapElement;
use minix_abi::{Errno, GrantId};

use crate::device::Direction;

/// What a write that has to be on the medium still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Nothing: it was not asked for.
    NotAsked,
    /// A flush when the data is written, if a part of it is in a volatile cache.
    Wanted,
    /// The flush, now.
    Due,
    /// The flush, which the device has.
    Flushing,
}

/// The next step of a transfer while the device has no request of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Its answer is this error.
    Failed(Errno),
    /// It is to be cut at the end of the disk, which has shrunk.
    BeyondEnd,
    /// The device gets the rest of it, or the flush.
    Ready,
    /// It is done, and not to be forced to the medium.
    Done,
    /// It is done and on the medium.
    Forced,
}

/// A transfer that passed its checks.
// In this order, so that all that is zero at the start lies together and is cleared with few stores.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Transfer {
    /// Where it starts on the disk, in bytes.
    pub(crate) first: u64,
    /// All of it, in bytes.
    pub(crate) bytes: u32,
    pub(crate) direction: Direction,
    durability: Durability,
    pub(crate) elements: u8,
    /// How much of it the device was given.
    submitted: u32,
    /// Where the rest starts in its element.
    offset: u32,
    /// The element in which the rest starts.
    element: u8,
    /// How often it was given to the device again.
    replays: u8,
    /// It must not share a device request: one it shared has failed.
    alone: bool,
    /// The next piece of it has to go through a bounce buffer.
    bounce: bool,
    /// A part of it that is written is in a volatile cache.
    cached: bool,
    /// The device did not complete it before a reset.
    suspect: bool,
    /// The disk ends before it does, since it has shrunk. To be cut there once the device has none of it.
    beyond: bool,
    /// Device requests that carry it.
    outstanding: u16,
    /// The first error.
    error: Option<Errno>,
}

impl Transfer {
    pub(crate) const NONE: Self = Self::new(Direction::Read, 0, 0, 0);

    pub(crate) const fn new(direction: Direction, first: u64, bytes: u32, elements: u8) -> Self {
        Self {
            direction,
            durability: Durability::NotAsked,
            alone: false,
            bounce: false,
            replays: 0,
            elements,
            outstanding: 0,
            first,
            bytes,
            submitted: 0,
            element: 0,
            offset: 0,
            cached: false,
            error: None,
            suspect: false,
            beyond: false,
        }
    }

    /// The same, to be on the medium when it is answered.
    pub(crate) const fn forced(self) -> Self {
        Self {
            durability: Durability::Wanted,
            ..self
        }
    }

    /// Bytes the device was not given yet.
    pub(crate) const fn rest(&self) -> u32 {
        self.bytes - self.submitted
    }

    /// Bytes the device was given.
    pub(crate) const fn submitted(&self) -> u32 {
        self.submitted
    }

    /// Whether there is something to give to the device.
    pub(crate) const fn is_ready(&self) -> bool {
        self.error.is_none() && !self.beyond && (self.submitted < self.bytes || self.is_flush_due())
    }

    pub(crate) const fn is_flush_due(&self) -> bool {
        matches!(self.durability, Durability::Due)
    }

    /// Whether the next of it is a flush, or has to go through a bounce buffer.
    #[inline]
    pub(crate) const fn is_special(&self) -> bool {
        self.is_flush_due() || self.bounce
    }

    /// Whether it has to be on the medium before it is answered.
    pub(crate) const fn is_forced(&self) -> bool {
        !matches!(self.durability, Durability::NotAsked)
    }

    /// Whether the next piece of it has to go through a bounce buffer.
    pub(crate) const fn needs_bounce(&self) -> bool {
        self.bounce
    }

    pub(crate) const fn replays(&self) -> u8 {
        self.replays
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

    /// Whether it may share a device request. Nothing has to be said of forced writes: those ahead of one are done when it
    /// starts, and those after it wait.
    pub(crate) const fn may_merge(&self) -> bool {
        !self.alone && !self.bounce
    }

    /// The element in which the rest starts, and where in that element.
    pub(crate) const fn rest_start(&self) -> (usize, u64) {
        (self.element as usize, self.offset as u64)
    }

    /// It must not share a device request any more.
    pub(crate) const fn set_alone(&mut self) {
        self.alone = true;
    }

    /// It ends where the disk does, with that many bytes and elements left.
    pub(crate) const fn cut(&mut self, bytes: u32, elements: u8) {
        self.bytes = bytes;
        self.elements = elements;
    }

    /// The device took all of it, in one request.
    pub(crate) const fn whole_submitted(&mut self) {
        self.submitted = self.bytes;
        self.outstanding = 1;
    }

    /// The device took `bytes` more, in one request. `elements` are all its elements.
    pub(crate) fn piece_submitted(&mut self, bytes: u32, elements: &[MapElement]) {
        self.bounce = false;
        self.outstanding += 1;
        self.submitted += bytes;
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

    /// The device took the flush.
    pub(crate) const fn flush_submitted(&mut self) {
        self.durability = Durability::Flushing;
    }

    /// The next piece goes through a bounce buffer.
    pub(crate) const fn use_bounce(&mut self) {
        self.bounce = true;
    }

    /// A device request for it is over; what was written may be `cached`.
    pub(crate) const fn piece_completed(&mut self, cached: bool) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.cached |= cached;
    }

    /// A part of it has failed. The first error counts; the end of a disk that has shrunk is none.
    pub(crate) fn failed(&mut self, error: Errno, is_beyond: bool) {
        self.beyond |= is_beyond;
        if !is_beyond {
            self.error.get_or_insert(error);
        }
    }

    /// Whether it is [done](Progress::Done) once a device request for it has worked, and was not to be forced to the medium: what
    /// most transfers come to.
    #[inline]
    pub(crate) const fn ends_plainly(&self) -> bool {
        self.outstanding <= 1
            && self.error.is_none()
            && !self.beyond
            && self.submitted == self.bytes
            && matches!(self.durability, Durability::NotAsked)
    }

    /// How it goes on; `None` as long as the device has some of it.
    pub(crate) fn progress(&mut self) -> Option<Progress> {
        if self.outstanding > 0 {
            return None;
        }
        self.suspect = false;
        Some(match self.error {
            Some(error) => Progress::Failed(error),
            None if self.beyond => Progress::BeyondEnd,
            None if self.rest() > 0 => Progress::Ready,
            None if self.durability == Durability::Wanted && self.cached => {
                self.durability = Durability::Due;
                Progress::Ready
            }
            None if self.durability == Durability::Wanted => Progress::Forced,
            None => Progress::Done,
        })
    }

    /// The device is to be reset, and has not completed it.
    pub(crate) const fn suspected(&mut self) {
        self.suspect = true;
    }

    /// The device was reset, and had some of it, or could not be given it. Its error, if it has one; `None` if it was not
    /// affected.
    pub(crate) fn lost(&mut self) -> Option<Option<Errno>> {
        if self.outstanding == 0 && self.durability != Durability::Flushing && !self.suspect {
            return None;
        }
        self.replays = self.replays.saturating_add(core::mem::take(&mut self.suspect).into());
        Some(self.error)
    }

    /// Starts over: the device has none of it.
    pub(crate) fn rewind(&mut self) {
        self.submitted = 0;
        self.element = 0;
        self.offset = 0;
        self.outstanding = 0;
        self.bounce = false;
        self.cached = false;
        self.beyond = false;
        if self.durability != Durability::NotAsked {
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

        let mut transfer = Transfer::new(Direction::Read, 0, 2048, 3);
        transfer.piece_submitted(512, &list);
        assert_eq!((transfer.element, transfer.offset), (1, 0));
        transfer.piece_submitted(512, &list);
        assert_eq!((transfer.element, transfer.offset), (1, 512));
        transfer.piece_submitted(1024, &list);
        assert_eq!((transfer.element, transfer.rest()), (3, 0));
        transfer.rewind();
        assert_eq!((transfer.element, transfer.offset, transfer.rest()), (0, 0, 2048));
    }
}
