//! Sending a chain that is written already, with another segment in one place.

use virtio_core::Segment;

use crate::memory::RingMemory;
use crate::placement::Place;
use crate::rings::Rings;
use crate::slots::Form;

/// Bytes of all segments together at most. Another second segment has not more either, so no chain gets too long.
pub(crate) const MOST_BYTES: u32 = u32::MAX / 2;

/// What chains of three segments have in common that differ in the second one only, such as header, data and status.
///
/// Chains of one shape have the first and the third segment in the same memory of their slot, and the second one is writable for
/// all or readable for all. The queue does not check it: a chain that was not what its shape says comes back wrong in the
/// next chain of that shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Shape {
    number: u8,
    second_is_writable: bool,
    /// Bytes the device may write in the other segments.
    others_writable: u16,
}

impl Shape {
    /// How many segments such a chain has.
    pub const SEGMENTS: u16 = 3;

    /// Shape `number`, from 1 to 63, whose second segment is for the device to read. In the others it may write `writable`
    /// bytes. `None` for another number.
    pub const fn with_readable(number: u8, writable: u16) -> Option<Self> {
        Self::new(number, false, writable)
    }

    /// Shape `number`, from 1 to 63, whose second segment is for the device to write. In the others it may write `writable`
    /// bytes. `None` for another number.
    pub const fn with_writable(number: u8, writable: u16) -> Option<Self> {
        Self::new(number, true, writable)
    }

    const fn new(number: u8, second_is_writable: bool, others_writable: u16) -> Option<Self> {
        if number == 0 || number > 63 {
            return None;
        }
        Some(Self {
            number,
            second_is_writable,
            others_writable,
        })
    }

    #[inline]
    pub(crate) const fn form(self, place: Place) -> Form {
        Form::new(self.number, place)
    }
}

/// A chain that came back and is still written as it was: only its second segment has to be replaced.
///
/// Dropping the value leaves the queue as it was.
#[derive(Debug)]
pub struct Frame<'q, T, const N: usize, M> {
    rings: &'q mut Rings<T, N, M>,
    head: u16,
    shape: Shape,
    second: Segment,
}

impl<'q, T, const N: usize, M: RingMemory> Frame<'q, T, N, M> {
    /// The next chain with `second` as its second segment, if one of that shape is written where the next chain is to be.
    #[inline]
    pub(crate) fn new(rings: &'q mut Rings<T, N, M>, shape: Shape, second: Segment) -> Option<Self> {
        let (head, form) = rings.slots.top()?;
        // From 1 to 2^31 - 1.
        let length_fits = second.len.cast_signed() > 0;
        let fits = form == shape.form(rings.placement.now()) && length_fits && second.is_representable();
        fits.then_some(Self {
            rings,
            head,
            shape,
            second,
        })
    }

    /// The slot the chain will occupy until it comes back, which is the one that it had.
    #[inline]
    pub fn slot(&self) -> u16 {
        self.head
    }

    /// Hands the chain to the queue, to be shown to the device by the next [`publish`](crate::VirtQueue::publish).
    #[inline]
    pub fn submit(self, token: T) {
        let Self {
            rings,
            head,
            shape,
            second,
        } = self;
        let writable = u32::from(shape.others_writable) + if shape.second_is_writable { second.len } else { 0 };
        let index = rings.submitted;
        rings.submitted += 1;
        let second_descriptor = rings.slots.take_top(head, token, index, writable);
        if rings.placement.now() == Place::Direct {
            rings.memory.redirect_descriptor(second_descriptor, second);
        } else {
            rings.memory.redirect_table_entry(head, 1, second);
        }
        rings.memory.write_available(index as u16, head);
    }
}
