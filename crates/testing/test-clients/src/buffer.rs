//! Memory that a driver reads and writes.
//!
//! The kernel or a device writes what a request puts there, without the compiler's knowledge. So nothing here hands out a
//! reference: bytes are copied in and out through the raw pointer, whose address the kernel knows. Requests trap between the
//! copies, and the compiler has to assume that a trap changes any memory whose address got out.

use core::ptr::NonNull;

use guest_protocol::SECTOR_BYTES;
use guest_protocol::pattern::{self, Digest};
use minix_abi::{Errno, PAGE_BYTES};
use minix_rt::{Ipc, memory};

/// Memory that can be granted: the program allows others to read and write it at any time.
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
    /// Whenever this or a copy of it is granted, and until no device works on it any more: for reading, the memory is not
    /// written; for writing, the program does not use it, and every content is valid.
    pub const unsafe fn new(address: u64, bytes: u64) -> Self {
        Self { address, bytes }
    }

    pub const fn address(self) -> u64 {
        self.address
    }

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

/// A mapping of this process, cleared when made. It starts at a page and is never unmapped.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    bytes: usize,
}

impl Memory {
    /// Maps at least so many bytes.
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

    /// A part of it. As everywhere here, one that is not inside is a panic.
    pub fn piece(&self, offset: usize, bytes: usize) -> Piece {
        Piece {
            address: self.at(offset, bytes).addr().get() as u64,
            bytes: bytes as u64,
        }
    }

    /// Copies bytes out.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        // SAFETY: the bytes are inside the mapping, which is readable and belongs to `self`; there is no reference to it, so
        // it cannot overlap `into`. Any byte is a valid `u8`.
        unsafe { from.as_ptr().copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) }
    }

    /// Copies bytes in.
    pub fn write(&mut self, offset: usize, from: &[u8]) {
        let to = self.at(offset, from.len());
        // SAFETY: as for reading; the mapping is writable, and `self` is borrowed for writing.
        unsafe { to.as_ptr().copy_from_nonoverlapping(from.as_ptr(), from.len()) }
    }

    /// Fills bytes with a pattern as if they started at the first byte of a sector.
    pub fn fill_pattern(&mut self, offset: usize, bytes: usize, seed: u64, sector: u64) {
        self.fill(offset, bytes, seed, sector.wrapping_mul(SECTOR_BYTES as u64));
    }

    /// Compares bytes with a pattern as if they started at the first byte of a sector. The error is the offset, from the
    /// first byte compared, of the first one that differs.
    pub fn check_pattern(&self, offset: usize, bytes: usize, seed: u64, sector: u64) -> Result<(), usize> {
        let position = sector.wrapping_mul(SECTOR_BYTES as u64);
        self.check(offset, bytes, seed, position).map_err(|at| at - offset)
    }

    /// Fills bytes with noise: a pattern that runs through the whole mapping, so that any part of it can be
    /// [checked](Self::check_noise) by itself.
    pub fn fill_noise(&mut self, offset: usize, bytes: usize, seed: u64) {
        self.fill(offset, bytes, seed, offset as u64);
    }

    /// Whether bytes still hold the noise. The error is the offset, from the start of the mapping, of the first one that does
    /// not.
    pub fn check_noise(&self, offset: usize, bytes: usize, seed: u64) -> Result<(), usize> {
        self.check(offset, bytes, seed, offset as u64)
    }

    /// Takes bytes into a digest.
    pub fn update(&self, digest: &mut Digest, offset: usize, bytes: usize) {
        let mut part = [0; SECTOR_BYTES];
        for at in (0..bytes).step_by(SECTOR_BYTES) {
            let part = &mut part[..SECTOR_BYTES.min(bytes - at)];
            self.read(offset + at, part);
            digest.update(part);
        }
    }

    /// The digest of bytes.
    pub fn digest(&self, offset: usize, bytes: usize) -> u64 {
        let mut digest = Digest::new();
        self.update(&mut digest, offset, bytes);
        digest.finish()
    }

    fn fill(&mut self, offset: usize, bytes: usize, seed: u64, position: u64) {
        each_part(bytes, seed, position, |at, wanted| {
            self.write(offset + at, wanted);
            Ok(())
        })
        .unwrap_or_else(|at: usize| unreachable!("byte {at} was filled"));
    }

    fn check(&self, offset: usize, bytes: usize, seed: u64, position: u64) -> Result<(), usize> {
        each_part(bytes, seed, position, |at, wanted| {
            let mut part = [0; SECTOR_BYTES];
            let part = &mut part[..wanted.len()];
            self.read(offset + at, part);
            let differs = part.iter().zip(wanted).position(|(have, want)| have != want);
            differs.map_or(Ok(()), |byte| Err(offset + at + byte))
        })
    }

    fn at(&self, offset: usize, bytes: usize) -> NonNull<u8> {
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= self.bytes);
        assert!(inside, "{bytes} bytes at {offset} are not inside {} bytes", self.bytes);
        // SAFETY: the sum stays inside the mapping.
        unsafe { self.start.add(offset) }
    }
}

/// Calls `body` for each part of so many bytes of a pattern, from a position in it on; parts end where sectors of the pattern
/// do.
fn each_part(
    bytes: usize,
    seed: u64,
    position: u64,
    mut body: impl FnMut(usize, &[u8]) -> Result<(), usize>,
) -> Result<(), usize> {
    let mut done = 0;
    while done < bytes {
        let position = position.wrapping_add(done as u64);
        let skipped = (position % SECTOR_BYTES as u64) as usize;
        let part = (SECTOR_BYTES - skipped).min(bytes - done);
        let mut sector = [0; SECTOR_BYTES];
        pattern::fill(seed, position / SECTOR_BYTES as u64, &mut sector);
        body(done, &sector[skipped..skipped + part])?;
        done += part;
    }
    Ok(())
}
