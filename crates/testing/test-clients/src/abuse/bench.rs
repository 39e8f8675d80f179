//! What the single requests share: memory, a session, and the comparison of an answer with the one that is right.

use core::fmt::Display;

use guest_protocol::SECTOR_BYTES;
use minix_abi::bdev::{BdevRequest, VectorElement};
use minix_abi::grant::GrantFlags;
use minix_abi::minor::Minor;
use minix_abi::{Errno, GrantId, MessageType, PAGE_BYTES, Status};
use minix_rt::Ipc;

use crate::bdev::{Session, Trouble};
use crate::buffer::{Kind, Memory, Piece};
use crate::client::Client;
use crate::report::Outcome;

/// Bytes of a page.
pub(super) const PAGE: usize = PAGE_BYTES as usize;
/// Half a mebibyte: the longest single request.
pub(super) const LONG_BYTES: usize = 512 << 10;
/// What untouched memory holds.
const UNTOUCHED: u8 = 0xA5;
/// How much of the memory is looked at for having been touched.
const WATCHED_BYTES: usize = 64 << 10;

/// Both ways.
pub(super) const BOTH: GrantFlags = GrantFlags::READ.union(GrantFlags::WRITE);

pub(super) struct Bench<'c, I: Ipc> {
    pub(super) client: &'c mut Client<I>,
    pub(super) session: Session,
    pub(super) minor: Minor,
    /// How long the minor is.
    pub(super) bytes: u64,
    /// Where it may be written, in bytes; empty if nowhere.
    pub(super) scratch: core::ops::Range<u64>,
    /// Scattered pages, with room for the longest request at any offset in a page.
    pub(super) data: Memory,
    /// As many.
    pub(super) other: Memory,
}

impl<'c, I: Ipc> Bench<'c, I> {
    pub(super) fn new(
        client: &'c mut Client<I>,
        session: Session,
        minor: Minor,
        bytes: u64,
        scratch: core::ops::Range<u64>,
    ) -> Result<Self, Errno> {
        let memory = |client: &mut Client<I>| Memory::new(&mut client.ipc, Kind::Scattered, LONG_BYTES + 2 * PAGE);
        Ok(Self {
            data: memory(client)?,
            other: memory(client)?,
            client,
            session,
            minor,
            bytes,
            scratch,
        })
    }

    /// Reports whether an answer is the right one.
    pub(super) fn check(&mut self, name: &str, got: Result<Status, Trouble>, wanted: Status) {
        match got {
            Ok(status) if status == wanted => self.pass(name),
            Ok(status) => self.fail(name, &format_args!("{status:?} and not {wanted:?}")),
            Err(trouble) => self.fail(name, &trouble),
        }
    }

    /// Reports a success. There are many of them, so that people are not told of each.
    pub(super) fn pass(&mut self, name: &str) {
        self.client.test(name, Outcome::Pass, &"");
    }

    pub(super) fn fail(&mut self, name: &str, why: &dyn Display) {
        self.client.test(name, Outcome::Fail, why);
    }

    pub(super) fn skip(&mut self, name: &str, why: &dyn Display) {
        self.client.test(name, Outcome::Skip, why);
    }

    /// Sends a request on the tested minor, and reports whether it is answered as it should be, without a byte of memory touched.
    ///
    /// Writes to the beginning go to the beginning of the scratch range instead: the driver might do them after all.
    pub(super) fn refused(&mut self, name: &str, kind: MessageType, request: BdevRequest, wanted: Status) {
        self.data.fill(0, WATCHED_BYTES, UNTOUCHED);
        let is_write = kind == MessageType::BDEV_WRITE || kind == MessageType::BDEV_SCATTER;
        let is_near = is_write && request.position < self.bytes / 2;
        let request = BdevRequest {
            minor: self.minor,
            position: request.position + if is_near { self.scratch.start } else { 0 },
            ..request
        };
        let got = self.session.request(self.client, kind, &request);
        if got == Ok(wanted) && !self.data.is_filled(0, WATCHED_BYTES, UNTOUCHED) {
            self.fail(name, &"answered as it should be, but memory was written");
        } else {
            self.check(name, got, wanted);
        }
    }

    /// The same with a vector, which is granted here.
    pub(super) fn refused_vector(
        &mut self,
        name: &str,
        kind: MessageType,
        position: u64,
        elements: &[VectorElement],
        wanted: Status,
    ) {
        let vector = self.place_vector(elements);
        let grant = self.grant(vector, GrantFlags::READ);
        let request = BdevRequest {
            position,
            count: elements.len() as i32,
            grant,
            ..Default::default()
        };
        self.refused(name, kind, request, wanted);
        self.client.revoke(grant);
    }

    /// Puts a vector where it can be granted: behind the memory that data goes to.
    pub(super) fn place_vector(&mut self, elements: &[VectorElement]) -> Piece {
        let start = LONG_BYTES + PAGE;
        let bytes = zerocopy::IntoBytes::as_bytes(elements);
        self.data.write(start, bytes);
        self.data.piece(start, bytes.len())
    }

    /// A grant to the driver. Without room for it, no grant.
    pub(super) fn grant(&mut self, piece: Piece, access: GrantFlags) -> GrantId {
        self.session
            .grant(self.client, piece, access)
            .unwrap_or(GrantId::INVALID)
    }

    /// An id that was a grant of memory until just now.
    pub(super) fn revoked(&mut self, piece: Piece, access: GrantFlags) -> GrantId {
        let grant = self.grant(piece, access);
        self.client.revoke(grant);
        grant
    }

    /// A page of the memory, as an element of a vector with noise in its padding.
    pub(super) fn page_element(&mut self, page: usize, access: GrantFlags) -> VectorElement {
        let grant = self.grant(self.data.piece(page * PAGE, PAGE), access);
        self.session.element(grant, PAGE as u64)
    }

    /// Whether an ordinary read works: 64 sectors from the start.
    pub(super) fn normal_read(&mut self, name: &str) {
        let bytes = 64 * SECTOR_BYTES;
        let piece = self.other.piece(0, bytes);
        let got = self.session.read(self.client, self.minor, 0, piece);
        self.check(name, got, Status(bytes as i32));
    }
}
