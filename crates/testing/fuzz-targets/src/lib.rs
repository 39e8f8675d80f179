#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

#[cfg(feature = "bdev")]
mod bdev;
#[cfg(any(feature = "bdev", feature = "hostile-device", feature = "partitions"))]
mod choices;
#[cfg(feature = "device-tree")]
mod device_tree;
#[cfg(feature = "guest-records")]
mod guest_records;
#[cfg(feature = "hostile-device")]
mod hostile_device;
#[cfg(feature = "partitions")]
mod partitions;
#[cfg(feature = "pci")]
mod pci_bus;

#[cfg(feature = "bdev")]
pub use bdev::bdev;
#[cfg(feature = "device-tree")]
pub use device_tree::{ask_everything, device_tree};
#[cfg(feature = "guest-records")]
pub use guest_records::guest_records;
#[cfg(feature = "hostile-device")]
pub use hostile_device::hostile_device;
#[cfg(feature = "partitions")]
pub use partitions::partitions;
#[cfg(feature = "pci")]
pub use pci_bus::pci_bus;
