//! Transfers of several pieces of memory.

use minix_abi::bdev::{BdevRequest, MAX_ELEMENTS, VectorElement};
use minix_abi::grant::GrantFlags;
use minix_abi::minor::Minor;
use minix_abi::{GrantId, Status};
use minix_rt::Ipc;
use zerocopy::IntoBytes;

use super::{Direction, Session, Trouble};
use crate::buffer::Piece;

impl<I: Ipc> Session<'_, I> {
    /// Moves several pieces, at most [`MAX_ELEMENTS`].
    pub fn transfer_pieces(
        &mut self,
        direction: Direction,
        minor: Minor,
        position: u64,
        pieces: &[Piece],
    ) -> Result<Status, Trouble> {
        let mut elements = heapless::Vec::<VectorElement, MAX_ELEMENTS>::new();
        let mut grant_all = || {
            for piece in pieces {
                let grant = self.grant(*piece, direction.access())?;
                let element = self.element(grant, piece.bytes());
                elements.push(element).map_err(|_| {
                    self.client.revoke(grant);
                    Trouble::NoRoom
                })?;
            }
            Ok(())
        };
        let granted = grant_all();
        let result = granted.and_then(|()| self.transfer_vector(direction, minor, position, &elements));
        elements.iter().for_each(|element| self.client.revoke(element.grant));
        result
    }

    /// Sends a vector as it is, also one whose elements make no sense. Only the vector itself is granted here.
    pub fn transfer_vector(
        &mut self,
        direction: Direction,
        minor: Minor,
        position: u64,
        elements: &[VectorElement],
    ) -> Result<Status, Trouble> {
        let grant = self.grant_vector(elements)?;
        let request = BdevRequest {
            position,
            minor,
            count: elements.len() as i32,
            grant,
            ..Default::default()
        };
        let result = self.request(direction.vector(), &request);
        self.client.revoke(grant);
        result
    }

    /// Grants a vector for reading. It is not changed until the grant is revoked.
    pub fn grant_vector(&mut self, elements: &[VectorElement]) -> Result<GrantId, Trouble> {
        let address = elements.as_ptr().expose_provenance() as u64;
        // SAFETY: it is granted for reading, and every caller borrows it until the grant is revoked.
        let vector = unsafe { Piece::new(address, size_of_val(elements) as u64) };
        self.grant(vector, GrantFlags::READ)
    }

    /// An element with garbage in its padding, as C clients send them.
    pub fn element(&mut self, grant: GrantId, bytes: u64) -> VectorElement {
        // Never zero: that would be clean.
        element(grant, self.random.next() as u32 | 1, bytes)
    }
}

/// An element with certain padding.
pub fn element(grant: GrantId, padding: u32, bytes: u64) -> VectorElement {
    let mut raw = [0; size_of::<VectorElement>()];
    raw[..4].copy_from_slice(grant.as_bytes());
    raw[4..8].copy_from_slice(&padding.to_le_bytes());
    raw[8..].copy_from_slice(&bytes.to_le_bytes());
    zerocopy::transmute!(raw)
}
