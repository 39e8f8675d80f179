//! What programs ask of PM.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{MessageType, Payload};

codes! {
    impl MessageType as PM_CALLS {
        /// From a program: end it: [`Exit`]. There is no reply.
        PM_EXIT = 0x001,
    }
}

/// The end of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Exit {
    /// The exit status. The parent gets the low eight bits.
    pub status: i32,
}

layout!(Exit, 4 {
    status: i32 = 0,
});

impl Payload for Exit {}
