//! The one request to a terminal that a program needs to tell it from another file.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ioctl::IoctlCode;

codes! {
    impl IoctlCode as TERMINAL {
        /// Tell the settings of a terminal: [`Settings`], written by the driver. [`ENOTTY`](crate::Errno::ENOTTY) from another file.
        TIOCGETA = 0x402C_7413,
    }
}

/// The settings of a terminal (`struct termios`), undivided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub struct Settings(pub [u8; 44]);

const _: () = assert!(IoctlCode::TIOCGETA.argument_bytes() == size_of::<Settings>());
