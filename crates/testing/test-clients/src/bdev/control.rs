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
use crate::client::Client;

impl Session {
    /// Sends a control request without an argument.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn ioctl<I: Ipc>(&mut self, client: &mut Client<I>, minor: Minor, code: IoctlCode) -> Result<Status, Trouble> {
        self.ioctl_granted(client, minor, code, GrantId::INVALID)
    }

    /// Sends a control request whose argument goes both ways, as far as the code says so.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn ioctl_with<I: Ipc, T: FromBytes + IntoBytes + KnownLayout + Immutable>(
        &mut self,
        client: &mut Client<I>,
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
        let grant = self.grant(client, piece, access)?;
        let result = self.ioctl_granted(client, minor, code, grant);
        client.revoke(grant);
        result
    }

    /// Sends a control request with any grant.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn ioctl_granted<I: Ipc>(
        &mut self,
        client: &mut Client<I>,
        minor: Minor,
        code: IoctlCode,
        grant: GrantId,
    ) -> Result<Status, Trouble> {
        let request = BdevRequest {
            minor,
            grant,
            user: Endpoint::NONE,
            request: code,
            ..Default::default()
        };
        self.request(client, MessageType::BDEV_IOCTL, &request)
    }

    /// Where a minor lies, and how the driver answered.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn partition<I: Ipc>(&mut self, client: &mut Client<I>, minor: Minor) -> Result<(Status, PartGeom), Trouble> {
        let mut place = PartGeom::default();
        let status = self.ioctl_with(client, minor, IoctlCode::DIOCGETP, &mut place)?;
        Ok((status, place))
    }

    /// Sets where a minor lies, in bytes.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn set_partition<I: Ipc>(
        &mut self,
        client: &mut Client<I>,
        minor: Minor,
        base: u64,
        bytes: u64,
    ) -> Result<Status, Trouble> {
        let mut place = PartGeom::made_up(base, bytes);
        self.ioctl_with(client, minor, IoctlCode::DIOCSETP, &mut place)
    }

    /// How often the drive is open, and how the driver answered.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn open_count<I: Ipc>(&mut self, client: &mut Client<I>, minor: Minor) -> Result<(Status, i32), Trouble> {
        let mut count = -1;
        let status = self.ioctl_with(client, minor, IoctlCode::DIOCOPENCT, &mut count)?;
        Ok((status, count))
    }

    /// Has the driver write back what it, or the device, holds back.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn flush<I: Ipc>(&mut self, client: &mut Client<I>, minor: Minor) -> Result<Status, Trouble> {
        self.ioctl(client, minor, IoctlCode::DIOCFLUSH)
    }
}
