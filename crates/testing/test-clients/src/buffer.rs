//! Memory that a driver reads and writes.
//!
//! What a request puts there is written by the kernel or by a device, behind the compiler's back. So nothing here hands
//! out a reference: bytes are copied in and out through the raw pointer, whose address the kernel knows. Requests trap
//! between the copies, and the compiler has to take it that a trap changes any memory whose address got out.

use core::ptr::NonNull;

use guest_protocol::{SECTOR_BYTES, pattern};
use minix_abi::{Errno, PAGE_BYTES};
use minix_rt::{Ipc, memory};

/// Memory that can be granted: nothing in the program minds if others read and write it at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    address: u64,
    bytes: u64,
}

impl Piece {
    /// Any memory at all, which need not exist.
    ///
    /// # Safety
    ///
    /// Whenever this or a copy of it is granted, and until no device works on it any more: for reading, nobody writes it;
    /// for writing, the program does not use it, and every content is valid.
    pub const unsafe fn new(address: u64, bytes: u64) -> Self {
        Self { address, bytes }
    }

    /// Virtual address of the first byte.
    pub const fn address(self) -> u64 {
        self.address
    }

    /// How many bytes.
    pub const fn bytes(self) -> u64 {
        self.bytes
    }
}

/// What kind of memory to ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Physically contiguous: a device sees it as one range. At most 1 MiB.
    #[default]
    Contiguous,
    /// Ordinary pages, all of them there from the start, wherever the system had them.
    Scattered,
}

/// A mapping of this process, cleared when made. It starts at a page and is never given back.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    bytes: usize,
}

impl Memory {
    /// Maps memory of at least so many bytes.
    ///
    /// # Errors
    ///
    /// What VM says: [`ENOMEM`](Errno::ENOMEM), [`EINVAL`](Errno::EINVAL) for no bytes or too many contiguous ones.
    pub fn new(ipc: &mut impl Ipc, kind: Kind, bytes: usize) -> Result<Self, Errno> {
        let bytes = bytes.next_multiple_of(PAGE_BYTES as usize);
        let start = match kind {
            Kind::Contiguous => memory::map_contiguous(ipc, bytes)?.start,
            Kind::Scattered => memory::map_anonymous(ipc, bytes)?.cast(),
        };
        // From now on the compiler does not know who else may use it.
        start.as_ptr().expose_provenance();
        Ok(Self { start, bytes })
    }

    /// How many bytes there are.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of it.
    pub fn all(&self) -> Piece {
        self.piece(0, self.bytes)
    }

    /// A part of it.
    ///
    /// # Panics
    ///
    /// If it is not inside.
    pub fn piece(&self, offset: usize, bytes: usize) -> Piece {
        Piece {
            address: self.at(offset, bytes).addr().get() as u64,
            bytes: bytes as u64,
        }
    }

    /// Copies bytes out.
    ///
    /// # Panics
    ///
    /// If they are not inside.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        // SAFETY: the bytes are inside the mapping, which is readable and belongs to `self`; nobody has a reference to it,
        // so it cannot overlap `into`. Any byte is a valid `u8`, whoever wrote it.
        unsafe { from.as_ptr().copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) }
    }

    /// Copies bytes in.
    ///
    /// # Panics
    ///
    /// If they do not go inside.
    pub fn write(&mut self, offset: usize, from: &[u8]) {
        let to = self.at(offset, from.len());
        // SAFETY: as for reading; the mapping is writable, and `self` is borrowed for writing.
        unsafe { to.as_ptr().copy_from_nonoverlapping(from.as_ptr(), from.len()) }
    }

    /// Sets bytes to a value.
    ///
    /// # Panics
    ///
    /// If they are not inside.
    pub fn fill(&mut self, offset: usize, bytes: usize, value: u8) {
        let to = self.at(offset, bytes);
        // SAFETY: as for writing.
        unsafe { to.as_ptr().write_bytes(value, bytes) }
    }

    /// Whether all of the bytes have a value.
    ///
    /// # Panics
    ///
    /// If they are not inside.
    pub fn is_filled(&self, offset: usize, bytes: usize, value: u8) -> bool {
        self.chunks(offset, bytes)
            .all(|(_, chunk)| chunk.iter().all(|byte| *byte == value))
    }

    /// Fills bytes with a pattern as if they started at the first byte of a sector.
    ///
    /// # Panics
    ///
    /// If they are not inside.
    pub fn fill_pattern(&mut self, offset: usize, bytes: usize, seed: u64, sector: u64) {
        let mut chunk = [0; SECTOR_BYTES];
        for (sector, at) in (sector..).zip((0..bytes).step_by(SECTOR_BYTES)) {
            let chunk = &mut chunk[..SECTOR_BYTES.min(bytes - at)];
            pattern::fill(seed, sector, chunk);
            self.write(offset + at, chunk);
        }
    }

    /// Whether bytes hold a pattern as if they started at the first byte of a sector.
    ///
    /// # Errors
    ///
    /// The offset, from the first byte looked at, of the first one that differs.
    ///
    /// # Panics
    ///
    /// If they are not inside.
    pub fn check_pattern(&self, offset: usize, bytes: usize, seed: u64, sector: u64) -> Result<(), usize> {
        for (sector, (at, chunk)) in (sector..).zip(self.chunks(offset, bytes)) {
            pattern::check(seed, sector, &chunk[..]).map_err(|byte| at + byte)?;
        }
        Ok(())
    }

    /// Fills bytes with noise: a pattern that runs through the whole mapping, so that any part of it can be
    /// [checked](Self::check_noise) by itself.
    ///
    /// # Panics
    ///
    /// If they are not inside.
    pub fn fill_noise(&mut self, offset: usize, bytes: usize, seed: u64) {
        for (at, len) in sectors_of(offset, bytes) {
            let noise = noise(seed, at);
            self.write(at, &noise[at % SECTOR_BYTES..][..len]);
        }
    }

    /// Whether bytes still hold the noise.
    ///
    /// # Errors
    ///
    /// The offset, from the start of the mapping, of the first byte that differs.
    ///
    /// # Panics
    ///
    /// If they are not inside.
    pub fn check_noise(&self, offset: usize, bytes: usize, seed: u64) -> Result<(), usize> {
        for (at, len) in sectors_of(offset, bytes) {
            let noise = noise(seed, at);
            let mut chunk = [0; SECTOR_BYTES];
            let chunk = &mut chunk[..len];
            self.read(at, chunk);
            let want = &noise[at % SECTOR_BYTES..];
            if let Some(byte) = chunk.iter().zip(want).position(|(have, want)| have != want) {
                return Err(at + byte);
            }
        }
        Ok(())
    }

    /// Whether bytes of this memory are the same as bytes of another.
    ///
    /// # Errors
    ///
    /// The offset, from the first byte looked at, of the first one that differs.
    ///
    /// # Panics
    ///
    /// If they are not inside.
    pub fn compare(&self, offset: usize, other: &Memory, other_offset: usize, bytes: usize) -> Result<(), usize> {
        let both = self.chunks(offset, bytes).zip(other.chunks(other_offset, bytes));
        for ((at, mine), (_, theirs)) in both {
            if let Some(byte) = mine.iter().zip(theirs.iter()).position(|(mine, theirs)| mine != theirs) {
                return Err(at + byte);
            }
        }
        Ok(())
    }

    /// Copies of the bytes, a sector's length at a time, each with its distance from the first.
    fn chunks(&self, offset: usize, bytes: usize) -> impl Iterator<Item = (usize, Chunk)> {
        (0..bytes).step_by(SECTOR_BYTES).map(move |at| {
            let mut chunk = Chunk {
                bytes: [0; SECTOR_BYTES],
                used: SECTOR_BYTES.min(bytes - at),
            };
            self.read(offset + at, &mut chunk.bytes[..chunk.used]);
            (at, chunk)
        })
    }

    fn at(&self, offset: usize, bytes: usize) -> NonNull<u8> {
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= self.bytes);
        assert!(inside, "{bytes} bytes at {offset} are not inside {} bytes", self.bytes);
        // SAFETY: the sum stays inside the mapping.
        unsafe { self.start.add(offset) }
    }
}

/// A range of the mapping, cut where its sectors end: offset and length of each part.
fn sectors_of(offset: usize, bytes: usize) -> impl Iterator<Item = (usize, usize)> {
    let end = offset + bytes;
    let mut at = offset;
    core::iter::from_fn(move || {
        let part = (at, (SECTOR_BYTES - at % SECTOR_BYTES).min(end - at));
        at += part.1;
        (part.1 > 0).then_some(part)
    })
}

/// The noise of the sector of the mapping that `offset` is in.
fn noise(seed: u64, offset: usize) -> [u8; SECTOR_BYTES] {
    let mut noise = [0; SECTOR_BYTES];
    pattern::fill(seed, (offset / SECTOR_BYTES) as u64, &mut noise);
    noise
}

struct Chunk {
    bytes: [u8; SECTOR_BYTES],
    used: usize,
}

impl core::ops::Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::boxed::Box;
    use std::vec;
    use std::vec::Vec;

    fn memory(bytes: usize) -> Memory {
        let start = Box::leak(vec![0_u8; bytes].into_boxed_slice());
        Memory {
            start: NonNull::from(start).cast(),
            bytes,
        }
    }

    #[test]
    fn noise_is_seen_in_any_part_and_so_is_its_absence() {
        let mut memory = memory(3000);
        memory.fill_noise(5, 2900, 1);
        for (offset, bytes) in [(5, 2900), (6, 1), (511, 2), (512, 512), (2000, 0), (1000, 1905)] {
            assert_eq!(memory.check_noise(offset, bytes, 1), Ok(()));
        }
        let mut byte = [0];
        memory.read(1500, &mut byte);
        memory.write(1500, &[byte[0] ^ 1]);
        assert_eq!(memory.check_noise(5, 2900, 1), Err(1500));
        assert_eq!(memory.check_noise(5, 1495, 1), Ok(()));
        assert_eq!(memory.check_noise(1501, 1404, 1), Ok(()));
        assert!(memory.check_noise(5, 64, 2).is_err());
    }

    #[test]
    fn parts_of_a_range_end_where_sectors_do() {
        let parts: Vec<_> = sectors_of(500, 600).collect();
        assert_eq!(parts, [(500, 12), (512, 512), (1024, 76)]);
        assert_eq!(sectors_of(512, 0).count(), 0);
    }

    #[test]
    fn patterns_work_at_odd_places() {
        let mut memory = memory(2000);
        memory.fill_pattern(3, 1100, 9, 40);
        assert_eq!(memory.check_pattern(3, 1100, 9, 40), Ok(()));
        assert_eq!(memory.check_pattern(3 + 512, 588, 9, 41), Ok(()));
        memory.fill(3 + 600, 1, 0);
        memory.fill(3 + 601, 1, 0);
        assert!(matches!(memory.check_pattern(3, 1100, 9, 40), Err(600 | 601)));
        assert!(memory.is_filled(603, 2, 0));
        assert!(!memory.is_filled(3, 600, 0));
    }

    #[test]
    fn comparing_tells_where_the_difference_is() {
        let (mut one, mut two) = (memory(2000), memory(2000));
        one.fill_pattern(0, 1500, 1, 0);
        two.fill_pattern(7, 1500, 1, 0);
        assert_eq!(one.compare(0, &two, 7, 1500), Ok(()));
        let mut byte = [0];
        one.read(700, &mut byte);
        one.write(700, &[!byte[0]]);
        assert_eq!(one.compare(0, &two, 7, 1500), Err(700));
    }

    #[test]
    #[should_panic(expected = "not inside")]
    fn nothing_outside_is_touched() {
        memory(100).fill(99, 2, 0);
    }
}
