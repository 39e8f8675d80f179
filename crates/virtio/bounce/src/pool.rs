//! The blocks that no transfer has.

use core::fmt;

use virtio_core::{Dma, DmaBuffer, DmaError};

use crate::BounceBlock;

/// What a block is aligned to at most, in bytes. It is what hosts and devices like best: QEMU copies data that is aligned to less if the
/// image of the disk is opened without a cache.
const MOST_ALIGNMENT: usize = 4096;

/// Up to `BLOCKS` bounce buffers of the same size, made at start.
///
/// A block that is [taken](Self::take) belongs to its taker, and through a request to the driver, until it is [put back](Self::put_back).
/// Neither allocates. The pool is not shared: keep it beside the queue that its blocks go through, under the same lock.
///
/// A pool that is dropped leaks its memory; [`release`](Self::release) gives it to the platform.
pub struct BouncePool<const BLOCKS: usize> {
    /// The blocks that are there. Each has one place for good.
    places: [Option<BounceBlock>; BLOCKS],
    /// Where the block of each place begins for the CPU, whether it is there or not. Its address for the device would not do: behind
    /// another IOMMU that is other memory.
    starts: [usize; BLOCKS],
    /// How many places have a block.
    blocks: usize,
    block_bytes: usize,
}

impl<const BLOCKS: usize> BouncePool<BLOCKS> {
    /// Allocates up to `BLOCKS` blocks of `block_bytes` bytes, as many as there is memory for. Each is on its own, so no more than
    /// `block_bytes` have to lie in one piece. [`blocks`](Self::blocks) tells how many there are.
    ///
    /// A block is aligned to the next power of two of its size, and to 4096 bytes at most.
    ///
    /// # Errors
    ///
    /// Those of [`Dma::allocate`] if there is not even one block; [`DmaError::UnsupportedLayout`] for blocks of no bytes or of 4 GiB and
    /// more.
    pub fn allocate(dma: &mut (impl Dma + ?Sized), block_bytes: usize) -> Result<Self, DmaError> {
        let alignment = block_bytes.clamp(1, MOST_ALIGNMENT).next_power_of_two();
        let mut pool = Self {
            places: [const { None }; BLOCKS],
            starts: [0; BLOCKS],
            blocks: 0,
            block_bytes,
        };
        while pool.blocks < BLOCKS {
            match DmaBuffer::allocate(dma, block_bytes, alignment) {
                Ok(memory) => pool.add(memory),
                Err(error) if pool.blocks == 0 => return Err(error),
                Err(_) => break,
            }
        }
        if pool.blocks == 0 {
            Err(DmaError::OutOfMemory)
        } else {
            Ok(pool)
        }
    }

    /// Makes a block of `memory`, which is not empty, in the next place, which there is.
    fn add(&mut self, memory: DmaBuffer) {
        let place = self.blocks;
        let block = BounceBlock::new(memory, place).ok();
        if let (Some(slot), Some(start), Some(block)) = (self.places.get_mut(place), self.starts.get_mut(place), block)
        {
            *start = block.start();
            *slot = Some(block);
            self.blocks += 1;
        }
    }

    /// How many blocks the pool has, those that are taken among them.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Bytes of each block.
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// How many blocks are not taken.
    pub fn free(&self) -> usize {
        self.places.iter().flatten().count()
    }

    /// A block, with its whole length; `None` if all are taken.
    pub fn take(&mut self) -> Option<BounceBlock> {
        let mut block = self.places.iter_mut().find_map(Option::take)?;
        // As long as when it was made, which was not empty.
        let _ = block.set_len(self.block_bytes);
        Some(block)
    }

    /// Takes a block back.
    ///
    /// # Errors
    ///
    /// The block comes back if it is one of another pool.
    pub fn put_back(&mut self, block: BounceBlock) -> Result<(), BounceBlock> {
        let is_own = self.starts.get(block.place) == Some(&block.start());
        match self.places.get_mut(block.place) {
            Some(place @ None) if is_own => {
                *place = Some(block);
                Ok(())
            }
            _ => Err(block),
        }
    }

    /// Gives all memory to `dma`, where it came from.
    ///
    /// # Errors
    ///
    /// The pool comes back if blocks are still taken. Get them from the driver first: shut its device down.
    pub fn release(self, dma: &mut (impl Dma + ?Sized)) -> Result<(), Self> {
        if self.free() < self.blocks {
            return Err(self);
        }
        for block in self.places.into_iter().flatten() {
            dma.release(block.into_buffer().into_region());
        }
        Ok(())
    }
}

impl<const BLOCKS: usize> fmt::Debug for BouncePool<BLOCKS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BouncePool")
            .field("blocks", &self.blocks)
            .field("free", &self.free())
            .field("block_bytes", &self.block_bytes)
            .finish()
    }
}
