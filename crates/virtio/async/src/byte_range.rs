//! A range of bytes of a disk, such as a partition, that is read and written at any byte.

use core::ops::Range;

use virtio_bounce::ByteWindow;

use crate::{AsyncBlockIo, Error};

/// A part of a disk that is read and written at any byte of it, whatever blocks the disk has.
///
/// `D` is a disk, or a reference to one: `ByteRange::whole(&disk)`. So tasks can have ranges of the same disk, or share one.
///
/// A write that does not have all of its first or last block reads that block first and writes it back changed; see
/// [`AsyncBlockIo::write_bytes`]. Two ranges may share a block.
#[derive(Clone, Debug)]
pub struct ByteRange<D> {
    disk: D,
    window: ByteWindow,
}

impl<D: AsyncBlockIo> ByteRange<D> {
    /// All bytes that the disk has now.
    pub fn whole(disk: D) -> Self {
        let window = ByteWindow::whole(disk.capacity_bytes());
        Self { disk, window }
    }

    /// The part of this range that `bytes` of it are.
    ///
    /// # Errors
    ///
    /// The range comes back if it does not have all of these bytes, or if they end before they start.
    pub fn part(self, bytes: Range<u64>) -> Result<Self, Self> {
        match self.window.part(bytes) {
            Some(window) => Ok(Self { window, ..self }),
            None => Err(self),
        }
    }

    /// How many bytes the range has.
    pub fn len(&self) -> u64 {
        self.window.len()
    }

    /// Whether the range has no bytes.
    pub fn is_empty(&self) -> bool {
        self.window.is_empty()
    }

    /// Reads from byte `offset` of the range on.
    ///
    /// # Errors
    ///
    /// See [`Error`]. What is in `memory` then is undefined.
    pub async fn read_at(&self, offset: u64, memory: &mut [u8]) -> Result<(), Error> {
        let offset = self.on_disk(offset, memory.len())?;
        self.disk.read_bytes(offset, memory).await
    }

    /// Writes from byte `offset` of the range on.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn write_at(&self, offset: u64, memory: &[u8]) -> Result<(), Error> {
        let offset = self.on_disk(offset, memory.len())?;
        self.disk.write_bytes(offset, memory).await
    }

    /// Makes every write that has ended durable; see [`AsyncBlockIo::flush`].
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn flush(&self) -> Result<(), Error> {
        self.disk.flush().await
    }

    /// The disk, whole.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The disk back.
    pub fn into_disk(self) -> D {
        self.disk
    }

    /// Where on the disk `len` bytes from byte `offset` of the range on start.
    fn on_disk(&self, offset: u64, len: usize) -> Result<u64, Error> {
        self.window
            .locate(offset, len)
            .ok_or(Error::OutOfRange { end: self.len() })
    }
}
