//! `Read`, `Write` and `Seek` of `embedded-io`: a stream of bytes with a position.

use embedded_io::{ErrorType, Read, Seek, SeekFrom, Write};
use virtio_blk::stream::Position;

use crate::{BlockIo, ByteRange, StreamError};

/// A range of bytes of a disk that is read and written at a position, which moves along.
///
/// Nothing is buffered. A read or write of a few bytes is a request for a block, and such a write reads the block first; code that transfers
/// a few bytes at a time is better off with a buffer in front.
#[derive(Debug)]
pub struct ByteCursor<D> {
    range: ByteRange<D>,
    position: Position,
}

impl<D> ByteCursor<D> {
    /// A cursor at the first byte of `range`.
    pub fn new(range: ByteRange<D>) -> Self {
        Self {
            range,
            position: Position::default(),
        }
    }

    /// The position, in bytes. It can be after the end of the range.
    pub fn position(&self) -> u64 {
        self.position.get()
    }

    /// The range.
    pub fn range(&self) -> &ByteRange<D> {
        &self.range
    }

    /// The range, to read and write at other places.
    pub fn range_mut(&mut self) -> &mut ByteRange<D> {
        &mut self.range
    }

    /// The range back.
    pub fn into_range(self) -> ByteRange<D> {
        self.range
    }
}

impl<D> ErrorType for ByteCursor<D> {
    type Error = StreamError;
}

impl<D: BlockIo> Read for ByteCursor<D> {
    /// Fills `memory` if there are as many bytes up to the end of the range. None are the end.
    fn read(&mut self, memory: &mut [u8]) -> Result<usize, StreamError> {
        let count = self.position.readable(self.range.len(), memory.len());
        // A position after the end is none of the range.
        if count > 0 {
            self.range.read_at(self.position.get(), &mut memory[..count])?;
            self.position.advance(count);
        }
        Ok(count)
    }
}

impl<D: BlockIo> Write for ByteCursor<D> {
    /// Writes all of `memory` if there are as many bytes up to the end of the range.
    fn write(&mut self, memory: &[u8]) -> Result<usize, StreamError> {
        let count = self.position.writable(self.range.len(), memory.len())?;
        if count > 0 {
            self.range.write_at(self.position.get(), &memory[..count])?;
            self.position.advance(count);
        }
        Ok(count)
    }

    /// Makes every write so far durable; see [`BlockIo::flush`].
    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(self.range.flush()?)
    }
}

impl<D: BlockIo> Seek for ByteCursor<D> {
    /// Moves the position. It can be after the end: there is nothing to read there, and nothing can be written.
    fn seek(&mut self, to: SeekFrom) -> Result<u64, StreamError> {
        self.position.seek(self.range.len(), to)
    }
}
