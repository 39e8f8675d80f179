//! DS, the data store: services look each other up here, and drivers announce themselves.
//!
//! Requests go by [`SENDREC`](crate::ipc::IpcCall::SENDREC) to [`DS`](Endpoint::DS); the reply's type is the
//! [`Status`](crate::Status). A driver that is up publishes [`DRIVER_UP`] under [`BLOCK_DRIVER_PREFIX`] and its label. VFS may
//! send it requests from then on.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Endpoint, GrantId, MessageType, Payload};

codes! {
    impl MessageType as DS_CALLS {
        /// Store a value.
        DS_PUBLISH = 0x800,
        /// Fetch a value.
        DS_RETRIEVE = 0x801,
        /// Be told of changes.
        DS_SUBSCRIBE = 0x802,
        /// What has changed?
        DS_CHECK = 0x803,
        /// Remove a value.
        DS_DELETE = 0x804,
        /// Fetch the label of an endpoint; [`ESRCH`](crate::Errno::ESRCH) if it has none.
        DS_RETRIEVE_LABEL = 0x806,
    }
}

/// Start of the keys under which block drivers say that they are up; the label follows.
pub const BLOCK_DRIVER_PREFIX: &str = "drv.blk.";
/// The value of a driver that is up.
pub const DRIVER_UP: u32 = 1;
/// The shortest key, NUL included.
pub const MIN_KEY_BYTES: usize = 2;
/// The longest key, NUL included; also the room that DS needs to fill in a label.
pub const MAX_KEY_BYTES: usize = 80;

flags! {
    /// What kind of value, and how to store it.
    pub struct DsFlags(u32) {
        /// A number.
        U32 = 0x10,
        /// Text.
        STR = 0x20,
        /// Memory.
        MEM = 0x40,
        /// A label.
        LABEL = 0x100,
        /// Replace a value that is there already.
        OVERWRITE = 0x1000,
        /// When subscribing: tell what is there already.
        INITIAL = 0x2000,
    }
}

impl DsFlags {
    /// The bits that say what kind of value it is.
    pub const TYPE_MASK: Self = Self(0xFF0);
}

/// A request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DsRequest {
    /// A grant with the key, to DS, for reading. For [`DS_RETRIEVE_LABEL`](MessageType::DS_RETRIEVE_LABEL) and
    /// [`DS_CHECK`](MessageType::DS_CHECK): for writing, of [`MAX_KEY_BYTES`].
    pub key: GrantId,
    /// Bytes of the key, NUL included.
    pub key_bytes: i32,
    /// What kind of value, and how to store it.
    pub flags: DsFlags,
    /// The value: a number, an endpoint or a grant.
    pub value: u32,
    /// Bytes of the value, if it is a grant.
    pub value_bytes: i32,
    /// The owner.
    pub owner: Endpoint,
}

layout!(DsRequest, 24 {
    key: GrantId = 0,
    key_bytes: i32 = 4,
    flags: DsFlags = 8,
    value: u32 = 12,
    value_bytes: i32 = 16,
    owner: Endpoint = 20,
});

impl Payload for DsRequest {}

impl DsRequest {
    /// Publishes a number, replacing a former one.
    pub fn publish_u32(key: GrantId, key_bytes: i32, value: u32) -> Self {
        Self {
            key,
            key_bytes,
            flags: DsFlags::U32 | DsFlags::OVERWRITE,
            value,
            ..Self::default()
        }
    }

    /// Fetches the label of an endpoint into a grant of [`MAX_KEY_BYTES`].
    pub fn retrieve_label(into: GrantId, endpoint: Endpoint) -> Self {
        Self {
            key: into,
            key_bytes: MAX_KEY_BYTES as i32,
            value: endpoint.0 as u32,
            ..Self::default()
        }
    }
}

/// A reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DsReply {
    /// The value: a number, an endpoint or a grant.
    pub value: u32,
    /// Bytes of the value, if it is longer than that.
    pub value_bytes: i32,
}

layout!(DsReply, 8 {
    value: u32 = 0,
    value_bytes: i32 = 4,
});

impl Payload for DsReply {}
