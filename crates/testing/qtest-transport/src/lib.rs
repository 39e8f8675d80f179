#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod machine;
mod mmio;
mod pci;
mod wire;

pub use machine::{Bus, Machine, MachineError, MachineOptions, QEMU};
pub use mmio::{MmioDoorbell, MmioRegisters};
pub use pci::{BarDoorbell, BarMapper, BarRegisters, Ecam};
