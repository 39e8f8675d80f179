//! Which blocks of staging memory are free.

use crate::StagingBlock;

/// Staging memory, by block. At most 32 blocks are used.
pub(crate) struct StagingPool {
    all: u32,
    free: u32,
}

impl StagingPool {
    pub(crate) const fn new(blocks: u8) -> Self {
        let all = if blocks >= 32 { u32::MAX } else { (1 << blocks) - 1 };
        Self { all, free: all }
    }

    /// Whether there is any, free or not.
    pub(crate) const fn exists(&self) -> bool {
        self.all != 0
    }

    pub(crate) const fn any_free(&self) -> bool {
        self.free != 0
    }

    pub(crate) fn take(&mut self) -> Option<StagingBlock> {
        let block = u8::try_from(self.free.trailing_zeros())
            .ok()
            .filter(|&block| block < 32)?;
        self.free &= !(1 << block);
        Some(StagingBlock(block))
    }

    pub(crate) fn give_back(&mut self, block: StagingBlock) {
        self.free |= self.all & 1_u32.checked_shl(block.0.into()).unwrap_or(0);
    }

    /// Nobody uses any.
    pub(crate) fn reset(&mut self) {
        self.free = self.all;
    }
}
