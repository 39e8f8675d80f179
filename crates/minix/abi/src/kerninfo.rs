//! Structures of the kernel that every process can read in place.
//!
//! [`KERNINFO`](crate::ipc::IpcCall::KERNINFO) tells the address of [`KernInfo`], which holds the addresses of the
//! others. They differ between systems. The first look at them may go through a page fault.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Pad;

flags! {
    /// The parts of [`KernInfo`] that exist.
    pub struct KernInfoFlags(u32) {
        /// Entry points for message passing. Never on this machine: always trap.
        IPCVECS = 1,
        /// [`UserInfo`].
        USERINFO = 2,
    }
}

/// Addresses of the other structures; zero for those that do not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct KernInfo {
    /// [`MAGIC`](Self::MAGIC).
    pub magic: u32,
    /// Features of the system.
    pub features: u32,
    /// The parts that exist.
    pub flags: KernInfoFlags,
    /// Not named here.
    pub pad: Pad<12>,
    /// Address of the kernel's description of itself.
    pub kinfo: u64,
    /// Address of [`Machine`].
    pub machine: u64,
    /// Address of the ring of kernel messages.
    pub kmessages: u64,
    /// Address of the load averages.
    pub loadinfo: u64,
    /// Address of the entry points for message passing. Not set.
    pub ipcvecs: u64,
    /// Address of [`UserInfo`].
    pub userinfo: u64,
    /// Address of the description of a free-running clock.
    pub frclock: u64,
    /// Address of [`ClockInfo`].
    pub clockinfo: u64,
}

layout!(KernInfo, 88 {
    magic: u32 = 0,
    features: u32 = 4,
    flags: KernInfoFlags = 8,
    kinfo: u64 = 24,
    machine: u64 = 32,
    kmessages: u64 = 40,
    loadinfo: u64 = 48,
    ipcvecs: u64 = 56,
    userinfo: u64 = 64,
    frclock: u64 = 72,
    clockinfo: u64 = 80,
});

/// The structure at the address is not [`KernInfo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMagic(pub u32);

impl fmt::Display for BadMagic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kernel information has magic {:#x}, not {:#x}",
            self.0,
            KernInfo::MAGIC
        )
    }
}

impl core::error::Error for BadMagic {}

impl KernInfo {
    /// The first word of the structure.
    pub const MAGIC: u32 = 0xFC3B_84BF;

    /// Whether this is the structure.
    ///
    /// # Errors
    ///
    /// [`BadMagic`] if it starts with something else.
    pub fn check(&self) -> Result<(), BadMagic> {
        if self.magic == Self::MAGIC {
            Ok(())
        } else {
            Err(BadMagic(self.magic))
        }
    }
}

/// The clock. It changes while it is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ClockInfo {
    /// When the system started, in seconds.
    pub boot_time: i64,
    /// Ticks since then.
    pub uptime: u64,
    /// Not named here.
    pub pad0: Pad<8>,
    /// Ticks of the wall clock.
    pub realtime: u64,
    /// Not named here.
    pub pad1: Pad<4>,
    /// Ticks per second.
    pub hz: u32,
}

layout!(ClockInfo, 40 {
    boot_time: i64 = 0,
    uptime: u64 = 8,
    realtime: u64 = 24,
    hz: u32 = 36,
});

/// About user processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UserInfo {
    /// Bytes of the structure.
    pub bytes: u64,
    /// The stack pointer that programs start with.
    pub initial_sp: u64,
}

layout!(UserInfo, 16 {
    bytes: u64 = 0,
    initial_sp: u64 = 8,
});

/// About the machine: the first part of a longer structure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Machine {
    /// Number of processors.
    pub processors: u32,
    /// The processor that started the system.
    pub boot_processor: u32,
    /// Not named here.
    pub pad: Pad<16>,
    /// The board.
    pub board: u32,
}

layout!(Machine, 28 {
    processors: u32 = 0,
    boot_processor: u32 = 4,
    board: u32 = 24,
});
