//! Chains of a header, data and a status: written from end to end, or found written and only redirected.

use virtio_core::Segment;

use crate::error::ChainError;
use crate::memory::flags::{NEXT, WRITE};
use crate::memory::{Descriptor, RingMemory};
use crate::placement::Place;
use crate::rings::Rings;
use crate::slots::{Form, Walk};

/// Bytes of data in a chain at most, so that no chain gets too long.
const MOST_DATA: u32 = u32::MAX / 2;

/// Data segments that were checked: none is empty, none wraps around the address space, and together they are not too long.
#[derive(Clone, Copy, Debug)]
pub struct Data<'s> {
    segments: &'s [Segment],
    bytes: u32,
}

impl<'s> Data<'s> {
    /// Segments of at most `most` bytes each, and 2^31 - 1 together. `None` if there is none, or something else is wrong.
    #[inline]
    pub fn new(segments: &'s [Segment], most: u64) -> Option<Self> {
        let mut bytes = 0u64;
        for segment in segments {
            let beyond_first = u64::from(segment.len).wrapping_sub(1);
            if beyond_first >= most || segment.addr.checked_add(beyond_first).is_none() {
                return None;
            }
            bytes += u64::from(segment.len);
        }
        let fits = bytes > 0 && bytes <= u64::from(MOST_DATA);
        fits.then_some(Self {
            segments,
            bytes: bytes as u32,
        })
    }

    /// How many segments the chain has. More than any chain has, if it is too many.
    #[inline]
    pub(crate) fn chain_segments(&self) -> u16 {
        u16::try_from(self.segments.len() + 2).unwrap_or(u16::MAX)
    }

    /// How many bytes they have together.
    #[inline]
    pub fn bytes(&self) -> u32 {
        self.bytes
    }
}

/// What chains have in common: a header that the device reads, data, and a status that it writes, where header and status are in
/// memory of the slot.
///
/// Chains of one shape differ in their data only. A chain that was not what its shape says comes back wrong in the
/// next chain of that shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Shape {
    number: u8,
    data_is_writable: bool,
    status_bytes: u16,
}

impl Shape {
    /// Shape `number`, from 1 to 63, with data for the device to read and a status of that many bytes. `None` for another
    /// number.
    pub const fn with_readable(number: u8, status_bytes: u16) -> Option<Self> {
        Self::new(number, false, status_bytes)
    }

    /// Shape `number`, from 1 to 63, with data for the device to write and a status of that many bytes. `None` for another
    /// number.
    pub const fn with_writable(number: u8, status_bytes: u16) -> Option<Self> {
        Self::new(number, true, status_bytes)
    }

    const fn new(number: u8, data_is_writable: bool, status_bytes: u16) -> Option<Self> {
        if number == 0 || number > 63 || status_bytes == 0 {
            return None;
        }
        Some(Self {
            number,
            data_is_writable,
            status_bytes,
        })
    }

    #[inline]
    const fn form(self, place: Place) -> Form {
        Form::new(self.number, place)
    }

    /// Bytes the device may write in a chain.
    #[inline]
    fn writable(self, data_bytes: u32) -> u32 {
        u32::from(self.status_bytes) + if self.data_is_writable { data_bytes } else { 0 }
    }
}

/// A chain that came back and is still written as it was: only its one data segment has to be replaced.
///
/// Dropping the value leaves the queue as it was.
#[derive(Debug)]
pub struct Frame<'q, T, const N: usize, M> {
    rings: &'q mut Rings<T, N, M>,
    head: u16,
    place: Place,
    shape: Shape,
    data: Segment,
}

impl<'q, T, const N: usize, M: RingMemory> Frame<'q, T, N, M> {
    /// The next chain, if one of that shape is written where it is to be, and `data` is right.
    #[inline]
    pub(crate) fn new(rings: &'q mut Rings<T, N, M>, shape: Shape, data: Segment) -> Option<Self> {
        let (head, form) = rings.slots.top()?;
        let place = rings.placement.now();
        let beyond_first = u64::from(data.len).wrapping_sub(1);
        let fits = beyond_first < u64::from(MOST_DATA) && data.addr.checked_add(beyond_first).is_some();
        (fits && form == shape.form(place)).then_some(Self {
            rings,
            head,
            place,
            shape,
            data,
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
            place,
            shape,
            data,
        } = self;
        let number = rings.submitted;
        rings.submitted += 1;
        let second = rings.slots.take_top(head, token, number, shape.writable(data.len));
        if place == Place::Direct {
            rings.memory.redirect_descriptor(second, data);
        } else {
            rings.memory.redirect_table_entry(head, 1, data);
        }
        rings.memory.write_available(number as u16, head);
    }
}

/// A chain of header, data and status that was written. Dropping the value leaves the queue as it was.
#[derive(Debug)]
pub struct Framed<'q, T, const N: usize, M> {
    rings: &'q mut Rings<T, N, M>,
    walk: Walk,
    writable: u32,
    form: Form,
}

impl<'q, T, const N: usize, M: RingMemory> Framed<'q, T, N, M> {
    /// Writes the chain. At least one descriptor is free. `ends` answers header and status of a slot.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub(crate) fn write(
        rings: &'q mut Rings<T, N, M>,
        place: Place,
        shape: Shape,
        data: Data<'_>,
        ends: impl FnOnce(u16) -> [Segment; 2],
    ) -> Result<Self, ChainError> {
        let count = data.chain_segments();
        if count > rings.max_segments() {
            return Err(ChainError::TooManySegments);
        }
        let mut walk = rings.slots.walk();
        let head = walk.head();
        let [header, status] = ends(head);
        let data_flags = if shape.data_is_writable { NEXT | WRITE } else { NEXT };
        if place == Place::Direct {
            let header = core::iter::once((header, NEXT));
            for (segment, flags) in header.chain(data.segments.iter().map(|&segment| (segment, data_flags))) {
                let index = walk.last();
                let next = rings.slots.step(&mut walk).ok_or(ChainError::QueueFull)?;
                rings
                    .memory
                    .write_descriptor(index, Descriptor::new(segment, flags, next));
            }
            rings
                .memory
                .write_descriptor(walk.last(), Descriptor::new(status, WRITE, 0));
        } else {
            let first = core::iter::once(Descriptor::new(header, NEXT, 1));
            let last = core::iter::once(Descriptor::new(status, WRITE, 0));
            let mut next = 1;
            let between = data.segments.iter().map(|&segment| {
                next += 1;
                Descriptor::new(segment, data_flags, next)
            });
            rings.memory.write_table(head, first.chain(between).chain(last));
            rings.refer_to_table(head, count);
        }
        let form = if data.segments.len() == 1 {
            shape.form(place)
        } else {
            Form::UNKNOWN
        };
        Ok(Self {
            rings,
            walk,
            writable: shape.writable(data.bytes),
            form,
        })
    }

    /// Hands the chain to the queue, to be shown to the device by the next [`publish`](crate::VirtQueue::publish).
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub fn submit(self, token: T) {
        self.rings.add(self.walk, token, self.writable, self.form);
    }
}
