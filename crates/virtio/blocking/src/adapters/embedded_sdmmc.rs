//! `BlockDevice` of `embedded-sdmmc`, which takes the device by a shared reference.

use core::cell::RefCell;

use embedded_sdmmc_types::{Block, BlockCount, BlockDevice, BlockIdx};

use crate::{BlockIo, ByteRange, Error};

/// A range of bytes of a disk, used through shared references, of one thread.
///
/// `embedded-sdmmc` knows blocks of 512 bytes, one at a time. Where a block of the disk is larger, a write of one reads the block of the disk
/// first. Of a range of more than 2 TiB it sees the first 4,294,967,295 blocks. A rest of less than a block at the end is left out.
///
/// Several threads share a disk by a [`BlockIo`] of their own that takes a lock for each operation; a `SharedRange` of that is one file
/// system's.
#[derive(Debug)]
pub struct SharedRange<D> {
    range: RefCell<ByteRange<D>>,
}

impl<D> SharedRange<D> {
    /// Shares `range`.
    pub fn new(range: ByteRange<D>) -> Self {
        Self {
            range: RefCell::new(range),
        }
    }

    /// Calls `use_it` with the range. Block numbers of the trait start at its first byte. [`BlockDevice`] has no flush, so it is here that
    /// a file system is made durable: `shared.with(ByteRange::flush)`.
    ///
    /// # Errors
    ///
    /// Those of `use_it`, and [`Error::InUse`].
    pub fn with<R>(&self, use_it: impl FnOnce(&mut ByteRange<D>) -> Result<R, Error>) -> Result<R, Error> {
        let mut range = self.range.try_borrow_mut().map_err(|_| Error::InUse)?;
        use_it(&mut range)
    }

    /// The range back.
    pub fn into_range(self) -> ByteRange<D> {
        self.range.into_inner()
    }
}

impl<D: BlockIo> BlockDevice for SharedRange<D> {
    type Error = Error;

    /// Reads the blocks one after the other.
    fn read(&self, blocks: &mut [Block], first: BlockIdx) -> Result<(), Error> {
        self.with(|range| {
            let mut pairs = offsets(range, first, blocks.len())?.zip(blocks);
            pairs.try_for_each(|(offset, block)| range.read_at(offset, &mut block.contents))
        })
    }

    /// Writes the blocks one after the other, so those before a failed one are written.
    fn write(&self, blocks: &[Block], first: BlockIdx) -> Result<(), Error> {
        self.with(|range| {
            let mut pairs = offsets(range, first, blocks.len())?.zip(blocks);
            pairs.try_for_each(|(offset, block)| range.write_at(offset, &block.contents))
        })
    }

    fn num_blocks(&self) -> Result<BlockCount, Error> {
        self.with(|range| {
            let blocks = range.len() / Block::LEN as u64;
            Ok(BlockCount(u32::try_from(blocks).unwrap_or(u32::MAX)))
        })
    }
}

/// Where in the range each of the blocks starts, in bytes. All of them are in the range, so that nothing is done if one is not.
fn offsets<D: BlockIo>(
    range: &ByteRange<D>,
    first: BlockIdx,
    blocks: usize,
) -> Result<impl Iterator<Item = u64> + use<D>, Error> {
    let end = range.len();
    let start = first.into_bytes();
    let bytes = (blocks as u64).checked_mul(Block::LEN as u64);
    match bytes.and_then(|bytes| start.checked_add(bytes)) {
        Some(after) if after <= end => Ok((start..after).step_by(Block::LEN)),
        _ => Err(Error::OutOfRange { end }),
    }
}
