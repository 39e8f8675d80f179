//! What the kernel keeps about a service: `SYS_STATECTL`, `SYS_SETGRANT`; and signals: `SYS_KILL` and its kin.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::signal::{SigSet, Signal};
use crate::{Endpoint, Pad, Payload};

codes! {
    /// The operation.
    pub struct StateRequest(i32) {
        /// Everybody who waits for the caller gets [`EDEADSRCDST`](crate::Errno::EDEADSRCDST).
        CLEAR_IPC_REFS = 1,
        /// Say where the state table is.
        SET_STATE_TABLE = 2,
        /// Take no messages that match.
        ADD_IPC_BL_FILTER = 3,
        /// Take only messages that match.
        ADD_IPC_WL_FILTER = 4,
        /// Take all messages again.
        CLEAR_IPC_FILTERS = 5,
    }
}

/// Changes the state that the kernel keeps about the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct StateCtl {
    /// The operation.
    pub request: StateRequest,
    /// Padding.
    pub pad0: Pad<4>,
    /// Address of the argument, if the request has one.
    pub address: u64,
    /// Length of the argument.
    pub length: i32,
    /// Padding.
    pub pad1: Pad<4>,
}

layout!(StateCtl, 24 {
    request: StateRequest = 0,
    address: u64 = 8,
    length: i32 = 16,
});

impl Payload for StateCtl {}

impl StateCtl {
    /// A request without argument.
    pub fn plain(request: StateRequest) -> Self {
        Self {
            request,
            ..Self::default()
        }
    }
}

/// Says where the table of [`GrantEntry`](crate::grant::GrantEntry)s is. To be repeated when it moves or grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetGrant {
    /// Address of the table.
    pub table: u64,
    /// Entries of the table.
    pub entries: i32,
    /// Padding.
    pub pad: Pad<4>,
}

layout!(SetGrant, 16 {
    table: u64 = 0,
    entries: i32 = 8,
});

impl Payload for SetGrant {}

/// Signals between kernel and signal managers: `SYS_KILL`, `SYS_GETKSIG`, `SYS_ENDKSIG`. RS does this for services; a
/// driver does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct KernelSignal {
    /// The signals.
    pub signals: SigSet,
    /// The process that the signals are for.
    pub process: Endpoint,
    /// One signal.
    pub signal: Signal,
    /// Address of the context.
    pub context: u64,
}

layout!(KernelSignal, 32 {
    signals: SigSet = 0,
    process: Endpoint = 16,
    signal: Signal = 20,
    context: u64 = 24,
});

impl Payload for KernelSignal {}
