//! Memory of the service: with an end, and all of it known, so that a run leaves nothing.

use std::alloc::Layout;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::rc::Rc;

use virtio_blk_model::{Model, ModelDma};
use virtio_core::{Dma, DmaError, DmaRegion};

struct PageLedger {
    inner: ModelDma,
    pages_left: usize,
    /// What is handed out: by device address, where it is and how long.
    lent: BTreeMap<u64, (NonNull<u8>, usize)>,
}

/// Clones are handles to the same memory.
#[derive(Clone)]
pub(crate) struct BoundedDma(Rc<RefCell<PageLedger>>);

impl BoundedDma {
    pub(crate) fn new(model: &Model, pages: usize) -> Self {
        Self(Rc::new(RefCell::new(PageLedger {
            inner: model.dma(),
            pages_left: pages,
            lent: BTreeMap::new(),
        })))
    }

    /// Gives the model back what the driver never will, since it keeps some of its memory for good.
    pub(crate) fn release_all(&self) {
        let ledger = &mut *self.0.borrow_mut();
        for (address, (start, bytes)) in std::mem::take(&mut ledger.lent) {
            // SAFETY: the region was handed out and not released, and who had it is gone.
            let region = unsafe { DmaRegion::from_raw_parts(start, bytes, virtio_core::DeviceAddr(address)) };
            ledger.inner.release(region);
        }
    }
}

impl Dma for BoundedDma {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        let ledger = &mut *self.0.borrow_mut();
        let pages = layout.size().div_ceil(4096);
        ledger.pages_left = ledger.pages_left.checked_sub(pages).ok_or(DmaError::OutOfMemory)?;
        let region = ledger.inner.allocate(layout)?;
        let place = (region.as_ptr(), region.len());
        ledger.lent.insert(region.device_addr().get(), place);
        Ok(region)
    }

    fn release(&mut self, region: DmaRegion) {
        let ledger = &mut *self.0.borrow_mut();
        ledger.pages_left += region.len().div_ceil(4096);
        ledger.lent.remove(&region.device_addr().get());
        ledger.inner.release(region);
    }
}
