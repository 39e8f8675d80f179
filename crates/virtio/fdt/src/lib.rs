#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[macro_use]
mod fmt;

mod check;
mod cpu;
mod error;
mod finisher;
mod interrupt;
mod memory;
mod plic;
mod property;
mod reg;
mod tree;
mod uart;
mod virtio;
mod walk;

pub use cpu::{Hart, Harts};
pub use error::{Block, Defect, FdtError, NodeError};
pub use interrupt::{Controller, Interrupt, Phandle};
pub use plic::{Plic, Plics};
pub use reg::PhysRange;
pub use tree::DeviceTree;
pub use uart::Uart;
pub use virtio::{MmioWindow, MmioWindows, SortedWindows, UnusableWindow};
pub use walk::MAX_DEPTH;
