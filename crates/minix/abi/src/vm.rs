//! Requests to VM, the virtual memory server.
//!
//! All are sent by [`SENDREC`](crate::ipc::IpcCall::SENDREC) to [`VM`](crate::Endpoint::VM). The reply's type is the
//! [`Status`](crate::Status), and its body the request's with the results filled in. A call outside of a service's mask
//! gives [`ENOSYS`](crate::Errno::ENOSYS).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Endpoint, MessageType, Pad, Payload};

codes! {
    impl MessageType as VM_CALLS {
        /// Move the end of the heap: [`Brk`].
        VM_BRK = 0xC02,
        /// Map memory: [`Mmap`].
        VM_MMAP = 0xC0A,
        /// Map a physical range: [`MapPhys`].
        VM_MAP_PHYS = 0xC0F,
        /// Remove the mapping of a physical range: [`UnmapPhys`].
        VM_UNMAP_PHYS = 0xC10,
        /// Remove a mapping: [`Mmap`] with address and length.
        VM_MUNMAP = 0xC11,
        /// Find a physical address. Not among the calls that every service has.
        VM_GETPHYS = 0xC23,
        /// Ask about memory: [`VmInfo`].
        VM_INFO = 0xC28,
    }
}

/// Moves the end of the heap. [`ENOMEM`](crate::Errno::ENOMEM) if something is in the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Brk {
    /// The new end.
    pub end: u64,
}

layout!(Brk, 8 {
    end: u64 = 0,
});

impl Payload for Brk {}

flags! {
    /// The allowed accesses to a mapping. Anonymous memory heeds a missing `WRITE` or `EXEC`.
    pub struct Protection(u32) {
        /// Reading.
        READ = 1,
        /// Writing.
        WRITE = 2,
        /// Execution.
        EXEC = 4,
    }
}

flags! {
    /// The kind of mapping.
    pub struct MapFlags(u32) {
        /// Seen by all who map it.
        SHARED = 1,
        /// Seen by the caller alone.
        PRIVATE = 2,
        /// Exactly at the address.
        FIXED = 0x10,
        /// Memory, not a file. It is cleared.
        ANON = 0x1000,
        /// Memory need not be cleared. Heeded for RS and VFS only.
        UNINITIALIZED = 0x4_0000,
        /// Allocate at once, not on first use.
        PREALLOC = 0x8_0000,
        /// Physically contiguous. Needs [`PREALLOC`](Self::PREALLOC).
        CONTIG = 0x10_0000,
        /// In the lowest 16 MiB of memory.
        LOWER16M = 0x20_0000,
        /// In the lowest MiB of memory.
        LOWER1M = 0x40_0000,
        /// For another process.
        THIRDPARTY = 0x80_0000,
        /// Physically aligned to 64 KiB.
        ALIGNMENT_64KB = 0x1000_0000,
    }
}

/// Maps memory; the same structure removes a mapping.
///
/// | status | when |
/// |---|---|
/// | [`EINVAL`](crate::Errno::EINVAL) | zero bytes, anonymous memory with a file, or contiguous without preallocation |
/// | [`ENOMEM`](crate::Errno::ENOMEM) | no memory |
/// | [`EFAULT`](crate::Errno::EFAULT) | removing at an address that is not a multiple of the page |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Mmap {
    /// Where in the file.
    pub offset: i64,
    /// Where it should be, or zero.
    pub address: u64,
    /// How many bytes; rounded up to pages.
    pub bytes: u64,
    /// The allowed accesses.
    pub protection: Protection,
    /// The kind of mapping.
    pub flags: MapFlags,
    /// The file; -1 for none.
    pub file: i32,
    /// The process to map for, with [`THIRDPARTY`](MapFlags::THIRDPARTY).
    pub for_whom: Endpoint,
    /// Reply: where it is.
    pub mapped_at: u64,
}

layout!(Mmap, 48 {
    offset: i64 = 0,
    address: u64 = 8,
    bytes: u64 = 16,
    protection: Protection = 24,
    flags: MapFlags = 28,
    file: i32 = 32,
    for_whom: Endpoint = 36,
    mapped_at: u64 = 40,
});

impl Payload for Mmap {}

impl Mmap {
    /// Most contiguous memory to ask for at once. A larger request that fails can bring the kernel down.
    pub const MAX_CONTIGUOUS_BYTES: u64 = 1 << 20;

    /// Asks for cleared memory that is readable and writable.
    pub const fn anonymous(bytes: u64) -> Self {
        Self::memory(bytes, MapFlags::ANON)
    }

    /// Asks for cleared, physically contiguous memory, as a device needs it.
    /// [`SYS_UMAP`](MessageType::SYS_UMAP) tells where it is. At most
    /// [`MAX_CONTIGUOUS_BYTES`](Self::MAX_CONTIGUOUS_BYTES) should be asked for.
    pub const fn contiguous(bytes: u64) -> Self {
        Self::memory(bytes, MapFlags::ANON.union(MapFlags::PREALLOC).union(MapFlags::CONTIG))
    }

    /// Removes a mapping, with [`VM_MUNMAP`](MessageType::VM_MUNMAP). The address has to be a multiple of the page.
    pub const fn unmap(address: u64, bytes: u64) -> Self {
        let mut request = Self::memory(bytes, MapFlags::empty());
        request.address = address;
        request.protection = Protection::empty();
        request
    }

    const fn memory(bytes: u64, flags: MapFlags) -> Self {
        Self {
            offset: 0,
            address: 0,
            bytes,
            protection: Protection::READ.union(Protection::WRITE),
            flags,
            file: -1,
            for_whom: Endpoint::SELF,
            mapped_at: 0,
        }
    }
}

/// Maps a physical range, which [`ADD_MEM`](crate::kernel_call::PrivRequest::ADD_MEM) must have given to the caller before.
///
/// VM rounds to pages and answers with the address of the first byte asked for. The mapping is writable. There are no
/// device attributes on this machine: order comes from fences.
///
/// | status | when |
/// |---|---|
/// | [`EPERM`](crate::Errno::EPERM) | the range is not the caller's |
/// | [`EINVAL`](crate::Errno::EINVAL) | zero bytes |
/// | [`ENOMEM`](crate::Errno::ENOMEM) | no room |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapPhys {
    /// Whose address space; [`SELF`](Endpoint::SELF) for one's own.
    pub process: Endpoint,
    /// Padding.
    pub pad: Pad<4>,
    /// Physical address of the first byte.
    pub physical: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Reply: where it is.
    pub mapped_at: u64,
}

layout!(MapPhys, 32 {
    process: Endpoint = 0,
    physical: u64 = 8,
    bytes: u64 = 16,
    mapped_at: u64 = 24,
});

impl Payload for MapPhys {}

/// Removes the mapping of a physical range, all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnmapPhys {
    /// Whose address space; [`SELF`](Endpoint::SELF) for one's own.
    pub process: Endpoint,
    /// Padding.
    pub pad: Pad<4>,
    /// Where the mapping starts, which has to be a multiple of the page: what [`MapPhys`] answered, without the offset in
    /// the page. Else [`EFAULT`](crate::Errno::EFAULT).
    pub address: u64,
}

layout!(UnmapPhys, 16 {
    process: Endpoint = 0,
    address: u64 = 8,
});

impl Payload for UnmapPhys {}

/// Asks about memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VmInfo {
    /// The kind of information.
    pub what: i32,
    /// The process whose memory it is.
    pub process: Endpoint,
    /// Room for how many answers; in the reply, how many there are.
    pub count: i32,
    /// Padding.
    pub pad: Pad<4>,
    /// Address for the answers.
    pub address: u64,
    /// Address to continue from.
    pub next: u64,
}

layout!(VmInfo, 32 {
    what: i32 = 0,
    process: Endpoint = 4,
    count: i32 = 8,
    address: u64 = 16,
    next: u64 = 24,
});

impl Payload for VmInfo {}
