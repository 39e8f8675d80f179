//! Copies: with a grant (`SYS_SAFECOPYFROM`, `SYS_SAFECOPYTO`, `SYS_VSAFECOPY`) and without (`SYS_VIRCOPY`, `SYS_PHYSCOPY`).
//!
//! | status of a copy with a grant | when |
//! |---|---|
//! | [`EINVAL`](crate::Errno::EINVAL) | bad granter, or a negative grant id |
//! | [`EPERM`](crate::Errno::EPERM) | no such grant (any more), not for this caller, without the access, or too short |
//! | [`ELOOP`](crate::Errno::ELOOP) | more than five indirect grants in a row |
//! | [`EDOM`](crate::Errno::EDOM) | zero bytes, or zero elements |
//! | [`EFAULT`](crate::Errno::EFAULT) | a page is not there, and the grant says [`TRY`](crate::grant::GrantFlags::TRY) |
//! | [`ENOTREADY`](crate::Errno::ENOTREADY) | the granter is just being replaced; try again |
//!
//! Pages that are not there are brought in, unless the grant says otherwise; the caller waits meanwhile. The kernel does not look at write
//! protection: it stores into read-only pages too.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Endpoint, GrantId, Pad, Payload};

/// Copies one [`VectorCopy`] may ask for. The kernel does **not** check: more overrun its table.
pub const MAX_COPIES: usize = 64;

/// A copy between a grant and own memory.
///
/// [`SYS_SAFECOPYFROM`](crate::MessageType::SYS_SAFECOPYFROM) reads from the grant,
/// [`SYS_SAFECOPYTO`](crate::MessageType::SYS_SAFECOPYTO) writes to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SafeCopy {
    /// The granter.
    pub granter: Endpoint,
    /// The grant.
    pub grant: GrantId,
    /// Where in the grant, in bytes from its start.
    pub offset: u64,
    /// Where in the memory of the caller.
    pub address: u64,
    /// Length in bytes.
    pub bytes: u64,
}

layout!(SafeCopy, 32 {
    granter: Endpoint = 0,
    grant: GrantId = 4,
    offset: u64 = 8,
    address: u64 = 16,
    bytes: u64 = 24,
});

impl Payload for SafeCopy {}

/// Several copies, done in order; the first failure ends the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VectorCopy {
    /// Address of the [`VectorCopyElement`]s.
    pub vector: u64,
    /// How many there are: 1 to [`MAX_COPIES`].
    pub elements: i32,
    /// Padding.
    pub pad: Pad<4>,
}

layout!(VectorCopy, 16 {
    vector: u64 = 0,
    elements: i32 = 8,
});

impl Payload for VectorCopy {}

/// One copy of a [`VectorCopy`]. Exactly one end is [`SELF`](Endpoint::SELF), the other is the granter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VectorCopyElement {
    /// Where from.
    pub from: Endpoint,
    /// Where to.
    pub to: Endpoint,
    /// The grant.
    pub grant: GrantId,
    /// Padding.
    pub pad: Pad<4>,
    /// Where in the grant, in bytes from its start.
    pub offset: u64,
    /// Where in the memory of the caller.
    pub address: u64,
    /// Length in bytes.
    pub bytes: u64,
}

layout!(VectorCopyElement, 40 {
    from: Endpoint = 0,
    to: Endpoint = 4,
    grant: GrantId = 8,
    offset: u64 = 16,
    address: u64 = 24,
    bytes: u64 = 32,
});

/// A copy without a grant, of virtual or physical addresses. Drivers are not allowed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VirCopy {
    /// Whose memory is read.
    pub from: Endpoint,
    /// Padding.
    pub pad0: Pad<4>,
    /// Where it is read.
    pub from_address: u64,
    /// Whose memory is written.
    pub to: Endpoint,
    /// Padding.
    pub pad1: Pad<4>,
    /// Where it is written.
    pub to_address: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Flags, zero.
    pub flags: i32,
    /// Padding.
    pub pad2: Pad<4>,
}

layout!(VirCopy, 48 {
    from: Endpoint = 0,
    from_address: u64 = 8,
    to: Endpoint = 16,
    to_address: u64 = 24,
    bytes: u64 = 32,
    flags: i32 = 40,
});

impl Payload for VirCopy {}
