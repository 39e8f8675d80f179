//! Everything that only exists on the machine itself.

#[macro_use]
pub mod console;

pub(crate) mod board;
mod controllers;
pub mod counters;
#[cfg(feature = "defmt")]
pub mod defmt_logger;
pub(crate) mod hart;
pub(crate) mod harts;
mod imsic;
pub(crate) mod interrupts;
pub(crate) mod layout;
mod local_controller;
mod lock;
pub(crate) mod messages;
pub(crate) mod pci;
pub mod power;
#[cfg(feature = "defmt")]
mod semihosting;
pub(crate) mod start;
pub(crate) mod trap;
