//! Transfers of several pieces of memory.

use minix_abi::bdev::{BdevRequest, MAX_ELEMENTS, VectorElement};
use minix_abi::grant::GrantFlags;
use minix_abi::minor::Minor;
use minix_abi::{GrantId, Status};
use minix_rt::Ipc;
use zerocopy::IntoBytes;

use super::{Direction, Session, Trouble};
use crate::buffer::Piece;
use crate::client::Client;

impl Session {
    /// Moves several pieces, at most [`MAX_ELEMENTS`].
    ///
    /// # Errors
    ///
    /// [`Trouble`]; [`NoRoom`](Trouble::NoRoom) for too many pieces.
    pub fn transfer_pieces<I: Ipc>(
        &mut self,
        client: &mut Client<I>,
        direction: Direction,
        minor: Minor,
        position: u64,
        pieces: &[Piece],
    ) -> Result<Status, Trouble> {
        let mut elements = heapless::Vec::<VectorElement, MAX_ELEMENTS>::new();
        let mut made = Ok(());
        for piece in pieces {
            made = self.grant(client, *piece, direction.access()).and_then(|grant| {
                let element = self.element(grant, piece.bytes());
                elements.push(element).map_err(|_| {
                    client.revoke(grant);
                    Trouble::NoRoom
                })
            });
            if made.is_err() {
                break;
            }
        }
        let result = made.and_then(|()| self.transfer_vector(client, direction, minor, position, &elements));
        for element in &elements {
            client.revoke(element.grant);
        }
        result
    }

    /// Sends a vector as it is, whatever its elements say. Only the vector itself is granted here.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn transfer_vector<I: Ipc>(
        &mut self,
        client: &mut Client<I>,
        direction: Direction,
        minor: Minor,
        position: u64,
        elements: &[VectorElement],
    ) -> Result<Status, Trouble> {
        let address = elements.as_ptr().expose_provenance() as u64;
        // SAFETY: it is granted for reading, and borrowed until the grant is revoked.
        let vector = unsafe { Piece::new(address, size_of_val(elements) as u64) };
        let grant = self.grant(client, vector, GrantFlags::READ)?;
        let result = self.transfer_granted_vector(client, direction, minor, position, grant, elements.len() as i32);
        client.revoke(grant);
        result
    }

    /// Sends a request for a vector whose grant and count are whatever the caller says.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn transfer_granted_vector<I: Ipc>(
        &mut self,
        client: &mut Client<I>,
        direction: Direction,
        minor: Minor,
        position: u64,
        grant: GrantId,
        count: i32,
    ) -> Result<Status, Trouble> {
        let request = BdevRequest {
            position,
            minor,
            count,
            grant,
            ..Default::default()
        };
        self.request(client, direction.vector(), &request)
    }

    /// An element with garbage in its padding, as C clients send them.
    pub fn element(&mut self, grant: GrantId, bytes: u64) -> VectorElement {
        let mut raw = [0; size_of::<VectorElement>()];
        raw[..4].copy_from_slice(grant.as_bytes());
        // Never zero: that would be clean.
        raw[4..8].copy_from_slice(&(self.random.next() as u32 | 1).to_le_bytes());
        raw[8..].copy_from_slice(&bytes.to_le_bytes());
        zerocopy::transmute!(raw)
    }
}
