//! `BlockDevice` of `block-device-driver`: blocks of a size that the user chooses.

use aligned::{A1, Aligned};
use block_device_driver::{BlockDevice, blocks_to_slice, blocks_to_slice_mut};

use crate::{AsyncBlockIo, ByteRange, Error};

/// Blocks of any size, as a range is read and written at any byte. Their numbers start at the first byte of the range, and any memory will do.
///
/// Where `SIZE` is less than a block of the disk, a write reads that block first. The trait has no flush: call [`ByteRange::flush`], on a
/// clone of the range if a file system has it.
impl<D: AsyncBlockIo, const SIZE: usize> BlockDevice<SIZE> for ByteRange<D> {
    type Error = Error;
    type Align = A1;

    /// Reads the blocks together.
    async fn read(&mut self, block_address: u32, data: &mut [Aligned<A1, [u8; SIZE]>]) -> Result<(), Error> {
        let offset = u64::from(block_address).saturating_mul(SIZE as u64);
        self.read_at(offset, blocks_to_slice_mut(data)).await
    }

    /// Writes the blocks together.
    async fn write(&mut self, block_address: u32, data: &[Aligned<A1, [u8; SIZE]>]) -> Result<(), Error> {
        let offset = u64::from(block_address).saturating_mul(SIZE as u64);
        self.write_at(offset, blocks_to_slice(data)).await
    }

    /// Bytes of the range.
    async fn size(&mut self) -> Result<u64, Error> {
        Ok(self.len())
    }
}
