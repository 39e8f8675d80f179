#![doc = include_str!("../README.md")]

mod disk;
pub mod host;
mod kernel;
mod memory;
pub mod mfs;
mod reports;
mod script;
mod sparse;
mod store;
mod system;
mod trap;

pub use disk::{ADDRESS, Change, DISCARDED, DiskRequest, ERASED, FakeDisk, ID, IRQ, LIFETIME, Op, RANGE_LIMIT};
pub use kernel::{Calls, FakeKernel, Sent};
pub use memory::{Buffer, Grant, PAGE, Physical, Placement, Range, SharedMemory, Space};
pub use reports::REPORTS;
pub use script::{Script, Steps};
pub use sparse::{Content, SparseDisk, Transfer};
pub use store::Store;
pub use system::{Blocked, Caller, Ended, HOOK, PHYSICAL, Process, Server, State, System, notification};
pub use trap::{Fake, Refusing, Trap, Traps};
