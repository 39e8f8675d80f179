//! Lists of segments for requests in flight, one for each tag, lent to the driver and put back with each completion.

use minix_blockdriver::{BounceBuffer, GrantedRange as _, Refusal, Tag, Together};
use minix_rt::kernel::LentRange;
use virtio_core::{DeviceAddr, Segment};

/// Segments in one request at most.
pub(crate) const MAX_SEGMENTS: usize = 64;

/// Requests that the device has at a time at most.
pub(crate) const LISTS: usize = 64;

/// Memory for one list.
#[derive(Debug)]
struct Memory {
    segments: [Segment; MAX_SEGMENTS],
    length: u16,
    /// The bounce buffer that the segments lie in, if they lie in one.
    bounce: Option<BounceBuffer>,
}

impl Memory {
    const EMPTY: Self = Self {
        segments: [Segment::new(DeviceAddr(0), 0); MAX_SEGMENTS],
        length: 0,
        bounce: None,
    };
}

/// Memory for all lists. A list is lent by reference: copying a kilobyte for every request would cost more than the rest
/// of the driver.
#[derive(Debug)]
pub struct ListTable([Memory; LISTS]);

impl ListTable {
    /// Memory for the lists.
    pub const fn new() -> Self {
        Self([Memory::EMPTY; LISTS])
    }
}

impl Default for ListTable {
    fn default() -> Self {
        Self::new()
    }
}

/// The segments of one request. A single reference, since it moves with the request from hand to hand.
#[derive(Debug)]
pub(crate) struct List(&'static mut Memory);

impl List {
    /// The bounce buffer that the segments lie in, if they lie in one.
    pub(crate) const fn bounce(&self) -> Option<BounceBuffer> {
        self.0.bounce
    }
}

impl AsRef<[Segment]> for List {
    #[inline]
    fn as_ref(&self) -> &[Segment] {
        self.0.segments.get(..usize::from(self.0.length)).unwrap_or(&[])
    }
}

/// The lists by tag; `None` while a request in flight has the list.
pub(crate) struct Lists([Option<&'static mut Memory>; LISTS]);

impl Lists {
    pub(crate) fn new(table: &'static mut ListTable) -> Self {
        Self(table.0.each_mut().map(Some))
    }

    /// Puts ranges into the list of a tag. Answers what they have in common.
    ///
    /// # Errors
    ///
    /// [`Full`](Refusal::Full) if the tag has no list, or it is lent; [`Invalid`](Refusal::Invalid) if there are more than
    /// [`MAX_SEGMENTS`], or one is too long for a segment or empty.
    #[inline(always)]
    pub(crate) fn fill(&mut self, tag: Tag, ranges: &[LentRange]) -> Result<Together, Refusal> {
        let memory = self.0.get_mut(usize::from(tag.0)).and_then(Option::as_mut);
        let memory = memory.ok_or(Refusal::Full)?;
        memory.length = 0;
        let places = memory.segments.get_mut(..ranges.len()).ok_or(Refusal::Invalid)?;
        let together = match (&mut *places, ranges) {
            // Mostly it is one.
            ([place], [range]) => {
                let mut together = Together::default();
                list(place, range, &mut together);
                together
            }
            (places, ranges) => list_many(places, ranges),
        };
        if !together.fit_segments() {
            // No client has 4 GiB in one piece: its address space is no larger, and requests are counted in 31 bits.
            return Err(Refusal::Invalid);
        }
        memory.length = ranges.len() as u16;
        Ok(together)
    }

    /// The list of a tag, as it was filled; `None` if the tag has no list, or it is lent.
    #[inline]
    pub(crate) fn take(&mut self, tag: Tag) -> Option<List> {
        let memory = self.0.get_mut(usize::from(tag.0))?.take()?;
        memory.bounce = None;
        Some(List(memory))
    }

    /// The list of a tag, with a segment in a bounce buffer; `None` if the tag has no list, or it is lent.
    pub(crate) fn take_bounce(&mut self, tag: Tag, segment: Segment, buffer: BounceBuffer) -> Option<List> {
        let memory = self.0.get_mut(usize::from(tag.0))?.take()?;
        memory.segments[0] = segment;
        memory.length = 1;
        memory.bounce = Some(buffer);
        Some(List(memory))
    }

    /// The request with that tag is over, and its list is empty.
    pub(crate) fn put_back(&mut self, tag: Tag, list: List) {
        list.0.length = 0;
        if let Some(place) = self.0.get_mut(usize::from(tag.0)) {
            *place = Some(list.0);
        }
    }
}

/// Puts a range into its place.
#[inline(always)]
fn list(place: &mut Segment, range: &LentRange, together: &mut Together) {
    *place = Segment::new(DeviceAddr(range.address()), range.bytes() as u32);
    together.add(range);
}

/// Puts as many ranges into as many places.
#[inline(never)]
fn list_many(places: &mut [Segment], ranges: &[LentRange]) -> Together {
    let mut together = Together::default();
    // Four at a time, since the loop takes as long as one.
    let (fours, rest) = places.as_chunks_mut();
    let (range_fours, range_rest) = ranges.as_chunks();
    for ([place1, place2, place3, place4], [range1, range2, range3, range4]) in fours.iter_mut().zip(range_fours) {
        list(place1, range1, &mut together);
        list(place2, range2, &mut together);
        list(place3, range3, &mut together);
        list(place4, range4, &mut together);
    }
    for (place, range) in rest.iter_mut().zip(range_rest) {
        list(place, range, &mut together);
    }
    together
}
