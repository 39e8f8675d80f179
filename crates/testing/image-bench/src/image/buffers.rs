//! The data of the requests.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bare_image::memory::DmaMemory;
use bare_image::report::stop;
use virtio_core::{DmaBuffer, DmaSegments, Segment};

use super::workload::Workload;

/// What a contender transfers with.
pub(crate) trait Buffer: DmaSegments + Sized {
    /// The name of the type in a report.
    const NAME: &'static str;

    /// A buffer for one request.
    fn allocate(workload: &Workload) -> Self;
}

fn memory(bytes: usize) -> DmaBuffer {
    match DmaBuffer::allocate(&mut DmaMemory, bytes, 4096) {
        Ok(buffer) => buffer,
        Err(error) => stop("run", "no-memory", &error),
    }
}

/// The address of the one segment of a request: eight bytes, as a user has who keeps buffers in a pool. Its memory is never freed.
#[derive(Debug)]
pub(crate) struct Handle(&'static Segment);

impl Buffer for Handle {
    const NAME: &'static str = "handle";

    fn allocate(workload: &Workload) -> Self {
        Self(Box::leak(Box::new(memory(workload.bytes).segments()[0])))
    }
}

// SAFETY: the segment is memory of a `DmaBuffer` that was leaked when the handle was made. No other value knows it.
unsafe impl DmaSegments for Handle {
    #[inline]
    fn segments(&self) -> &[Segment] {
        core::slice::from_ref(self.0)
    }
}

/// The address of a list of segments. Its memory is never freed.
#[derive(Debug)]
pub(crate) struct Gather(&'static &'static [Segment]);

impl Buffer for Gather {
    const NAME: &'static str = "list";

    fn allocate(workload: &Workload) -> Self {
        let each = workload.bytes / workload.segments;
        let pieces = (0..workload.segments).map(|_| memory(each).segments()[0]);
        let list: &[Segment] = Vec::leak(pieces.collect());
        Self(Box::leak(Box::new(list)))
    }
}

// SAFETY: as for `Handle`.
unsafe impl DmaSegments for Gather {
    #[inline]
    fn segments(&self) -> &[Segment] {
        self.0
    }
}

impl Buffer for DmaBuffer {
    const NAME: &'static str = "dma-buffer";

    fn allocate(workload: &Workload) -> Self {
        memory(workload.bytes)
    }
}
