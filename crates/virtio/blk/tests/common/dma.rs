//! A platform that runs out of memory.

use std::alloc::Layout;

use virtio_blk_model::ModelDma;
use virtio_core::{Dma, DmaError, DmaRegion};

/// Gives so many pieces of memory and then no more.
pub(crate) struct Stingy {
    pub(crate) dma: ModelDma,
    pub(crate) left: usize,
}

impl Dma for Stingy {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        self.left = self.left.checked_sub(1).ok_or(DmaError::OutOfMemory)?;
        self.dma.allocate(layout)
    }

    fn release(&mut self, region: DmaRegion) {
        self.dma.release(region);
    }
}
