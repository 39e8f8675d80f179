//! Lists of segments for requests in flight, lent to the driver and handed back with each completion.

use heapless::Vec;
use minix_blockdriver::StagingBlock;
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
    /// The block of staging memory that the segments lie in, if they lie in one.
    staging: Option<StagingBlock>,
}

impl List {
    /// The block of staging memory that the segments lie in.
    pub(crate) fn staging(&self) -> Option<StagingBlock> {
        self.staging
    }
}

impl AsRef<[Segment]> for List {
    fn as_ref(&self) -> &[Segment] {
        self.memory.get(..self.length).unwrap_or(&[])
    }
}

/// Lists that nobody has.
pub(crate) struct FreeLists(Vec<&'static mut Memory, LISTS>);

impl FreeLists {
    pub(crate) fn new(table: &'static mut ListTable) -> Self {
        Self(table.0.iter_mut().collect())
    }

    /// A list of those segments; `None` if there are more than 64, or all lists are out.
    pub(crate) fn take(
        &mut self,
        segments: impl ExactSizeIterator<Item = Segment>,
        staging: Option<StagingBlock>,
    ) -> Option<List> {
        let length = segments.len();
        if length > MAX_SEGMENTS {
            return None;
        }
        let memory = self.0.pop()?;
        for (place, segment) in memory.iter_mut().zip(segments) {
            *place = segment;
        }
        Some(List {
            memory,
            length,
            staging,
        })
    }

    /// Takes a list back.
    pub(crate) fn put_back(&mut self, list: List) {
        // There is room for every list there is.
        let _ = self.0.push(list.memory);
    }
}
