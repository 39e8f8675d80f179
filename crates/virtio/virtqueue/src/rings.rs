//! What a queue and a chain under construction both work on.

use virtio_core::QueueSize;

use crate::memory::RingMemory;
use crate::slots::Slots;

/// Memory and slots of a queue, and how far its available ring is filled.
#[derive(Debug)]
pub(crate) struct Rings<T, const N: usize, M> {
    pub(crate) memory: M,
    pub(crate) slots: Slots<T, N>,
    pub(crate) size: QueueSize,
    /// Entries of one indirect table; 0 for direct chains.
    pub(crate) table_entries: u16,
    /// Available index including chains not yet published.
    pub(crate) available: u16,
    /// Number of the batch being collected, which the next `publish` closes. Runs freely; it would take a chain in
    /// flight for exactly 2^32 batches to be taken for one of the current batch, and that only costs a reset.
    pub(crate) batch: u32,
}

impl<T, const N: usize, M: RingMemory> Rings<T, N, M> {
    /// The most segments a chain can have, however empty the queue is.
    #[inline]
    pub(crate) fn max_segments(&self) -> u16 {
        if self.table_entries == 0 {
            self.size.get()
        } else {
            self.table_entries
        }
    }

    /// Puts a chain into the available ring: the one that starts at the first free descriptor, ends at `tail` and has
    /// `count` descriptors, of which the device may write `writable` bytes. Returns its head.
    #[inline]
    pub(crate) fn add(&mut self, token: T, tail: u16, count: u16, writable: u32) -> u16 {
        let head = self.slots.take(token, tail, count, writable, self.batch);
        self.memory.write_available(self.available, head);
        self.available = self.available.wrapping_add(1);
        head
    }
}
