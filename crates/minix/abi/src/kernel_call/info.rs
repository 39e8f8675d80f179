//! Questions about the system: `SYS_GETINFO`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::PrivFlags;
use crate::rs::InitFlags;
use crate::{Endpoint, Pad, Payload};

codes! {
    /// The kind of information.
    pub struct InfoRequest(i32) {
        /// Kernel information.
        KINFO = 0,
        /// Boot parameters: text.
        MONPARAMS = 4,
        /// The [`Machine`](crate::kerninfo::Machine).
        MACHINE = 12,
        /// Ticks per second.
        HZ = 18,
        /// Who the caller is; the answer is in the message: [`WhoAmI`].
        WHOAMI = 19,
    }
}

/// The question. All answers but that to [`WHOAMI`](InfoRequest::WHOAMI) are copied to an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetInfo {
    /// The kind of information.
    pub request: InfoRequest,
    /// Whose, if it is about a process.
    pub process: Endpoint,
    /// Address for the answer.
    pub address: u64,
    /// Room there in bytes; if positive and too small, the status is [`E2BIG`](crate::Errno::E2BIG).
    pub bytes: i32,
    /// Padding.
    pub pad0: Pad<4>,
    /// Address for a second answer.
    pub address2: u64,
    /// Room there, or an endpoint.
    pub bytes2: i32,
    /// Padding.
    pub pad1: Pad<4>,
}

layout!(GetInfo, 40 {
    request: InfoRequest = 0,
    process: Endpoint = 4,
    address: u64 = 8,
    bytes: i32 = 16,
    address2: u64 = 24,
    bytes2: i32 = 32,
});

impl Payload for GetInfo {}

impl GetInfo {
    /// Asks who the caller is.
    pub fn who_am_i() -> Self {
        Self {
            request: InfoRequest::WHOAMI,
            ..Self::default()
        }
    }
}

/// The answer to [`WHOAMI`](InfoRequest::WHOAMI).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct WhoAmI {
    /// The caller's endpoint.
    pub endpoint: Endpoint,
    /// Its privileges.
    pub privileges: PrivFlags,
    /// Flags for its initialisation.
    pub init_flags: InitFlags,
    /// Its name, at most 15 characters, and NUL.
    pub name: [u8; 44],
}

layout!(WhoAmI, 56 {
    endpoint: Endpoint = 0,
    privileges: PrivFlags = 4,
    init_flags: InitFlags = 8,
    name: [u8; 44] = 12,
});

impl Payload for WhoAmI {}

impl WhoAmI {
    /// An answer. The name is cut at 15 bytes.
    pub fn new(endpoint: Endpoint, privileges: PrivFlags, init_flags: InitFlags, name: &[u8]) -> Self {
        let mut whole = [0; 44];
        let length = name.len().min(crate::process::MAX_NAME_BYTES);
        whole[..length].copy_from_slice(&name[..length]);
        Self {
            endpoint,
            privileges,
            init_flags,
            name: whole,
        }
    }

    /// The name up to its NUL.
    pub fn name_bytes(&self) -> &[u8] {
        let end = self.name.iter().position(|&byte| byte == 0).unwrap_or(self.name.len());
        &self.name[..end]
    }
}
