//! DMA memory: which part of RAM it is, how it is handed out, and the `Dma` implementation on top.

mod carve;
mod pool;

pub use carve::largest_gap;
pub use pool::DmaPool;
