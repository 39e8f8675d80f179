#![doc = include_str!("../README.md")]

mod disk;
mod kernel;
mod memory;

pub use disk::{DiskRequest, FakeDisk, Op};
pub use kernel::{Calls, FakeKernel, Sent};
pub use memory::{Buffer, Grant, PAGE, Physical, Placement, Range, SharedMemory, Space};
