//! Traces of block requests, as `btrace` fetches them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Status;

/// Entries that one [`BIOCTRACEGET`](crate::ioctl::IoctlCode::BIOCTRACEGET) fetches at most.
pub const TRACE_ENTRIES_AT_ONCE: usize = 1024;

codes! {
    /// The kind of request.
    pub struct TraceRequest(u32) {
        /// Open.
        OPEN = 0,
        /// Close.
        CLOSE = 1,
        /// Read.
        READ = 2,
        /// Write.
        WRITE = 3,
        /// Read to a vector.
        GATHER = 4,
        /// Write from a vector.
        SCATTER = 5,
        /// Control.
        IOCTL = 6,
    }
}

codes! {
    /// The argument of [`BIOCTRACECTL`](crate::ioctl::IoctlCode::BIOCTRACECTL).
    pub struct TraceControl(i32) {
        /// Start the trace.
        START = 0,
        /// Stop the trace.
        STOP = 1,
    }
}

/// One request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TraceEntry {
    /// The kind of request.
    pub request: TraceRequest,
    /// Bytes. For opening and closing: the access bits. For control: the code. For vectors: the number of elements, until the
    /// sum of their bytes is known.
    pub size: u32,
    /// Position in bytes.
    pub position: u64,
    /// The flags of the transfer.
    pub flags: u32,
    /// The result; [`Status::IN_PROGRESS`] as long as it is open.
    pub result: Status,
    /// When it came, in microseconds since the trace was started.
    pub start_us: u32,
    /// When it was done, in microseconds since the trace was started; [`UNSET_TIME`](Self::UNSET_TIME) as long as it is open.
    pub finish_us: u32,
}

layout!(TraceEntry, 32 {
    request: TraceRequest = 0,
    size: u32 = 4,
    position: u64 = 8,
    flags: u32 = 16,
    result: Status = 20,
    start_us: u32 = 24,
    finish_us: u32 = 28,
});

impl TraceEntry {
    /// A time that is not known.
    pub const UNSET_TIME: u32 = 0xFFFF_FFFF;
}
