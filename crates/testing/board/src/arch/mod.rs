//! Everything that only exists on the machine itself.

#[macro_use]
pub mod console;

pub(crate) mod board;
pub mod counters;
#[cfg(feature = "defmt")]
pub mod defmt_logger;
pub(crate) mod interrupts;
pub(crate) mod layout;
pub mod power;
#[cfg(feature = "defmt")]
mod semihosting;
pub(crate) mod start;
pub(crate) mod trap;
