//! The one conversation of character devices that a block driver has to know: it has to refuse to be opened as one.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Errno, MessageType, Payload, Status};

codes! {
    impl MessageType as CDEV {
        /// Open a character device: [`CdevOpen`].
        CDEV_OPEN = 0x400,
        /// The answer: [`CdevReply`].
        CDEV_REPLY = 0x480,
    }
}

/// The part of a request to open a character device that the answer needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CdevOpen {
    /// The field at the start, which a block driver repeats in its answer.
    pub id: i32,
}

layout!(CdevOpen, 4 {
    id: i32 = 0,
});

impl Payload for CdevOpen {}

/// The answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CdevReply {
    /// The result.
    pub status: Status,
    /// The id of the request.
    pub id: i32,
}

layout!(CdevReply, 8 {
    status: Status = 0,
    id: i32 = 4,
});

impl Payload for CdevReply {}

impl CdevReply {
    /// What a block driver answers: it is none of those.
    pub fn refuse(request: &CdevOpen) -> Self {
        Self {
            status: Errno::ENXIO.into(),
            id: request.id,
        }
    }
}
