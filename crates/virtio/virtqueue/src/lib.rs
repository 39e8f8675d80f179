#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

#[macro_use]
mod fmt;

mod chain;
mod error;
mod event;
mod frame;
mod layout;
mod memory;
mod placement;
mod queue;
mod rings;
mod slots;

pub use chain::Chain;
pub use error::{ChainError, CreateError, DeviceFault};
pub use event::crosses_event;
pub use frame::{Data, Frame, Framed, SegmentLimit, Shape};
pub use layout::{LEGACY_ALIGN, RingLayout, RingOffsets};
pub use memory::{Descriptor, DescriptorPlace, DmaRing, RingMemory, UsedElement, flags};
pub use placement::Chains;
pub use queue::{Found, Notification, QueueOptions, QueueState, Used, UsedChain, VirtQueue};
