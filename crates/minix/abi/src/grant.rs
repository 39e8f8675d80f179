//! Grants: access to a piece of memory, from one process to another.
//!
//! The granter keeps a table of [`GrantEntry`]s and tells the kernel where it is by
//! [`SYS_SETGRANT`](crate::MessageType::SYS_SETGRANT). A process that gets a [`GrantId`] in a message can have the kernel
//! copy to or from the memory, or look up its physical addresses.
//!
//! To publish an entry, everything else is written before the flags, with a store fence in between. To revoke it,
//! the flags are cleared, and then its sequence number is advanced, so that older ids of it become stale.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Endpoint, Pad};

/// Indirect grants that the kernel follows in a row; more are [`ELOOP`](crate::Errno::ELOOP).
pub const MAX_INDIRECTION: usize = 5;

codes! {
    /// The name of a grant: which entry of the granter's table, and its sequence number at the time.
    pub struct GrantId(i32) {
        /// No grant.
        INVALID = -1,
    }
}

impl GrantId {
    /// Entries a table can have.
    pub const MAX_ENTRIES: u32 = 1 << 20;
    /// Sequence numbers there are; they start over at zero.
    pub const SEQUENCES: u32 = 1 << 11;

    /// The id of entry `index` at sequence number `sequence`; `None` if either is too large.
    pub const fn new(index: u32, sequence: u32) -> Option<Self> {
        if index < Self::MAX_ENTRIES && sequence < Self::SEQUENCES {
            Some(Self((sequence << 20 | index) as i32))
        } else {
            None
        }
    }

    /// Whether this can be a grant: negative ids are none.
    pub const fn is_valid(self) -> bool {
        self.0 >= 0
    }

    /// Which entry of the table; `None` for a negative id.
    pub const fn index(self) -> Option<u32> {
        if self.is_valid() {
            Some(self.0 as u32 & (Self::MAX_ENTRIES - 1))
        } else {
            None
        }
    }

    /// The sequence number; `None` for a negative id.
    pub const fn sequence(self) -> Option<u32> {
        if self.is_valid() {
            Some(self.0 as u32 >> 20)
        } else {
            None
        }
    }

    /// The sequence number that comes after `sequence` when an entry is revoked.
    pub const fn next_sequence(sequence: u32) -> u32 {
        sequence.wrapping_add(1) % Self::SEQUENCES
    }
}

flags! {
    /// What a grant allows, and what kind of grant it is.
    pub struct GrantFlags(u32) {
        /// The grantee may read.
        READ = 0x0001,
        /// The grantee may write.
        WRITE = 0x0002,
        /// Pages that are not there are not brought in: the copy fails, and the kernel notes it in the entry.
        TRY = 0x0010,
        /// The entry is taken.
        USED = 0x0100,
        /// Own memory: [`DirectGrant`].
        DIRECT = 0x0200,
        /// A grant of another process, handed on: [`IndirectGrant`].
        INDIRECT = 0x0400,
        /// Memory of another process: [`MagicGrant`]. For VFS alone.
        MAGIC = 0x0800,
        /// The entry can be used.
        VALID = 0x1000,
    }
}

impl GrantFlags {
    /// What an entry needs to be looked at by the kernel.
    pub const LIVE: Self = Self::USED.union(Self::VALID);
}

/// Own memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DirectGrant {
    /// The grantee; possibly [`ANY`](Endpoint::ANY).
    pub grantee: Endpoint,
    /// Padding.
    pub pad: Pad<4>,
    /// Virtual address of the first byte.
    pub start: u64,
    /// Length in bytes.
    pub bytes: u64,
}

layout!(DirectGrant, 24 {
    grantee: Endpoint = 0,
    start: u64 = 8,
    bytes: u64 = 16,
});

/// A grant of another process, handed on. The kernel follows at most [`MAX_INDIRECTION`] of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IndirectGrant {
    /// The grantee; possibly [`ANY`](Endpoint::ANY).
    pub grantee: Endpoint,
    /// Who made the grant that is handed on.
    pub granter: Endpoint,
    /// The grant that is handed on.
    pub grant: GrantId,
    /// Unused in this kind.
    pub pad: Pad<12>,
}

layout!(IndirectGrant, 24 {
    grantee: Endpoint = 0,
    granter: Endpoint = 4,
    grant: GrantId = 8,
});

/// Memory of another process. Only VFS may make such grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MagicGrant {
    /// The process whose memory it is.
    pub owner: Endpoint,
    /// The grantee; possibly [`ANY`](Endpoint::ANY).
    pub grantee: Endpoint,
    /// Virtual address of the first byte.
    pub start: u64,
    /// Length in bytes.
    pub bytes: u64,
}

layout!(MagicGrant, 24 {
    owner: Endpoint = 0,
    grantee: Endpoint = 4,
    start: u64 = 8,
    bytes: u64 = 16,
});

/// What an entry grants, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Own memory.
    Direct(DirectGrant),
    /// A grant of another process.
    Indirect(IndirectGrant),
    /// Memory of another process.
    Magic(MagicGrant),
}

/// An entry of the grant table. All zeroes is a free one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(8))]
pub struct GrantEntry {
    /// Kind and access. To be written last.
    pub flags: GrantFlags,
    /// The sequence number, which an id has to match.
    pub sequence: i32,
    /// What is granted; its meaning depends on the kind, see [`grant`](Self::grant). In the C library's free entries:
    /// the next free one, an `int`.
    pub body: [u8; 24],
    /// Set by the kernel when a copy met a page that was not there and the entry says [`TRY`](GrantFlags::TRY): the id
    /// of the grant.
    pub faulted: GrantId,
    /// Padding.
    pub pad: Pad<4>,
}

layout!(GrantEntry, 40 {
    flags: GrantFlags = 0,
    sequence: i32 = 4,
    body: [u8; 24] = 8,
    faulted: GrantId = 32,
});

impl GrantEntry {
    /// A live entry that grants own memory. Of `access` only [`READ`](GrantFlags::READ),
    /// [`WRITE`](GrantFlags::WRITE) and [`TRY`](GrantFlags::TRY) are taken.
    pub fn direct(sequence: u32, access: GrantFlags, grant: DirectGrant) -> Self {
        Self::live(sequence, access, GrantFlags::DIRECT, zerocopy::transmute!(grant))
    }

    /// A live entry that hands a grant on. `access` as for [`direct`](Self::direct).
    pub fn indirect(sequence: u32, access: GrantFlags, grant: IndirectGrant) -> Self {
        Self::live(sequence, access, GrantFlags::INDIRECT, zerocopy::transmute!(grant))
    }

    /// A live entry that grants memory of another process. `access` as for [`direct`](Self::direct).
    pub fn magic(sequence: u32, access: GrantFlags, grant: MagicGrant) -> Self {
        Self::live(sequence, access, GrantFlags::MAGIC, zerocopy::transmute!(grant))
    }

    fn live(sequence: u32, access: GrantFlags, kind: GrantFlags, body: [u8; 24]) -> Self {
        let access = access & (GrantFlags::READ | GrantFlags::WRITE | GrantFlags::TRY);
        Self {
            flags: GrantFlags::LIVE | kind | access,
            sequence: (sequence % GrantId::SEQUENCES) as i32,
            body,
            faulted: GrantId::default(),
            pad: Pad::ZERO,
        }
    }

    /// What a live entry grants; `None` if it is not live, or not of exactly one kind.
    pub fn grant(&self) -> Option<Grant> {
        if !self.flags.contains(GrantFlags::LIVE) {
            return None;
        }
        let kinds = GrantFlags::DIRECT | GrantFlags::INDIRECT | GrantFlags::MAGIC;
        match self.flags & kinds {
            GrantFlags::DIRECT => Some(Grant::Direct(zerocopy::transmute!(self.body))),
            GrantFlags::INDIRECT => Some(Grant::Indirect(zerocopy::transmute!(self.body))),
            GrantFlags::MAGIC => Some(Grant::Magic(zerocopy::transmute!(self.body))),
            _ => None,
        }
    }
}
