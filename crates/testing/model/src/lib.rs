#![doc = include_str!("../README.md")]

mod arena;
mod chain;
mod config;
mod counters;
mod device;
mod disk;
mod execute;
pub mod faults;
mod init;
mod model;
mod queue;
mod registers;
mod release;
mod request;
mod ring;
mod service;
mod space;
mod starts;
mod violation;
mod wire;
mod zones;

pub use arena::Memory;
pub use config::{AtDriverOk, CompletionOrder, DoorbellWish, Limits, ModelConfig, Service, UsedLength, Zones};
pub use counters::Counters;
pub use model::{Model, ModelDma, ModelDoorbell, ModelRegisters};
pub use starts::StartFault;
pub use violation::Violation;
pub use wire::feature;
