//! Building one descriptor chain.

use virtio_core::Segment;

use crate::error::ChainError;
use crate::memory::flags::{NEXT, WRITE};
use crate::memory::{Descriptor, RingMemory};
use crate::placement::Place;
use crate::rings::Rings;
use crate::slots::{Walk, Written};

/// A chain under construction: device-readable segments first, device-writable ones after them.
///
/// Descriptors are written as segments are added, but the device sees none of it before
/// [`VirtQueue::publish`](crate::VirtQueue::publish). Dropping the value leaves the queue as it was.
#[derive(Debug)]
pub struct Chain<'q, T, const N: usize, M> {
    rings: &'q mut Rings<T, N, M>,
    /// The descriptors of the chain in the descriptor table.
    walk: Walk,
    place: Place,
    /// The last descriptor, not written yet, because whether another follows is not known yet.
    pending: Descriptor,
    count: u16,
    limit: u16,
    total: u64,
    writable: u64,
}

impl<'q, T, const N: usize, M: RingMemory> Chain<'q, T, N, M> {
    /// At least one descriptor is free.
    #[inline]
    pub(crate) fn new(rings: &'q mut Rings<T, N, M>, place: Place) -> Self {
        let limit = rings.max_segments();
        Self {
            walk: rings.slots.walk(),
            rings,
            place,
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
        self.walk.head()
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
    #[cfg_attr(not(optimize_for_size), inline(always))]
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
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub fn writable(&mut self, segment: Segment) -> Result<(), ChainError> {
        self.push(segment, WRITE)?;
        self.writable += u64::from(segment.len);
        Ok(())
    }

    // Inlined in any case: most of it folds away when it is known which descriptor of the chain this is.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    fn push(&mut self, segment: Segment, flags: u16) -> Result<(), ChainError> {
        if self.count == self.limit {
            return Err(ChainError::TooManySegments);
        }
        if segment.len == 0 {
            return Err(ChainError::Empty);
        }
        let total = self.total + u64::from(segment.len);
        // The used ring reports lengths in 32 bits, so the last byte of the 2^32 allowed is left out.
        if total > u64::from(u32::MAX) || !segment.is_representable() {
            return Err(ChainError::TooLong);
        }
        if self.count != 0 {
            self.write_pending()?;
        }
        self.pending = Descriptor {
            addr: segment.addr,
            len: segment.len,
            flags,
            next: 0,
        };
        self.total = total;
        self.count += 1;
        Ok(())
    }

    /// Writes the descriptor that is pending, with a link to the next one.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    fn write_pending(&mut self) -> Result<(), ChainError> {
        let mut descriptor = self.pending;
        descriptor.flags |= NEXT;
        if self.place == Place::Direct {
            let index = self.walk.last();
            descriptor.next = self.rings.slots.step(&mut self.walk).ok_or(ChainError::QueueFull)?;
            self.rings.memory.write_descriptor(index, descriptor);
        } else {
            descriptor.next = self.count;
            let entry = self.count - 1;
            self.rings.memory.write_table_entry(self.walk.head(), entry, descriptor);
        }
        Ok(())
    }

    /// Hands the chain to the queue, to be shown to the device by the next [`publish`](crate::VirtQueue::publish).
    ///
    /// Returns the slot it occupies.
    ///
    /// # Errors
    ///
    /// [`ChainError::Empty`] for a chain without segments; the token comes back.
    // Inlined in any case, or the whole chain would be copied on its way in.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub fn submit(self, token: T) -> Result<u16, (ChainError, T)> {
        let Self {
            rings,
            walk,
            place,
            pending,
            count,
            ..
        } = self;
        if count == 0 {
            return Err((ChainError::Empty, token));
        }
        if place == Place::Direct {
            rings.memory.write_descriptor(walk.last(), pending);
        } else {
            rings.memory.write_table_entry(walk.head(), count - 1, pending);
            rings.refer_to_table(walk.head(), count);
        }
        // At most the total, which fits.
        rings.add(walk, token, self.writable as u32, Written::UNKNOWN);
        Ok(walk.head())
    }
}
