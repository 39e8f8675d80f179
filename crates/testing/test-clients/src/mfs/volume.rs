//! Where the blocks come from.

/// A disk or partition that can be read.
pub trait Volume {
    /// Why it cannot be read.
    type Error;

    /// How long it is, in bytes.
    fn bytes(&self) -> u64;

    /// Reads from `position` (in bytes, a multiple of `block`) until `into` is full. Its length is a multiple of `block`
    /// too: one is an ordinary read, more are contiguous blocks of a file which are better asked for together.
    ///
    /// # Errors
    ///
    /// Anything but a full read.
    fn read(&mut self, position: u64, block: usize, into: &mut [u8]) -> Result<(), Self::Error>;
}

/// A file system in memory, for the host.
impl Volume for &[u8] {
    type Error = OutOfBounds;

    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read(&mut self, position: u64, _block: usize, into: &mut [u8]) -> Result<(), OutOfBounds> {
        let first = usize::try_from(position).map_err(|_| OutOfBounds)?;
        let end = first.checked_add(into.len()).ok_or(OutOfBounds)?;
        into.copy_from_slice(self.get(first..end).ok_or(OutOfBounds)?);
        Ok(())
    }
}

/// A read beyond the end of the memory. The reader never asks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds;
