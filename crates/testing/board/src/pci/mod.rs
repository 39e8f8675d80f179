//! PCI, as far as it is the same on any machine: configuration space, addresses for BARs, bridges, pins, slots.
//!
//! Drivers of devices find their function by the same access to configuration space.

mod assign;
mod config;
mod ecam;
#[cfg(test)]
mod fake;
mod pins;
mod slot;
mod space;

pub use assign::Assigned;
pub(crate) use assign::{Spaces, assign, assign_behind};
pub use ecam::Ecam;
pub(crate) use pins::pin_at_root;
pub use slot::{Slot, SlotEvents};
pub(crate) use space::AddressSpace;
