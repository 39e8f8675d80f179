//! What a queue and a chain under construction both work on.

use virtio_core::QueueSize;

use crate::memory::flags::INDIRECT;
use crate::memory::{Descriptor, RingMemory};
use crate::placement::Placement;
use crate::slots::{Slots, Walk, Written};

/// Memory and slots of a queue, and how far its available ring is filled.
#[derive(Debug)]
// In this order in memory: the table of the chains, which is long, comes last, so that the offset of a load or store reaches
// everything else.
#[repr(C)]
pub(crate) struct Rings<T, const N: usize, M> {
    pub(crate) memory: M,
    pub(crate) size: QueueSize,
    /// Entries of one indirect table; 0 for none.
    pub(crate) table_entries: u16,
    pub(crate) placement: Placement,
    /// Chains submitted since the queue was made. The low 16 bits are the available index.
    pub(crate) submitted: u64,
    pub(crate) slots: Slots<T, N>,
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

    /// Writes the descriptor that leads to the `count` entries in the table of slot `head`.
    #[inline]
    pub(crate) fn refer_to_table(&mut self, head: u16, count: u16) {
        let table = Descriptor {
            addr: self.memory.table_addr(head),
            len: 16 * u32::from(count),
            flags: INDIRECT,
            next: 0,
        };
        self.memory.write_descriptor(head, table);
    }

    /// Puts the chain of the descriptors of `walk` into the available ring. The device may write `writable` bytes of it.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub(crate) fn add(&mut self, walk: Walk, token: T, writable: u32, written: Written) {
        let number = self.submitted;
        self.submitted += 1;
        self.slots.take(walk, token, number, writable, written);
        self.memory.write_available(number as u16, walk.head());
    }
}
