//! DMA memory: which part of RAM it is, how it is handed out, and the `Dma` implementation on top.

mod carve;
mod free_list;
mod pool;

pub use carve::largest_gap;
pub use free_list::FreeList;
pub use pool::{DMA_PIECES, DmaPool};
