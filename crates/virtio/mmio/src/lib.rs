#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

#[macro_use]
mod fmt;

mod access;
mod gone;
mod legacy;
mod modern;
mod notifier;
mod probe;
mod queue_size;
pub mod registers;
mod transport;
mod window;

pub use access::{Doorbell, RegisterAccess};
pub use legacy::LEGACY_PAGE_BYTES;
pub use notifier::MmioNotifier;
pub use probe::{Probe, probe};
pub use transport::MmioTransport;
pub use window::{MmioDoorbell, MmioWindow, WindowError};
