//! Physical addresses: `SYS_UMAP`, `SYS_UMAP_REMOTE`, `SYS_VUMAP`.
//!
//! Nothing is pinned by any of these: an address is good as long as its owner keeps the memory mapped.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Endpoint, GrantId, Pad, Payload};

/// Elements and ranges one [`Vumap`] handles; the kernel silently takes larger counts for this one.
pub const MAX_RANGES: usize = 64;

codes! {
    /// What the address of a [`Umap`] is.
    pub struct Segment(i32) {
        /// A virtual address.
        VIRTUAL = 0x1001,
        /// The id of a grant.
        GRANT = 0x1003,
    }
}

/// Asks for the physical address of a range, all of which has to be present and physically contiguous.
///
/// | status | when |
/// |---|---|
/// | [`EPERM`](crate::Errno::EPERM) | `SYS_UMAP` of virtual memory that is not one's own |
/// | [`EFAULT`](crate::Errno::EFAULT) | not present, not contiguous, or a bad grant |
/// | [`EINVAL`](crate::Errno::EINVAL) | bad segment |
///
/// Each failure is also printed on the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Umap {
    /// The process whose memory it is.
    pub owner: Endpoint,
    /// What the address is.
    pub segment: Segment,
    /// A virtual address or a grant id.
    pub address: u64,
    /// `SYS_UMAP_REMOTE`: the process that the grant has to be for.
    pub grantee: Endpoint,
    /// Length in bytes.
    pub bytes: i32,
}

layout!(Umap, 24 {
    owner: Endpoint = 0,
    segment: Segment = 4,
    address: u64 = 8,
    grantee: Endpoint = 16,
    bytes: i32 = 20,
});

impl Payload for Umap {}

impl Umap {
    /// Asks for own memory.
    pub const fn own(address: u64, bytes: i32) -> Self {
        Self {
            owner: Endpoint::SELF,
            segment: Segment::VIRTUAL,
            address,
            grantee: Endpoint::SELF,
            bytes,
        }
    }
}

/// The reply to [`Umap`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UmapReply {
    /// Physical address of the first byte.
    pub physical: u64,
}

layout!(UmapReply, 8 {
    physical: u64 = 0,
});

impl Payload for UmapReply {}

flags! {
    /// What a device is going to do with the memory. The grant has to allow the same.
    pub struct MapAccess(u32) {
        /// It reads, as for a write to a disk. A page that is not there is [`EFAULT`](crate::Errno::EFAULT).
        READ = 1,
        /// It writes, as for a read from a disk. With this one alone, pages that are not there are allocated.
        WRITE = 2,
    }
}

/// Asks for the physical ranges of scattered memory.
///
/// When the output vector is full, mapping **stops without an error**: the caller has to compare the bytes it got with
/// what it asked for, and go on with [`offset`](Self::offset). Ranges that touch are merged.
///
/// | status | when |
/// |---|---|
/// | [`EINVAL`](crate::Errno::EINVAL) | a count below one, or an element not larger than the offset (zero bytes, too) |
/// | as for [copies](crate::kernel_call::SafeCopy) | bad grants |
/// | [`EFAULT`](crate::Errno::EFAULT) | a page to be read is not there, or the page of the input vector is not |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Vumap {
    /// [`SELF`](Endpoint::SELF) for own virtual addresses, else who made the grants.
    pub owner: Endpoint,
    /// Padding.
    pub pad0: Pad<4>,
    /// Address of the input vector of [`MapElement`]s. It is not brought in if it is not there: touch it first.
    pub input: u64,
    /// Elements of the input vector.
    pub input_count: i32,
    /// Padding.
    pub pad1: Pad<4>,
    /// Address of the output vector of [`PhysRange`]s.
    pub output: u64,
    /// Room in the output vector.
    pub output_max: i32,
    /// What a device is going to do with the memory.
    pub access: MapAccess,
    /// Bytes of the first element to skip.
    pub offset: u64,
}

layout!(Vumap, 48 {
    owner: Endpoint = 0,
    input: u64 = 8,
    input_count: i32 = 16,
    output: u64 = 24,
    output_max: i32 = 32,
    access: MapAccess = 36,
    offset: u64 = 40,
});

impl Payload for Vumap {}

/// The reply to [`Vumap`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VumapReply {
    /// Elements of the output vector that were filled in.
    pub filled: i32,
}

layout!(VumapReply, 4 {
    filled: i32 = 0,
});

impl Payload for VumapReply {}

/// An element of the input vector: a virtual address or a grant, and its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapElement {
    /// The virtual address; or, in the lower half, the grant id, and the upper half is padding.
    pub address: u64,
    /// Length in bytes.
    pub bytes: u64,
}

layout!(MapElement, 16 {
    address: u64 = 0,
    bytes: u64 = 8,
});

impl MapElement {
    /// Memory of the caller.
    pub const fn own(address: u64, bytes: u64) -> Self {
        Self { address, bytes }
    }

    /// The memory of a grant, from its start.
    pub const fn granted(grant: GrantId, bytes: u64) -> Self {
        Self {
            address: grant.0 as u32 as u64,
            bytes,
        }
    }

    /// Makes the upper half zero, for an element about a grant.
    // By bytes, or a compiler loads the lower half to store it again.
    #[inline]
    pub fn clear_padding(&mut self) {
        self.address.as_mut_bytes()[size_of::<GrantId>()..].fill(0);
    }

    /// The grant, if the element is about one. The upper half, which may hold anything, is not looked at.
    pub const fn grant(&self) -> GrantId {
        GrantId(self.address as u32 as i32)
    }
}

/// An element of the output vector: contiguous physical memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PhysRange {
    /// Physical address of the first byte.
    pub address: u64,
    /// Length in bytes.
    pub bytes: u64,
}

layout!(PhysRange, 16 {
    address: u64 = 0,
    bytes: u64 = 8,
});

/// Memory that another process has granted and the kernel has answered for: a device may be given it.
///
/// A [`PhysRange`] is two numbers, and anybody can write numbers down. What a driver hands to a device should not be: a device
/// writes where it is told to. So a driver takes a type of this trait, whose values come from the wrapper of
/// [`Vumap`] alone. This trait only looks at them and cuts them. A cut never covers a byte that the range did not cover, so that
/// code without `unsafe` can split transfers, and still cannot make a range from numbers.
pub trait GrantedRange: Copy {
    /// A range without a byte.
    const EMPTY: Self;

    /// Physical address of the first byte, for checks.
    fn address(&self) -> u64;

    /// Length in bytes.
    fn bytes(&self) -> u64;

    /// The first `bytes` bytes, and the rest. A range that is no longer than that is the first part, and the rest has no byte.
    fn split_at(self, bytes: u64) -> (Self, Self);

    /// The first `bytes` bytes, or all of them if there are not so many.
    fn first(self, bytes: u64) -> Self {
        self.split_at(bytes).0
    }
}

/// The part of an output vector that the kernel says it has filled in, cut at the end of the vector.
pub fn filled_ranges(output: &[PhysRange], reply: VumapReply) -> &[PhysRange] {
    let filled = usize::try_from(reply.filled).unwrap_or(0);
    output.get(..filled).unwrap_or(output)
}

/// Bytes in ranges together; `None` if the sum does not fit in 64 bits.
pub fn total_bytes(ranges: &[PhysRange]) -> Option<u64> {
    ranges
        .iter()
        .try_fold(0, |sum: u64, range| sum.checked_add(range.bytes))
}
