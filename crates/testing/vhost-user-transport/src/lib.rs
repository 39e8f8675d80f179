#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod daemon;
mod memory;
mod session;
mod transport;
mod wires;

pub use daemon::StorageDaemon;
pub use memory::{MemoryError, SharedMemory};
pub use session::SessionError;
pub use transport::VhostUser;
pub use wires::Kick;
