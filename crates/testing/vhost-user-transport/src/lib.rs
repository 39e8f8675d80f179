#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod memory;
mod session;
mod transport;
mod wires;

pub use memory::{MemoryError, SharedMemory};
pub use session::SessionError;
pub use transport::VhostUser;
pub use wires::Kick;
