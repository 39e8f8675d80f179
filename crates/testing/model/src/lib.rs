#![doc = include_str!("../README.md")]

mod arena;
mod chain;
mod config;
mod device;
mod disk;
mod execute;
pub mod faults;
mod model;
mod negotiation;
mod pattern;
mod pci;
mod queue;
mod registers;
mod removal;
mod request;
mod ring;
mod service;
mod space;
mod violation;
mod wire;
mod zones;

pub use arena::Memory;
pub use config::{
    AtDriverOk, CompletionOrder, Limits, ModelConfig, Notifications, RingReset, Service, UsedLength, Zones,
};
pub use device::DeviceCounters;
pub use disk::noise;
pub use faults::StartFault;
pub use model::{Model, ModelDma, ModelDoorbell, ModelRegisters};
pub use pattern::pattern;
pub use pci::{ModelBar, ModelBarDoorbell, ModelFunction, PciForm};
pub use violation::Violation;
pub use wire::feature;
pub use zones::ZoneFailure;
