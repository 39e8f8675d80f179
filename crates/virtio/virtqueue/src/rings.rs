//! What a queue and a chain under construction both work on.

use virtio_core::QueueSize;

use crate::memory::RingMemory;
use crate::placement::Placement;
use crate::slots::Slots;

/// Memory and slots of a queue, and how far its available ring is filled.
#[derive(Debug)]
pub(crate) struct Rings<T, const N: usize, M> {
    pub(crate) memory: M,
    pub(crate) slots: Slots<T, N>,
    pub(crate) size: QueueSize,
    /// Entries of one indirect table; 0 for none.
    pub(crate) table_entries: u16,
    pub(crate) placement: Placement,
    /// Chains submitted since the queue was made. The low 16 bits are the available index.
    pub(crate) submitted: u64,
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

    /// Puts the chain that starts at `head` into the available ring.
    #[inline]
    pub(crate) fn make_available(&mut self, head: u16) {
        self.memory.write_available(self.submitted as u16, head);
        self.submitted += 1;
    }
}
