//! Building one descriptor chain.

use virtio_core::Segment;

use crate::error::ChainError;
use crate::memory::flags::{INDIRECT, NEXT, WRITE};
use crate::memory::{Descriptor, RingMemory};
use crate::rings::Rings;

/// A chain under construction: device-readable segments first, device-writable ones after them.
///
/// Descriptors are written as segments are added, but the device sees none of it before
/// [`VirtQueue::publish`](crate::VirtQueue::publish). Dropping the value leaves the queue as it was.
#[derive(Debug)]
pub struct Chain<'q, T, const N: usize, M> {
    rings: &'q mut Rings<T, N, M>,
    head: u16,
    /// Index of the last segment, in the descriptor table or in the indirect table.
    last: u16,
    /// Its descriptor, not written yet, because whether another follows is not known yet.
    pending: Descriptor,
    count: u16,
    limit: u16,
    total: u64,
    writable: u64,
}

impl<'q, T, const N: usize, M: RingMemory> Chain<'q, T, N, M> {
    #[inline]
    pub(crate) fn new(rings: &'q mut Rings<T, N, M>) -> Self {
        let head = rings.slots.free_head();
        let limit = if rings.table_entries == 0 {
            rings.slots.free()
        } else {
            rings.table_entries
        };
        Self {
            rings,
            head,
            last: 0,
            pending: Descriptor {
                addr: virtio_core::DeviceAddr(0),
                len: 0,
                flags: 0,
                next: 0,
            },
            count: 0,
            limit,
            total: 0,
            writable: 0,
        }
    }

    /// The slot the chain will occupy until it comes back: a number below the queue size that no other chain in
    /// flight has. Use it to find per-request memory prepared beforehand.
    #[inline]
    pub fn slot(&self) -> u16 {
        self.head
    }

    /// Segments so far.
    #[inline]
    pub fn len(&self) -> u16 {
        self.count
    }

    /// Whether there is no segment yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a segment for the device to read.
    ///
    /// # Errors
    ///
    /// See [`ChainError`]; the chain is as before.
    #[inline(always)]
    pub fn readable(&mut self, segment: Segment) -> Result<(), ChainError> {
        if self.writable != 0 {
            return Err(ChainError::ReadableAfterWritable);
        }
        self.push(segment, 0)
    }

    /// Adds a segment for the device to write.
    ///
    /// # Errors
    ///
    /// See [`ChainError`]; the chain is as before.
    #[inline(always)]
    pub fn writable(&mut self, segment: Segment) -> Result<(), ChainError> {
        self.push(segment, WRITE)?;
        self.writable += u64::from(segment.len);
        Ok(())
    }

    // Inlined in any case: most of it folds away when it is known which descriptor of the chain this is.
    #[inline(always)]
    fn push(&mut self, segment: Segment, flags: u16) -> Result<(), ChainError> {
        if self.count == self.limit {
            return Err(if self.count >= self.rings.max_segments() {
                ChainError::TooManySegments
            } else {
                ChainError::QueueFull
            });
        }
        if segment.len == 0 {
            return Err(ChainError::Empty);
        }
        let total = self.total + u64::from(segment.len);
        // The used ring reports lengths in 32 bits, so the last byte of the 2^32 allowed is left out.
        if total > u64::from(u32::MAX) || !segment.is_representable() {
            return Err(ChainError::TooLong);
        }
        let index = if self.rings.table_entries != 0 {
            self.count
        } else if self.count == 0 {
            self.head
        } else {
            self.rings.slots.next(self.last)
        };
        if self.count != 0 {
            self.pending.flags |= NEXT;
            self.pending.next = index;
            self.write_pending();
        }
        self.pending = Descriptor {
            addr: segment.addr,
            len: segment.len,
            flags,
            next: 0,
        };
        self.last = index;
        self.total = total;
        self.count += 1;
        Ok(())
    }

    #[inline(always)]
    fn write_pending(&mut self) {
        if self.rings.table_entries == 0 {
            self.rings.memory.write_descriptor(self.last, self.pending);
        } else {
            self.rings.memory.write_table_entry(self.head, self.last, self.pending);
        }
    }

    /// Hands the chain to the queue, to be shown to the device by the next [`publish`](crate::VirtQueue::publish).
    ///
    /// Returns the slot it occupies.
    ///
    /// # Errors
    ///
    /// [`ChainError::Empty`] for a chain without segments; the token comes back.
    // Inlined in any case, or the whole chain would be copied on its way in.
    #[inline(always)]
    pub fn submit(mut self, token: T) -> Result<u16, (ChainError, T)> {
        if self.count == 0 {
            return Err((ChainError::Empty, token));
        }
        self.write_pending();
        let (tail, count) = if self.rings.table_entries == 0 {
            (self.last, self.count)
        } else {
            let table = Descriptor {
                addr: self.rings.memory.table_addr(self.head),
                len: 16 * u32::from(self.count),
                flags: INDIRECT,
                next: 0,
            };
            self.rings.memory.write_descriptor(self.head, table);
            (self.head, 1)
        };
        // At most the total, which fits.
        let writable = self.writable as u32;
        Ok(self.rings.add(token, tail, count, writable))
    }
}
