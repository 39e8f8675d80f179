//! `ReadStorage` and `Storage` of `embedded-storage`: bytes at an offset of 32 bits.
//!
//! `NorFlash` of the same crate is not here: it is for memory that is erased in sectors before bits of it can be cleared, and a disk has
//! neither. Code that takes a `NorFlash` counts on what an erased byte reads as, which a discarded block of a disk does not promise.

use embedded_storage::{ReadStorage, Storage};

use crate::{BlockIo, ByteRange, Error};

/// The first bytes of a range, as many as offsets of 32 bits name. [`capacity`](ReadStorage::capacity) is no more than 4 GiB less one block,
/// so that it is an offset, too, and whole blocks if the range is. What is after that is reached through a [part](ByteRange::part).
impl<D: BlockIo> ReadStorage for ByteRange<D> {
    type Error = Error;

    /// Reads from byte `offset` of the range on.
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        within(self, offset, bytes.len())?;
        self.read_at(offset.into(), bytes)
    }

    fn capacity(&self) -> usize {
        // It fits a `usize` of 32 bits.
        reachable(self) as usize
    }
}

impl<D: BlockIo> Storage for ByteRange<D> {
    /// Writes from byte `offset` of the range on; see [`ByteRange::write_at`]. The trait has no flush: call [`ByteRange::flush`].
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        within(self, offset, bytes.len())?;
        self.write_at(offset.into(), bytes)
    }
}

/// How many bytes of the range there are for this trait.
fn reachable<D: BlockIo>(range: &ByteRange<D>) -> u64 {
    let block = u64::from(range.disk().limits().block_bytes);
    let most = u64::from(u32::MAX) + 1 - block;
    range.len().min(most)
}

/// Whether these bytes are among them. The trait asks for an error if not.
fn within<D: BlockIo>(range: &ByteRange<D>, offset: u32, len: usize) -> Result<(), Error> {
    let end = reachable(range);
    match u64::from(offset).checked_add(len as u64) {
        Some(after) if after <= end => Ok(()),
        _ => Err(Error::OutOfRange { end }),
    }
}
