//! RS, the reincarnation server: how it starts, updates, signals and stops services.
//!
//! Start-up of a service: it waits for [`RS_INIT`](MessageType::RS_INIT), an [`Init`], from RS; initialises; and sends
//! an `Init` with its result back by [`SENDREC`](crate::ipc::IpcCall::SENDREC). RS answers with a type of zero, or kills
//! it if the result is not [`Status::OK`].
//!
//! Later, only [`RS_LU_PREPARE`](MessageType::RS_LU_PREPARE) and pings are to be answered. A reply to any other message of RS
//! comes back as another one, without end.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::signal::Signal;
use crate::{Endpoint, GrantId, MessageType, Pad, Payload, Status};

/// Bytes of an entry of the public part of RS's process table, which [`Init::process_table`] lets a service read.
pub const PROCESS_TABLE_ENTRY_BYTES: usize = 420;

codes! {
    impl MessageType as RS {
        /// To RS: start a service: [`Up`].
        RS_UP = 0x700,
        /// Initialise: [`Init`].
        RS_INIT = 0x714,
        /// Get ready to be replaced: [`LuPrepare`].
        RS_LU_PREPARE = 0x715,
    }
}

codes! {
    impl MessageType as COMMON {
        /// From RS: a signal: [`SignalReceived`]. No reply.
        COMMON_SIGNAL = 0xE00,
        /// From VFS: a request for coverage data.
        COMMON_GCOV = 0xE01,
        /// From RS: fail for a test: [`FaultInjection`]. No reply.
        COMMON_FAULT_INJECTION = 0xE02,
    }
}

codes! {
    /// The kind of start of a service.
    pub struct InitType(i32) {
        /// It starts.
        FRESH = 0,
        /// It replaces a running instance.
        LU = 1,
        /// It replaces an instance that died, under the endpoint of the old one. The answer
        /// [`ERESTART`](crate::Errno::ERESTART) makes RS start a fresh one instead, with an endpoint of its own.
        RESTART = 2,
    }
}

flags! {
    /// Details of an initialisation.
    pub struct InitFlags(u32) {
        /// For tests: crash now.
        CRASH = 0x1,
        /// For tests: fail now.
        FAIL = 0x2,
        /// For tests: never answer.
        TIMEOUT = 0x4,
        /// Use the default actions.
        DEFCB = 0x8,
        /// Restarted by a script.
        SCRIPT_RESTART = 0x10,
        /// Transfer the state.
        ST = 0x20,
        /// Live update: by the same program.
        SELF = 0x100,
        /// Live update: with a new address layout.
        ASR = 0x200,
        /// Live update: of several services.
        MULTI = 0x400,
        /// Live update: VM is among them.
        INCLUDES_VM = 0x800,
        /// Live update: RS is among them.
        INCLUDES_RS = 0x1000,
        /// Live update: prepare, no more.
        PREPARE_ONLY = 0x2000,
        /// Live update: without mapped memory.
        NOMMAP = 0x4000,
        /// Live update: detached.
        DETACHED = 0x8000,
    }
}

/// Initialise; and the answer to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Init {
    /// Answer: the result. Any status but [`Status::OK`] ends the service.
    pub result: Status,
    /// The kind of start.
    pub kind: InitType,
    /// A grant to read the public part of RS's process table.
    pub process_table: GrantId,
    /// The instance to be replaced.
    pub old_endpoint: Endpoint,
    /// Number of restarts so far.
    pub restarts: i32,
    /// Details.
    pub flags: InitFlags,
    /// Address of a mapping that was made for it beforehand.
    pub buffer: u64,
    /// Bytes of that mapping.
    pub buffer_bytes: u64,
    /// The state that the old instance got ready in.
    pub prepare_state: LuState,
    /// Padding.
    pub pad: Pad<4>,
}

layout!(Init, 48 {
    result: Status = 0,
    kind: InitType = 4,
    process_table: GrantId = 8,
    old_endpoint: Endpoint = 12,
    restarts: i32 = 16,
    flags: InitFlags = 20,
    buffer: u64 = 24,
    buffer_bytes: u64 = 32,
    prepare_state: LuState = 40,
});

impl Payload for Init {}

impl Init {
    /// The answer.
    pub fn answer(result: Status) -> Self {
        Self {
            result,
            ..Self::default()
        }
    }
}

codes! {
    /// The state that a service has to reach before it can be replaced.
    pub struct LuState(i32) {
        /// None: the update is cancelled, and there is no reply.
        NULL = 0,
        /// No work is done.
        WORK_FREE = 1,
        /// No request is open.
        REQUEST_FREE = 2,
        /// No conversation is open.
        PROTOCOL_FREE = 3,
        /// An expression is to be evaluated.
        EVAL = 4,
        /// Not to be reached.
        UNREACHABLE = 5,
        /// For tests: crash.
        PREPARE_CRASH = 6,
    }
}

/// Get ready to be replaced; and the answer to it, sent by [`SENDREC`](crate::ipc::IpcCall::SENDREC) when ready.
///
/// A service that cannot be replaced answers [`ENOSYS`](crate::Errno::ENOSYS). One that is ready stops after the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LuPrepare {
    /// Answer: ready, or why not.
    pub result: Status,
    /// The state to be reached; the answer repeats it.
    pub state: LuState,
    /// How long it may take, in ticks.
    pub max_time: i32,
    /// Details.
    pub flags: InitFlags,
    /// A grant to read the description of the state.
    pub state_data: GrantId,
}

layout!(LuPrepare, 20 {
    result: Status = 0,
    state: LuState = 4,
    max_time: i32 = 8,
    flags: InitFlags = 12,
    state_data: GrantId = 16,
});

impl Payload for LuPrepare {}

impl LuPrepare {
    /// The answer to this request.
    pub fn answer(&self, result: Status) -> Self {
        Self {
            result,
            state: self.state,
            ..Self::default()
        }
    }
}

/// A signal for the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SignalReceived {
    /// The signal.
    pub signal: Signal,
}

layout!(SignalReceived, 4 {
    signal: Signal = 0,
});

impl Payload for SignalReceived {}

codes! {
    /// The failure that RS asks for in a test.
    pub struct FaultKind(i32) {
        /// Crash.
        CRASH = 1,
    }
}

/// A request to fail, for a test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FaultInjection {
    /// A grant with more about it.
    pub grant: GrantId,
    /// Padding.
    pub pad0: Pad<4>,
    /// Bytes of that grant.
    pub bytes: u64,
    /// The kind of failure.
    pub kind: FaultKind,
    /// Padding.
    pub pad1: Pad<4>,
}

layout!(FaultInjection, 24 {
    grant: GrantId = 0,
    bytes: u64 = 8,
    kind: FaultKind = 16,
});

impl Payload for FaultInjection {}

mod start;
pub use start::{RsStart, Up};
