//! The message: 104 bytes that every request, reply and notification is made of.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Endpoint, Status};

/// The kind of a message; in a reply, the result of the request.
///
/// The families of numbers are declared beside the structures they go with. A reply from the kernel, VM, RS or DS
/// carries its [`Status`] here.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub struct MessageType(pub i32);

impl MessageType {
    /// Every list of named message types in this crate.
    pub const FAMILIES: [&'static [(&'static str, Self)]; 11] = [
        Self::PM_CALLS,
        Self::VFS_CALLS,
        Self::VFS_REQUESTS,
        Self::CDEV,
        Self::BDEV,
        Self::KERNEL_CALLS,
        Self::RS,
        Self::DS_CALLS,
        Self::VM_CALLS,
        Self::COMMON,
        Self::NOTIFICATIONS,
    ];

    /// The name of the message type, if it has one.
    pub fn name(self) -> Option<&'static str> {
        Self::FAMILIES
            .iter()
            .find_map(|family| crate::layout::name_of(family, self))
    }

    /// The message type as outcome, for replies that carry it here.
    pub const fn status(self) -> Status {
        Status(self.0)
    }
}

/// A reply's message type.
impl From<Status> for MessageType {
    fn from(status: Status) -> Self {
        Self(status.0)
    }
}

named_formats!(MessageType);

/// The body of a message: the meaning of the 96 bytes after the message type.
///
/// A message does not say which body it has. The receiver knows it from the type and source, or from its own request.
///
/// Bodies of one's own are possible:
///
/// ```
/// use minix_abi::{Message, MessageType, Payload};
/// use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
///
/// #[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
/// #[repr(C)]
/// struct Note {
///     text: [u8; 96],
/// }
///
/// impl Payload for Note {}
///
/// let message = Message::with_payload(MessageType(1), &Note { text: [7; 96] });
/// assert_eq!(message.payload::<Note>().text, [7; 96]);
/// ```
///
/// One that does not fit into a message does not compile:
///
/// ```compile_fail
/// use minix_abi::{Message, MessageType, Payload};
/// use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
///
/// #[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
/// #[repr(C)]
/// struct Note {
///     text: [u8; 97],
/// }
///
/// impl Payload for Note {}
///
/// let message = Message::with_payload(MessageType(1), &Note { text: [7; 97] });
/// ```
pub trait Payload: FromBytes + IntoBytes + KnownLayout + Immutable {}

/// A message as it passes between processes and the kernel.
///
/// The kernel always copies all of it, both ways, to and from memory that has to be readable and writable.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(8))]
pub struct Message {
    /// The sender. The kernel fills it in on delivery and ignores the value of the sender.
    pub source: Endpoint,
    /// The message type.
    pub kind: MessageType,
    /// The body; [`payload`](Self::payload) decodes it.
    pub body: [u8; 96],
}

layout!(Message, 104 {
    source: Endpoint = 0,
    kind: MessageType = 4,
    body: [u8; 96] = 8,
});

const _: () = assert!(align_of::<Message>() == 8);

impl Message {
    /// Bytes of a body.
    pub const PAYLOAD_BYTES: usize = 96;

    /// A message with a body of zeroes.
    pub const fn new(kind: MessageType) -> Self {
        Self {
            source: Endpoint(0),
            kind,
            body: [0; Self::PAYLOAD_BYTES],
        }
    }

    /// A message with a body, padded with zeroes.
    ///
    /// A payload that is longer than a message's body does not compile.
    pub fn with_payload<T: Payload>(kind: MessageType, payload: &T) -> Self {
        let mut message = Self::new(kind);
        message.set_payload(payload);
        message
    }

    /// A reply that is a status and nothing else.
    pub const fn reply(status: Status) -> Self {
        Self::new(MessageType(status.0))
    }

    /// The body as a `T`. Every body can be read as every `T`; the caller checks the values.
    pub fn payload<T: Payload>(&self) -> T {
        const { assert!(size_of::<T>() <= Self::PAYLOAD_BYTES) };
        // The error would be a `T` longer than the body, which does not compile.
        T::read_from_prefix(&self.body).map_or_else(|_| T::new_zeroed(), |(payload, _)| payload)
    }

    /// Replaces the body, padded with zeroes.
    pub fn set_payload<T: Payload>(&mut self, payload: &T) {
        const { assert!(size_of::<T>() <= Self::PAYLOAD_BYTES) };
        let (front, rest) = self.body.split_at_mut(size_of::<T>());
        front.copy_from_slice(payload.as_bytes());
        rest.fill(0);
    }

    /// Replaces the front of the body and leaves the rest: for one message that carries payloads of the same type again and again.
    #[inline]
    pub fn replace_payload<T: Payload>(&mut self, payload: &T) {
        const { assert!(size_of::<T>() <= Self::PAYLOAD_BYTES) };
        self.body[..size_of::<T>()].copy_from_slice(payload.as_bytes());
    }

    /// The message type as outcome, for replies that carry it there.
    pub const fn status(&self) -> Status {
        self.kind.status()
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::new(MessageType(0))
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("source", &self.source)
            .field("kind", &self.kind)
            .field("body", &self.body)
            .finish()
    }
}
