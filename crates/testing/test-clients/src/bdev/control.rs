//! Control requests.

use minix_abi::bdev::BdevRequest;
use minix_abi::grant::GrantFlags;
use minix_abi::ioctl::{IoctlCode, PartGeom};
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, GrantId, MessageType, Status};
use minix_rt::Ipc;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Session, Trouble};
use crate::buffer::Piece;

/// A control request as it is sent.
pub fn control(minor: Minor, code: IoctlCode, grant: GrantId) -> BdevRequest {
    BdevRequest {
        minor,
        grant,
        user: Endpoint::NONE,
        request: code,
        ..Default::default()
    }
}

impl<I: Ipc> Session<'_, I> {
    /// Sends a control request whose argument goes both ways, as far as the code says so.
    pub fn ioctl<T: FromBytes + IntoBytes + KnownLayout + Immutable>(
        &mut self,
        minor: Minor,
        code: IoctlCode,
        argument: &mut T,
    ) -> Result<Status, Trouble> {
        let mut access = GrantFlags::empty();
        access.set(GrantFlags::READ, code.driver_reads());
        access.set(GrantFlags::WRITE, code.driver_writes());
        let address = core::ptr::from_mut(argument).expose_provenance() as u64;
        // SAFETY: it is borrowed exclusively until the grant is revoked, and every content is a valid `T`.
        let piece = unsafe { Piece::new(address, size_of::<T>() as u64) };
        let grant = self.grant(piece, access)?;
        let result = self.request(MessageType::BDEV_IOCTL, &control(minor, code, grant));
        self.client.revoke(grant);
        result
    }

    /// Where a minor lies, and how the driver answered.
    pub fn partition(&mut self, minor: Minor) -> Result<(Status, PartGeom), Trouble> {
        let mut place = PartGeom::default();
        let status = self.ioctl(minor, IoctlCode::DIOCGETP, &mut place)?;
        Ok((status, place))
    }

    /// Sets where a minor lies, in bytes.
    pub fn set_partition(&mut self, minor: Minor, base: u64, bytes: u64) -> Result<Status, Trouble> {
        self.ioctl(minor, IoctlCode::DIOCSETP, &mut PartGeom::made_up(base, bytes))
    }

    /// How often the drive is open, and how the driver answered.
    pub fn open_count(&mut self, minor: Minor) -> Result<(Status, i32), Trouble> {
        let mut count = -1;
        let status = self.ioctl(minor, IoctlCode::DIOCOPENCT, &mut count)?;
        Ok((status, count))
    }

    /// Has caches written back.
    pub fn flush(&mut self, minor: Minor) -> Result<Status, Trouble> {
        let flush = control(minor, IoctlCode::DIOCFLUSH, GrantId::INVALID);
        self.request(MessageType::BDEV_IOCTL, &flush)
    }
}
