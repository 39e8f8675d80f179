#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

#[cfg(test)]
extern crate std;

#[macro_use]
mod fmt;

mod access;
mod bar;
mod capability;
mod cfg_access;
mod finder;
mod function;
mod id;
mod legacy;
mod mapper;
mod modern;
mod msix;
mod notifier;
mod ports;
mod probe;
pub mod registers;
mod routing;
mod transport;
mod vectors;
mod window;

pub use access::{Doorbell, MapBar, RegisterAccess};
pub use bar::{BARS, Bar, BarError, BarRange, BarSpace, Bars};
pub use capability::{ListError, Structure, StructureError};
pub use cfg_access::{CfgDoorbell, CfgWindow, CfgWindows};
pub use finder::{BridgeBuses, Finder, FoundFunction};
pub use function::PciFunction;
pub use id::{VENDOR, VirtioId};
pub use legacy::LEGACY_PAGE_BYTES;
pub use mapper::{Mapper, Window, WindowDoorbell};
pub use msix::{MsiMessage, MsixError, MsixTable};
pub use notifier::PciNotifier;
pub use pci_types;
pub use ports::{NoPorts, PortAccess, PortDoorbell, PortWindow};
pub use probe::{ProbeError, probe};
pub use transport::PciTransport;
pub use vectors::VectorPlan;
pub use window::{MemoryDoorbell, MemoryWindow};
