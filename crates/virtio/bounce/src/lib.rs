#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

mod block;
mod buffer;
mod parts;
mod pool;
mod span;
mod window;

pub use block::BounceBlock;
pub use buffer::BounceOr;
pub use parts::BlockParts;
pub use pool::BouncePool;
pub use span::{Span, Spans};
pub use window::ByteWindow;
