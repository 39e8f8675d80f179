//! What can be done with a disk, whatever its transport, hook and sizes.

use virtio_blk::Limits;

use crate::{Error, Sector, SectorRange};

/// A disk on which each operation ends before the call returns.
///
/// The memory of a transfer can be anywhere and aligned to anything: the device never gets it, so it belongs to the caller again when
/// the call returns, however it returns.
///
/// It is implemented for [`BlockingDisk`](crate::BlockingDisk) and for references to what implements it. `&mut dyn BlockIo` works, too.
pub trait BlockIo {
    /// The limits of the disk: capacity, block size, and which operations there are.
    fn limits(&self) -> &Limits;

    /// Bytes of the disk, without a rest of less than a block.
    fn capacity_bytes(&self) -> u64 {
        self.limits().whole_bytes()
    }

    /// Reads from sector `first` on. Position and length are whole blocks; no bytes are nothing to do.
    ///
    /// # Errors
    ///
    /// See [`Error`]. What is in `memory` then is undefined.
    fn read(&mut self, first: Sector, memory: &mut [u8]) -> Result<(), Error>;

    /// Writes from sector `first` on. Position and length are whole blocks; no bytes are nothing to do.
    ///
    /// A large write is several requests, which the device carries out in any order, so a failed one may have written any part.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn write(&mut self, first: Sector, memory: &[u8]) -> Result<(), Error>;

    /// Reads from byte `offset` of the disk on. [`ByteRange`](crate::ByteRange) is a part of a disk that is read like this.
    ///
    /// # Errors
    ///
    /// See [`Error`]. What is in `memory` then is undefined.
    fn read_bytes(&mut self, offset: u64, memory: &mut [u8]) -> Result<(), Error>;

    /// Writes from byte `offset` of the disk on.
    ///
    /// The first and the last block, if the range does not have all of them, are read, changed and written. So bytes beside the range
    /// are written, too, with the bytes that were there.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn write_bytes(&mut self, offset: u64, memory: &[u8]) -> Result<(), Error>;

    /// Makes every write so far durable. A disk without flush requests has no cache that would need it (`BLK-D-02`), so nothing is to do.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn flush(&mut self) -> Result<(), Error>;

    /// Gives up the content of `range`, which is undefined afterwards (`BLK-D-25`).
    ///
    /// # Errors
    ///
    /// See [`Error`]. [`Limits::discard`] says whether the disk has it.
    fn discard(&mut self, range: SectorRange) -> Result<(), Error>;

    /// Lets `range` read as zeroes, by unmapping it if the device likes and `may_unmap`.
    ///
    /// # Errors
    ///
    /// See [`Error`]. [`Limits::write_zeroes`] says whether the disk has it.
    fn write_zeroes(&mut self, range: SectorRange, may_unmap: bool) -> Result<(), Error>;
}

impl<D: BlockIo + ?Sized> BlockIo for &mut D {
    fn limits(&self) -> &Limits {
        (**self).limits()
    }

    fn read(&mut self, first: Sector, memory: &mut [u8]) -> Result<(), Error> {
        (**self).read(first, memory)
    }

    fn write(&mut self, first: Sector, memory: &[u8]) -> Result<(), Error> {
        (**self).write(first, memory)
    }

    fn read_bytes(&mut self, offset: u64, memory: &mut [u8]) -> Result<(), Error> {
        (**self).read_bytes(offset, memory)
    }

    fn write_bytes(&mut self, offset: u64, memory: &[u8]) -> Result<(), Error> {
        (**self).write_bytes(offset, memory)
    }

    fn flush(&mut self) -> Result<(), Error> {
        (**self).flush()
    }

    fn discard(&mut self, range: SectorRange) -> Result<(), Error> {
        (**self).discard(range)
    }

    fn write_zeroes(&mut self, range: SectorRange, may_unmap: bool) -> Result<(), Error> {
        (**self).write_zeroes(range, may_unmap)
    }
}
