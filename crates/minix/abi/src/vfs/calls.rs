//! What programs ask of VFS: files and devices by descriptor, and the way a program sleeps.
//!
//! A program sends the request with [`SENDREC`](crate::ipc::IpcCall::SENDREC) to [`Endpoint::VFS`](crate::Endpoint::VFS). The
//! answer is in the message type of the reply: a descriptor, a count or zero, or the negative of an
//! [`Errno`](crate::Errno). VFS reads and writes memory of the program at the addresses in the message. A signal that the program
//! takes, or that stops and continues it, ends a waiting call with [`EINTR`](crate::Errno::EINTR).
//!
//! The layouts are those of the C library of the system, read back from its compiled programs.

use core::time::Duration;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ioctl::IoctlCode;
use crate::{MessageType, Pad, Payload};

codes! {
    impl MessageType as VFS_CALLS {
        /// From a program: read from a file: [`Transfer`]. Answers the bytes read; zero is the end of the file.
        VFS_READ = 0x100,
        /// From a program: write to a file: [`Transfer`]. Answers the bytes written.
        VFS_WRITE = 0x101,
        /// From a program: open a file that exists: [`OpenPath`]. Answers a descriptor.
        VFS_OPEN = 0x103,
        /// From a program: close a descriptor: [`Close`].
        VFS_CLOSE = 0x105,
        /// From a program: a control request to the driver of a file: [`Control`]. Answers what the driver does.
        VFS_IOCTL = 0x118,
        /// From a program: wait until a descriptor is ready or the time is over: [`Select`]. Answers how many are ready. With no
        /// descriptors it is the way a program sleeps.
        VFS_SELECT = 0x11E,
    }
}

codes! {
    /// A descriptor of an open file.
    pub struct Descriptor(i32) {
        /// Standard input.
        STDIN = 0,
        /// Standard output.
        STDOUT = 1,
        /// Standard error output.
        STDERR = 2,
    }
}

codes! {
    /// What a file is opened for: the `O_ACCMODE` bits of `open`.
    pub struct OpenMode(i32) {
        /// To read.
        O_RDONLY = 0,
        /// To write.
        O_WRONLY = 1,
        /// To read and write.
        O_RDWR = 2,
    }
}

/// A file to open, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct OpenPath {
    /// Address of the name. VFS reads it there if it is longer than [`text`](Self::text).
    pub name: u64,
    /// Bytes of the name with the NUL that ends it.
    pub name_bytes: u64,
    /// What for.
    pub mode: OpenMode,
    /// Permissions of a file that is made. No file is made here.
    pub permissions: u32,
    /// The name with its NUL, if that fits, and zeros.
    pub text: [u8; OpenPath::TEXT_BYTES],
}

layout!(OpenPath, 64 {
    name: u64 = 0,
    name_bytes: u64 = 8,
    mode: OpenMode = 16,
    permissions: u32 = 20,
    text: [u8; 40] = 24,
});

impl OpenPath {
    /// Longest name that travels in the message, its NUL included.
    pub const TEXT_BYTES: usize = 40;

    /// A name that starts at `address`; a short one travels in the message as well.
    pub fn new(name: &core::ffi::CStr, address: u64, mode: OpenMode) -> Self {
        let bytes = name.to_bytes_with_nul();
        let mut text = [0; Self::TEXT_BYTES];
        if let Some(front) = text.get_mut(..bytes.len()) {
            front.copy_from_slice(bytes);
        }
        Self {
            name: address,
            name_bytes: bytes.len() as u64,
            mode,
            permissions: 0,
            text,
        }
    }
}

impl Payload for OpenPath {}

/// A descriptor to close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Close {
    /// The descriptor.
    pub descriptor: Descriptor,
    /// Nonzero if the last close of a socket does not wait.
    pub no_wait: i32,
}

layout!(Close, 8 {
    descriptor: Descriptor = 0,
    no_wait: i32 = 4,
});

impl Payload for Close {}

/// Bytes to read or to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Transfer {
    /// The descriptor.
    pub descriptor: Descriptor,
    /// Padding.
    pub pad0: Pad<4>,
    /// Address of the bytes.
    pub buffer: u64,
    /// How many.
    pub bytes: u64,
    /// VFS's own; zero in a request.
    pub done: u64,
}

layout!(Transfer, 32 {
    descriptor: Descriptor = 0,
    buffer: u64 = 8,
    bytes: u64 = 16,
    done: u64 = 24,
});

impl Payload for Transfer {}

/// A control request. The driver gets a grant for as many bytes as the code tells, to read or write as the code tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Control {
    /// The descriptor.
    pub descriptor: Descriptor,
    /// Padding.
    pub pad0: Pad<4>,
    /// The code.
    pub code: IoctlCode,
    /// Address of the argument.
    pub argument: u64,
}

layout!(Control, 24 {
    descriptor: Descriptor = 0,
    code: IoctlCode = 8,
    argument: u64 = 16,
});

impl Payload for Control {}

/// Descriptors to wait for, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Select {
    /// The sets end before this descriptor. With zero none is looked at.
    pub end: u32,
    /// Padding.
    pub pad0: Pad<4>,
    /// Address of the set to wait for data of; zero for none.
    pub readable: u64,
    /// Address of the set to wait for room in; zero for none.
    pub writable: u64,
    /// Address of the set to wait for errors of; zero for none.
    pub failed: u64,
    /// Address of a [`TimeValue`]; zero waits for ever.
    pub timeout: u64,
}

layout!(Select, 40 {
    end: u32 = 0,
    readable: u64 = 8,
    writable: u64 = 16,
    failed: u64 = 24,
    timeout: u64 = 32,
});

impl Payload for Select {}

/// A span of time as programs have it (`struct timeval`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TimeValue {
    /// Seconds.
    pub seconds: i64,
    /// Microseconds, below a million.
    pub micros: i32,
    /// Padding.
    pub pad0: Pad<4>,
}

layout!(TimeValue, 16 {
    seconds: i64 = 0,
    micros: i32 = 8,
});

impl From<Duration> for TimeValue {
    /// The span in whole microseconds, rounded up.
    fn from(span: Duration) -> Self {
        let micros = span.subsec_nanos().div_ceil(1000);
        let carry = u64::from(micros / 1_000_000);
        Self {
            seconds: i64::try_from(span.as_secs().saturating_add(carry)).unwrap_or(i64::MAX),
            micros: (micros % 1_000_000) as i32,
            pad0: Pad::ZERO,
        }
    }
}
