#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(target_endian = "big")]
compile_error!("the structures of this crate hold native integers, and what they describe is little-endian");

#[macro_use]
mod macros;

pub mod bdev;
pub mod cdev;
pub mod disk_control;
pub mod ds;
mod endpoint;
mod errno;
pub mod grant;
pub mod ioctl;
pub mod ipc;
pub mod kernel_call;
pub mod kerninfo;
mod layout;
mod message;
pub mod minor;
pub mod notify;
pub mod partition;
pub mod pm;
pub mod process;
pub mod rs;
pub mod signal;
mod status;
pub mod terminal;
mod time;
pub mod trace;
pub mod vfs;
pub mod vm;

pub use endpoint::Endpoint;
pub use errno::Errno;
pub use grant::GrantId;
pub use layout::Pad;
pub use message::{Message, MessageType, Payload};
pub use status::Status;
pub use time::Instant;

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;
