//! Lists of segments for requests in flight, one for each tag, lent to the driver and put back with each completion.

use minix_blockdriver::{BounceBuffer, Tag};
use virtio_core::{DeviceAddr, Segment};

/// Segments in one request at most.
pub(crate) const MAX_SEGMENTS: usize = 64;

/// Requests that the device has at a time at most.
pub(crate) const LISTS: usize = 64;

/// Memory for one list.
type Memory = [Segment; MAX_SEGMENTS];

/// Memory for all lists. A list is lent by reference: copying a kilobyte for every request would cost more than the rest
/// of the driver.
#[derive(Debug)]
pub struct ListTable([Memory; LISTS]);

impl ListTable {
    /// Memory for the lists.
    pub const fn new() -> Self {
        Self([[Segment::new(DeviceAddr(0), 0); MAX_SEGMENTS]; LISTS])
    }
}

impl Default for ListTable {
    fn default() -> Self {
        Self::new()
    }
}

/// The segments of one request.
#[derive(Debug)]
pub(crate) struct List {
    memory: &'static mut Memory,
    length: usize,
    /// The bounce buffer that the segments lie in, if they lie in one.
    pub(crate) bounce: Option<BounceBuffer>,
}

impl AsRef<[Segment]> for List {
    fn as_ref(&self) -> &[Segment] {
        self.memory.get(..self.length).unwrap_or(&[])
    }
}

/// The lists by tag; `None` while a request in flight has the list.
pub(crate) struct Lists([Option<&'static mut Memory>; LISTS]);

impl Lists {
    pub(crate) fn new(table: &'static mut ListTable) -> Self {
        Self(table.0.each_mut().map(Some))
    }

    /// The list of a tag, with those segments; `None` if there are more than 64, or the tag has no list, or it is lent.
    pub(crate) fn take(
        &mut self,
        tag: Tag,
        segments: impl ExactSizeIterator<Item = Segment>,
        bounce: Option<BounceBuffer>,
    ) -> Option<List> {
        let length = segments.len();
        if length > MAX_SEGMENTS {
            return None;
        }
        let memory = self.0.get_mut(usize::from(tag.0))?.take()?;
        for (place, segment) in memory.iter_mut().zip(segments) {
            *place = segment;
        }
        Some(List { memory, length, bounce })
    }

    /// The request with that tag is over.
    pub(crate) fn put_back(&mut self, tag: Tag, list: List) {
        if let Some(place) = self.0.get_mut(usize::from(tag.0)) {
            *place = Some(list.memory);
        }
    }
}
