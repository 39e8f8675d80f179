//! Memory, a session, and the check of an answer: the common part of the single requests.

use core::fmt::{self, Display};
use core::ops::Range;

use minix_abi::bdev::{BdevRequest, VectorElement};
use minix_abi::grant::GrantFlags;
use minix_abi::minor::Minor;
use minix_abi::{GrantId, MessageType, PAGE_BYTES, Status};
use minix_rt::Ipc;

use crate::bdev::{Session, Trouble};
use crate::buffer::{Memory, Piece};
use crate::report::Outcome;

/// Bytes of a page.
pub(super) const PAGE: usize = PAGE_BYTES as usize;
/// Where vectors are in the memory: after the data.
const VECTOR_OFFSET: usize = 8 * PAGE;
pub(super) const MEMORY_BYTES: usize = 9 * PAGE;
/// The noise that untouched memory holds.
pub(super) const NOISE: u64 = 0x0a5a_0000_0000;
/// How much of the memory is looked at for having been touched.
const WATCHED_BYTES: usize = 4 * PAGE;

/// Both ways.
pub(super) const BOTH: GrantFlags = GrantFlags::READ.union(GrantFlags::WRITE);

/// The requests for one piece of memory, and for a vector.
pub(super) const SINGLE: [(&str, MessageType); 2] =
    [("read", MessageType::BDEV_READ), ("write", MessageType::BDEV_WRITE)];
pub(super) const VECTOR: [(&str, MessageType); 2] = [
    ("gather", MessageType::BDEV_GATHER),
    ("scatter", MessageType::BDEV_SCATTER),
];

/// A request for so many bytes, or elements, of a grant.
pub(super) fn transfer(count: i32, grant: GrantId) -> BdevRequest {
    BdevRequest {
        count,
        grant,
        ..Default::default()
    }
}

pub(super) struct Bench<'c, I: Ipc> {
    pub(super) session: Session<'c, I>,
    pub(super) minor: Minor,
    /// How long the minor is.
    pub(super) bytes: u64,
    /// Where it may be written, in bytes; empty if nowhere.
    pub(super) scratch: Range<u64>,
    pub(super) data: Memory,
}

impl<I: Ipc> Bench<'_, I> {
    /// Reports whether an answer is the right one.
    pub(super) fn check(&mut self, name: fmt::Arguments<'_>, got: Result<Status, Trouble>, wanted: impl Into<Status>) {
        self.check_more(name, got, wanted, "");
    }

    /// The same, but where the answer is right, `why` tells what else is wrong, if it is not empty.
    pub(super) fn check_more(
        &mut self,
        name: fmt::Arguments<'_>,
        got: Result<Status, Trouble>,
        wanted: impl Into<Status>,
        why: &str,
    ) {
        let wanted = wanted.into();
        match got {
            Ok(status) if status == wanted => self.report(name, Outcome::of(why.is_empty()), &why),
            Ok(status) => self.report(name, Outcome::Fail, &format_args!("{status:?} and not {wanted:?}")),
            Err(trouble) => self.report(name, Outcome::Fail, &trouble),
        }
    }

    pub(super) fn report(&mut self, name: fmt::Arguments<'_>, outcome: Outcome, detail: &dyn Display) {
        let mut text = heapless::String::<64>::new();
        // Names are short enough.
        let _ = fmt::write(&mut text, name);
        self.session.client.test(&text, outcome, detail);
    }

    /// Sends a request on the tested minor, and reports whether it is answered as it should be, without a byte of memory touched.
    ///
    /// Writes to the beginning go to the beginning of the scratch range instead: the driver might do them after all.
    pub(super) fn refused(
        &mut self,
        name: fmt::Arguments<'_>,
        kind: MessageType,
        request: BdevRequest,
        wanted: impl Into<Status>,
    ) {
        self.data.fill_noise(0, WATCHED_BYTES, NOISE);
        let is_write = kind == MessageType::BDEV_WRITE || kind == MessageType::BDEV_SCATTER;
        let is_near = is_write && request.position < self.bytes / 2;
        let request = BdevRequest {
            minor: self.minor,
            position: request.position + if is_near { self.scratch.start } else { 0 },
            ..request
        };
        let got = self.session.request(kind, &request);
        let is_kept = self.data.check_noise(0, WATCHED_BYTES, NOISE).is_ok();
        self.check_more(name, got, wanted, if is_kept { "" } else { "memory was written" });
    }

    /// The same with a vector, which is granted here.
    pub(super) fn refused_vector(
        &mut self,
        name: fmt::Arguments<'_>,
        kind: MessageType,
        position: u64,
        elements: &[VectorElement],
        wanted: impl Into<Status>,
    ) {
        let grant = self.grant_vector(elements);
        let request = BdevRequest {
            position,
            ..transfer(elements.len() as i32, grant)
        };
        self.refused(name, kind, request, wanted);
        self.session.client.revoke(grant);
    }

    /// Grants a vector: at the end of the memory that data goes to.
    pub(super) fn grant_vector(&mut self, elements: &[VectorElement]) -> GrantId {
        let bytes = zerocopy::IntoBytes::as_bytes(elements);
        self.data.write(VECTOR_OFFSET, bytes);
        self.grant(self.data.piece(VECTOR_OFFSET, bytes.len()), GrantFlags::READ)
    }

    /// A grant to the driver. Without room for it, no grant.
    pub(super) fn grant(&mut self, piece: Piece, access: GrantFlags) -> GrantId {
        self.session.grant(piece, access).unwrap_or(GrantId::INVALID)
    }

    /// An id that was a grant of memory until just now.
    pub(super) fn revoked(&mut self, piece: Piece) -> GrantId {
        let grant = self.grant(piece, BOTH);
        self.session.client.revoke(grant);
        grant
    }

    /// A page of the memory, as an element of a vector with noise in its padding.
    pub(super) fn page_element(&mut self, page: usize, access: GrantFlags) -> VectorElement {
        let grant = self.grant(self.data.piece(page * PAGE, PAGE), access);
        self.session.element(grant, PAGE as u64)
    }

    /// Whether an ordinary read works.
    pub(super) fn normal_read(&mut self, when: &str) {
        let got = self.session.read(self.minor, 0, self.data.piece(0, VECTOR_OFFSET));
        self.check(format_args!("normal-read-{when}"), got, Status(VECTOR_OFFSET as i32));
    }
}
