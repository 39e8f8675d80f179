//! The block device protocol: what file systems, VFS and tools ask of a disk driver.
//!
//! Each request is answered by one [`BDEV_REPLY`](MessageType::BDEV_REPLY) with the request's id, in any order. How
//! the reply has to travel depends on how the request came, see
//! [`IpcStatus::sender_waits_for_reply`](crate::ipc::IpcStatus::sender_waits_for_reply).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ioctl::IoctlCode;
use crate::minor::Minor;
use crate::{Endpoint, GrantId, MessageType, Pad, Payload, Status};

codes! {
    impl MessageType as BDEV {
        /// Open: minor, access, id.
        BDEV_OPEN = 0x500,
        /// Close: minor, id.
        BDEV_CLOSE = 0x501,
        /// Read to a grant: minor, position, count in bytes, grant, flags, id.
        BDEV_READ = 0x502,
        /// Write from a grant: minor, position, count in bytes, grant, flags, id.
        BDEV_WRITE = 0x503,
        /// Read to a vector: minor, position, count of elements, grant of the vector, flags, id.
        BDEV_GATHER = 0x504,
        /// Write from a vector: minor, position, count of elements, grant of the vector, flags, id.
        BDEV_SCATTER = 0x505,
        /// Control: minor, request, grant, user, id.
        BDEV_IOCTL = 0x506,
        /// The answer to any of them: [`BdevReply`].
        BDEV_REPLY = 0x580,
    }
}

impl MessageType {
    /// Whether the number belongs to requests to block drivers, known or not: 0x500 to 0x57F.
    pub const fn is_bdev_request(self) -> bool {
        self.0 >= 0x500 && self.0 < 0x580
    }
}

flags! {
    /// What a device is opened for.
    pub struct BdevAccess(u32) {
        /// Reading.
        READ = 1,
        /// Writing.
        WRITE = 2,
    }
}

flags! {
    /// Options of a transfer.
    pub struct BdevFlags(u32) {
        /// What is written has to be on the medium when the answer comes.
        FORCEWRITE = 1,
        /// For memories behind a serial bus: send no page address. It means nothing to a disk.
        NOPAGE = 2,
    }
}

/// Any request. Which fields count depends on the message type; the others hold anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BdevRequest {
    /// Position in bytes. Signed in C, and to be taken as unsigned: a negative one is far beyond any disk.
    pub position: u64,
    /// The drive, partition or sub-partition.
    pub minor: Minor,
    /// What the reply has to repeat.
    pub id: i32,
    /// Reading, writing or both.
    pub access: BdevAccess,
    /// Bytes, or elements of a vector.
    pub count: i32,
    /// The memory, the vector, or the argument of the control request.
    pub grant: GrantId,
    /// Options.
    pub flags: BdevFlags,
    /// Who asked for the control request; possibly [`NONE`](Endpoint::NONE).
    pub user: Endpoint,
    /// Padding.
    pub pad: Pad<4>,
    /// The control request.
    pub request: IoctlCode,
}

layout!(BdevRequest, 48 {
    position: u64 = 0,
    minor: Minor = 8,
    id: i32 = 12,
    access: BdevAccess = 16,
    count: i32 = 20,
    grant: GrantId = 24,
    flags: BdevFlags = 28,
    user: Endpoint = 32,
    request: IoctlCode = 40,
});

impl Payload for BdevRequest {}

/// The answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BdevReply {
    /// The result: bytes for a transfer, zero for opening and closing, the value of a control request, or an error.
    pub status: Status,
    /// The id of the request.
    pub id: i32,
}

layout!(BdevReply, 8 {
    status: Status = 0,
    id: i32 = 4,
});

impl Payload for BdevReply {}

/// Elements of a vector that a driver takes; more are ignored, and a negative count is taken as this many.
pub const MAX_ELEMENTS: usize = 64;

/// An element of a vector: memory for a part of the transfer.
///
/// Clients leave the padding as it was, so it holds anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VectorElement {
    /// The memory.
    pub grant: GrantId,
    /// Padding: not initialised by clients.
    pub pad: Pad<4>,
    /// Length in bytes.
    pub bytes: u64,
}

layout!(VectorElement, 16 {
    grant: GrantId = 0,
    bytes: u64 = 8,
});

impl VectorElement {
    /// An element.
    pub const fn new(grant: GrantId, bytes: u64) -> Self {
        Self {
            grant,
            pad: Pad::ZERO,
            bytes,
        }
    }
}
