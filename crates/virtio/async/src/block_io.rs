//! What can be done with a disk, whatever its transport, lock and sizes.

use virtio_blk::Limits;

use crate::{Error, Sector, SectorRange};

/// A disk that many tasks can use at once.
///
/// The memory of a transfer can be anywhere and aligned to anything: the device never gets it, so it belongs to the caller again when
/// the operation ends or is dropped.
///
/// Operations of different tasks are carried out in any order, and so are the requests of one large operation. Two that touch the same blocks, of
/// which one writes, have no order unless one is awaited before the other begins.
///
/// It is implemented for [`AsyncDisk`](crate::AsyncDisk) and for references to what implements it.
#[expect(
    async_fn_in_trait,
    reason = "whether a future can go to another thread is up to the lock of the disk"
)]
pub trait AsyncBlockIo {
    /// The limits of the disk as they are now: capacity, block size, and which operations there are.
    fn limits(&self) -> Limits;

    /// Bytes of the disk, without a rest of less than a block.
    fn capacity_bytes(&self) -> u64 {
        self.limits().whole_bytes()
    }

    /// Reads from sector `first` on. Position and length are whole blocks; no bytes are nothing to do.
    ///
    /// # Errors
    ///
    /// See [`Error`]. What is in `memory` then is undefined.
    async fn read(&self, first: Sector, memory: &mut [u8]) -> Result<(), Error>;

    /// Writes from sector `first` on. Position and length are whole blocks; no bytes are nothing to do.
    ///
    /// A large write is several requests, which the device carries out in any order, so one that failed or was dropped may have written any
    /// part.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    async fn write(&self, first: Sector, memory: &[u8]) -> Result<(), Error>;

    /// Reads from byte `offset` of the disk on. [`ByteRange`](crate::ByteRange) is a part of a disk that is read like this.
    ///
    /// # Errors
    ///
    /// See [`Error`]. What is in `memory` then is undefined.
    async fn read_bytes(&self, offset: u64, memory: &mut [u8]) -> Result<(), Error>;

    /// Writes from byte `offset` of the disk on.
    ///
    /// The first and the last block, if the range does not have all of them, are read, changed and written. So bytes beside the range
    /// are written, too, with the bytes that were there. Meanwhile other operations of this disk leave the block alone, so a change of
    /// bytes beside these is not undone.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    async fn write_bytes(&self, offset: u64, memory: &[u8]) -> Result<(), Error>;

    /// Makes every write that has ended durable. A disk without flush requests has no cache that would need it (`BLK-D-02`). Writes
    /// that were dropped are waited for, and are durable as well then.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    async fn flush(&self) -> Result<(), Error>;

    /// Gives up the content of `range`, which is undefined afterwards (`BLK-D-25`).
    ///
    /// # Errors
    ///
    /// See [`Error`]. [`Limits::discard`] says whether the disk has it.
    async fn discard(&self, range: SectorRange) -> Result<(), Error>;

    /// Lets `range` read as zeroes, by unmapping it if the device likes and `may_unmap`.
    ///
    /// # Errors
    ///
    /// See [`Error`]. [`Limits::write_zeroes`] says whether the disk has it.
    async fn write_zeroes(&self, range: SectorRange, may_unmap: bool) -> Result<(), Error>;
}

impl<D: AsyncBlockIo + ?Sized> AsyncBlockIo for &D {
    fn limits(&self) -> Limits {
        (**self).limits()
    }

    async fn read(&self, first: Sector, memory: &mut [u8]) -> Result<(), Error> {
        (**self).read(first, memory).await
    }

    async fn write(&self, first: Sector, memory: &[u8]) -> Result<(), Error> {
        (**self).write(first, memory).await
    }

    async fn read_bytes(&self, offset: u64, memory: &mut [u8]) -> Result<(), Error> {
        (**self).read_bytes(offset, memory).await
    }

    async fn write_bytes(&self, offset: u64, memory: &[u8]) -> Result<(), Error> {
        (**self).write_bytes(offset, memory).await
    }

    async fn flush(&self) -> Result<(), Error> {
        (**self).flush().await
    }

    async fn discard(&self, range: SectorRange) -> Result<(), Error> {
        (**self).discard(range).await
    }

    async fn write_zeroes(&self, range: SectorRange, may_unmap: bool) -> Result<(), Error> {
        (**self).write_zeroes(range, may_unmap).await
    }
}
