//! Diagnostic output: `SYS_DIAGCTL`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Endpoint, Pad, Payload};

/// Bytes of text to send at once. The kernel takes 2000, but overwrites the last one of exactly so many.
pub const MAX_DIAG_BYTES: usize = 1999;

codes! {
    /// What to do. Anything else is [`EINVAL`](crate::Errno::EINVAL).
    pub struct DiagCode(i32) {
        /// Print text: it goes to the kernel's message ring and to the console.
        DIAG = 1,
        /// Print the call stack of a process.
        STACKTRACE = 2,
        /// Ask to be told of new text in the ring.
        REGISTER = 3,
        /// Ask not to be told any more.
        UNREGISTER = 4,
    }
}

/// The request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DiagCtl {
    /// The operation.
    pub code: DiagCode,
    /// Padding.
    pub pad: Pad<4>,
    /// Address of the text.
    pub address: u64,
    /// Bytes of text: 1 to 2000, else [`EINVAL`](crate::Errno::EINVAL). See [`MAX_DIAG_BYTES`].
    pub bytes: i32,
    /// The process whose call stack is printed.
    pub process: Endpoint,
}

layout!(DiagCtl, 24 {
    code: DiagCode = 0,
    address: u64 = 8,
    bytes: i32 = 16,
    process: Endpoint = 20,
});

impl Payload for DiagCtl {}

impl DiagCtl {
    /// Prints text of the caller.
    pub const fn print(address: u64, bytes: i32) -> Self {
        Self {
            code: DiagCode::DIAG,
            pad: Pad::ZERO,
            address,
            bytes,
            process: Endpoint(0),
        }
    }
}
