#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

mod block;
mod buffer;
mod pool;
mod span;

pub use block::BounceBlock;
pub use buffer::BounceOr;
pub use pool::BouncePool;
pub use span::{Span, Spans};
