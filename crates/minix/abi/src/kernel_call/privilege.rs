//! Privileges: `SYS_PRIVCTL`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Endpoint, Payload};

/// Memory ranges a process can be given. One more is [`ENOMEM`](crate::Errno::ENOMEM).
pub const MAX_MEM_RANGES: usize = 20;

codes! {
    /// What to do with the privileges of a process.
    pub struct PrivRequest(i32) {
        /// Let it run.
        ALLOW = 1,
        /// Let it not run.
        DISALLOW = 2,
        /// Make it a service.
        SET_SYS = 3,
        /// Make it a user process.
        SET_USER = 4,
        /// Give it ports.
        ADD_IO = 5,
        /// Give it physical memory: the argument is a [`MemRange`]. A service may do this for itself.
        ADD_MEM = 6,
        /// Give it an interrupt line: the argument is its number, an `int`.
        ADD_IRQ = 7,
        /// For VM: may it map this range? [`EPERM`](crate::Errno::EPERM) unless one range that was added holds all of it.
        QUERY_MEM = 8,
        /// Replace the privileges of a service.
        UPDATE_SYS = 9,
        /// Let it run, and wait.
        YIELD = 10,
        /// Forget who waits for it.
        CLEAR_IPC_REFS = 11,
    }
}

/// The request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PrivCtl {
    /// The operation.
    pub request: PrivRequest,
    /// Whose privileges; [`SELF`](Endpoint::SELF) for one's own.
    pub process: Endpoint,
    /// Address of the argument, if the request has one.
    pub argument: u64,
    /// [`QUERY_MEM`](PrivRequest::QUERY_MEM): physical address of the first byte.
    pub physical: u64,
    /// [`QUERY_MEM`](PrivRequest::QUERY_MEM): how many bytes.
    pub bytes: u64,
}

layout!(PrivCtl, 32 {
    request: PrivRequest = 0,
    process: Endpoint = 4,
    argument: u64 = 8,
    physical: u64 = 16,
    bytes: u64 = 24,
});

impl Payload for PrivCtl {}

impl PrivCtl {
    /// Adds the [`MemRange`] at `argument` to what the caller may map.
    pub const fn add_own_mem(argument: u64) -> Self {
        Self {
            request: PrivRequest::ADD_MEM,
            process: Endpoint::SELF,
            argument,
            physical: 0,
            bytes: 0,
        }
    }
}

/// The argument of [`ADD_MEM`](PrivRequest::ADD_MEM): physical memory, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemRange {
    /// The first byte.
    pub base: u64,
    /// The last byte, not the one after it.
    pub limit: u64,
}

layout!(MemRange, 16 {
    base: u64 = 0,
    limit: u64 = 8,
});

impl MemRange {
    /// The range of `bytes` bytes from `base` on; `None` if there are none, or the last one is beyond 64 bits.
    pub const fn new(base: u64, bytes: u64) -> Option<Self> {
        let Some(more) = bytes.checked_sub(1) else { return None };
        match base.checked_add(more) {
            Some(limit) => Some(Self { base, limit }),
            None => None,
        }
    }

    /// Whether all of the `bytes` bytes from `physical` on are in the range. No bytes are in no range.
    pub const fn holds(&self, physical: u64, bytes: u64) -> bool {
        match Self::new(physical, bytes) {
            Some(inner) => inner.base >= self.base && inner.limit <= self.limit,
            None => false,
        }
    }
}

flags! {
    /// What kind of process it is, and what the kernel checks.
    pub struct PrivFlags(u32) {
        /// Its privilege structure is not one of the boot image.
        DYN_PRIV_ID = 0x8,
        /// A service.
        SYS_PROC = 0x10,
        /// Ports are checked.
        CHECK_IO_PORT = 0x20,
        /// Interrupt lines are checked.
        CHECK_IRQ = 0x40,
        /// Memory to map is checked.
        CHECK_MEM = 0x80,
        /// RS.
        ROOT_SYS = 0x100,
        /// VM.
        VM_SYS = 0x200,
        /// An instance created for a live update.
        LU_SYS = 0x400,
        /// An instance created for a restart.
        RST_SYS = 0x800,
    }
}
