//! Chains of a header, data and a status: written from end to end, or found written and only redirected.

use virtio_core::Segment;

use crate::error::ChainError;
use crate::memory::flags::{NEXT, WRITE};
use crate::memory::{Descriptor, DescriptorPlace, RingMemory};
use crate::placement::Place;
use crate::rings::Rings;
use crate::slots::{Form, Walk, Written};

/// Bytes of data in a chain at most, so that no chain gets too long.
const MOST_DATA: u32 = u32::MAX / 2;

/// How many bytes a data segment may have: at most 2^31 - 1, so that no chain gets too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SegmentLimit(u64);

impl SegmentLimit {
    /// The largest of all.
    pub const MAX: Self = Self(MOST_DATA as u64);

    /// So many bytes, or the largest limit that there is. With 0 no segment is right.
    #[inline]
    pub const fn at_most(bytes: u64) -> Self {
        if bytes < Self::MAX.0 { Self(bytes) } else { Self::MAX }
    }

    /// Whether a segment is within the limit, not empty, and does not wrap around the address space.
    #[inline]
    const fn allows(self, segment: Segment) -> bool {
        let beyond_first = (segment.len as u64).wrapping_sub(1);
        beyond_first < self.0 && segment.addr.get() <= !beyond_first
    }

    /// Whether a segment [is allowed](Self::allows), as far as few instructions tell: `true` is certain.
    #[inline]
    const fn surely_allows(self, segment: Segment) -> bool {
        // No segment that starts below that wraps around the address space.
        (segment.len as u64).wrapping_sub(1) < self.0 && segment.addr.get() < 1 << 63
    }
}

/// What the data segments of a chain come to, one after the other.
#[derive(Clone, Copy, Debug)]
struct Sum {
    most: SegmentLimit,
    bytes: u64,
    all_right: bool,
}

impl Sum {
    #[inline]
    const fn new(most: SegmentLimit) -> Self {
        Self {
            most,
            bytes: 0,
            all_right: true,
        }
    }

    #[inline]
    fn add(&mut self, segment: Segment) {
        self.all_right &= self.most.allows(segment);
        self.bytes += u64::from(segment.len);
    }

    /// All bytes; `None` if there are none or too many, or a segment was not right.
    #[inline]
    fn bytes(self) -> Option<u32> {
        let fits = self.bytes.wrapping_sub(1) < u64::from(MOST_DATA);
        (self.all_right && fits).then_some(self.bytes as u32)
    }
}

/// What the data segments of a chain have in common. Takes fewer instructions than a [`Sum`], and is sure of less.
#[derive(Clone, Copy, Debug, Default)]
struct Common {
    addresses: u64,
    /// Bytes of each beyond its first one. All ones if one is empty.
    beyond_first: u32,
    bytes: u64,
}

impl Common {
    #[inline]
    const fn add(&mut self, segment: Segment) {
        self.addresses |= segment.addr.get();
        self.beyond_first |= segment.len.wrapping_sub(1);
        self.bytes += segment.len as u64;
    }

    /// All bytes; `None` if there are none or too many, or a segment may not be right. Whether it is, a [`Sum`] tells.
    #[inline]
    fn bytes(self, most: SegmentLimit) -> Option<u32> {
        // No segment that starts below that wraps around the address space.
        let none_wraps = self.addresses < 1 << 63;
        let fits = self.bytes.wrapping_sub(1) < u64::from(MOST_DATA);
        (none_wraps && u64::from(self.beyond_first) < most.0 && fits).then_some(self.bytes as u32)
    }
}

/// Data segments that were checked: none is empty, none wraps around the address space, and together they are not too long.
#[derive(Clone, Copy, Debug)]
pub struct Data<'s> {
    segments: &'s [Segment],
    bytes: u32,
}

impl<'s> Data<'s> {
    /// Segments of at most `most` bytes each, and 2^31 - 1 together. `None` if there is none, or something else is wrong.
    #[inline]
    pub fn new(segments: &'s [Segment], most: SegmentLimit) -> Option<Self> {
        let mut sum = Sum::new(most);
        segments.iter().for_each(|segment| sum.add(*segment));
        let bytes = sum.bytes()?;
        Some(Self { segments, bytes })
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
    const fn form(self, data_segments: usize, place: Place) -> Form {
        Form::new(self.number, data_segments, place)
    }

    /// Bytes the device may write in a chain.
    #[inline]
    fn writable(self, data_bytes: u32) -> u32 {
        u32::from(self.status_bytes) + if self.data_is_writable { data_bytes } else { 0 }
    }
}

/// A chain that came back and is still written as it was, but for its data segments, which were replaced.
///
/// Dropping the value leaves the queue as it was.
#[derive(Debug)]
pub struct Frame<'q, T, const N: usize, M> {
    rings: &'q mut Rings<T, N, M>,
    head: u16,
    bytes: u32,
    shape: Shape,
}

impl<'q, T, const N: usize, M: RingMemory> Frame<'q, T, N, M> {
    /// The next chain, if one of that shape with one data segment is written where it is to be, and `data` is right.
    #[inline]
    pub(crate) fn new(rings: &'q mut Rings<T, N, M>, shape: Shape, data: Segment, most: SegmentLimit) -> Option<Self> {
        let (head, written) = rings.slots.top()?;
        let form = shape.form(1, rings.placement.now());
        if !most.surely_allows(data) || written.form != form {
            return None;
        }
        // The chain is free. What its descriptors say means nothing until it is submitted.
        rings.memory.redirect(written.data, data);
        Some(Self {
            rings,
            head,
            bytes: data.len,
            shape,
        })
    }

    /// The next chain, if one of that shape with as many data segments is written where it is to be, and `data` is right at
    /// first sight.
    #[inline]
    pub(crate) fn of_list(
        rings: &'q mut Rings<T, N, M>,
        shape: Shape,
        data: &[Segment],
        most: SegmentLimit,
    ) -> Option<Self> {
        let (head, written) = rings.slots.top()?;
        let place = rings.placement.now_for(data.len());
        let form = shape.form(data.len(), place);
        if written.form != form || form == Form::UNKNOWN {
            return None;
        }
        let mut common = Common::default();
        if place == Place::Direct {
            let mut index = head;
            for &segment in data {
                common.add(segment);
                index = rings.slots.next(index);
                rings.memory.redirect(DescriptorPlace::of_descriptor(index), segment);
            }
        } else {
            rings
                .memory
                .redirect_table(head, 1, data, |segment| common.add(segment));
        }
        Some(Self {
            rings,
            head,
            bytes: common.bytes(most)?,
            shape,
        })
    }

    /// The slot the chain will occupy until it comes back, which is the one that it had.
    #[inline]
    pub fn slot(&self) -> u16 {
        self.head
    }

    /// Bytes of its data.
    #[inline]
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Hands the chain to the queue, to be shown to the device by the next [`publish`](crate::VirtQueue::publish).
    #[inline]
    pub fn submit(self, token: T) {
        let Self {
            rings,
            head,
            bytes,
            shape,
        } = self;
        let number = rings.submitted;
        rings.submitted += 1;
        rings.slots.take_top(head, token, number, shape.writable(bytes));
        rings.memory.write_available(number as u16, head);
    }
}

/// A chain of header, data and status that was written. Dropping the value leaves the queue as it was.
#[derive(Debug)]
pub struct Framed<'q, T, const N: usize, M> {
    rings: &'q mut Rings<T, N, M>,
    walk: Walk,
    writable: u32,
    written: Written,
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
        let data_place = if place == Place::Direct {
            Some(DescriptorPlace::of_descriptor(rings.slots.next(head)))
        } else {
            rings.memory.table_place(head, 1)
        };
        let written = data_place.map(|place_of_data| Written {
            form: shape.form(data.segments.len(), place),
            data: place_of_data,
        });
        Ok(Self {
            rings,
            walk,
            writable: shape.writable(data.bytes),
            written: written.unwrap_or(Written::UNKNOWN),
        })
    }

    /// Hands the chain to the queue, to be shown to the device by the next [`publish`](crate::VirtQueue::publish).
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub fn submit(self, token: T) {
        self.rings.add(self.walk, token, self.writable, self.written);
    }
}
