//! Requests to VFS: RS ties a major number to a service; programs open, read, write and control files.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{MessageType, Pad, Payload};

mod calls;

pub use calls::{Close, Control, Descriptor, OpenMode, OpenPath, Select, TimeValue, Transfer};

codes! {
    impl MessageType as VFS_REQUESTS {
        /// From RS: a service drives a major number: [`MapDriver`].
        VFS_MAPDRIVER = 0x12D,
    }
}

/// A service drives a major number. RS sends it before the service's first instruction runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapDriver {
    /// The major number.
    pub major: i32,
    /// Padding.
    pub pad0: Pad<4>,
    /// Bytes of the label.
    pub label_bytes: u64,
    /// Address of the label.
    pub label: u64,
    /// How many socket domains it serves.
    pub domain_count: i32,
    /// The domains.
    pub domains: [i32; 8],
    /// Padding.
    pub pad1: Pad<4>,
}

layout!(MapDriver, 64 {
    major: i32 = 0,
    label_bytes: u64 = 8,
    label: u64 = 16,
    domain_count: i32 = 24,
    domains: [i32; 8] = 28,
});

impl Payload for MapDriver {}
