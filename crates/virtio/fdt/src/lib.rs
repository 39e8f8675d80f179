#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[macro_use]
mod fmt;

mod aplic;
mod check;
mod cpu;
mod error;
mod finisher;
mod imsic;
mod interrupt;
mod memory;
mod nodes;
mod pci;
mod plic;
mod property;
mod reg;
mod tree;
mod uart;
mod virtio;
mod walk;
mod wiring;

pub use aplic::Aplic;
pub use cpu::{Hart, Harts};
pub use error::{Block, Defect, FdtError, NodeError};
pub use imsic::{Imsic, InterruptFile};
pub use interrupt::{Controller, Interrupt, Phandle};
pub use nodes::Nodes;
pub use pci::{PciHost, PciSpace, PciWindow};
pub use plic::Plic;
pub use reg::PhysRange;
pub use tree::DeviceTree;
pub use uart::Uart;
pub use virtio::{MmioWindow, MmioWindows, SortedWindows, UnusableWindow};
pub use walk::MAX_DEPTH;
