//! The memory that driver and device share, and which parts of it the driver holds.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Arc;

use virtio_core::{DeviceAddr, DmaError, DmaRegion};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

/// The guest memory of rust-vmm.
pub type Memory = GuestMemoryMmap<()>;

const PAGE: u64 = 4096;

pub(crate) struct Arena {
    memory: Arc<Memory>,
    base: u64,
    end: u64,
    /// Start and length in bytes of the pieces that the driver holds.
    live: BTreeMap<u64, u64>,
    /// Memory below this was in use before and may be dirty.
    high_water: u64,
}

impl Arena {
    pub(crate) fn new(base: u64, bytes: usize) -> Self {
        // A mapping of the host starts with a page, but not where Miri stands in for it. What both sides call a page is made the same.
        let region = MmapRegion::new(bytes + PAGE as usize).expect("the host has memory for the model");
        let before = (region.as_ptr().addr() as u64).wrapping_neg() % PAGE;
        let region = GuestRegionMmap::new(region, GuestAddress(base - before)).expect("the memory fits in");
        let memory = Memory::from_regions(vec![region]).expect("one region is in nothing's way");
        Self {
            memory: Arc::new(memory),
            base,
            end: base + bytes as u64,
            live: BTreeMap::new(),
            high_water: base,
        }
    }

    pub(crate) fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.memory)
    }

    /// Gives the driver zeroed memory, at least page-aligned. Pieces never touch, so an overrun by one byte is noticed.
    pub(crate) fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        let len = layout.size() as u64;
        if len == 0 || layout.align() as u64 > PAGE {
            return Err(DmaError::UnsupportedLayout);
        }
        let start = self.first_gap(len).ok_or(DmaError::OutOfMemory)?;
        if start < self.high_water {
            self.fill(start, len, 0);
        }
        self.high_water = self.high_water.max(start + len);
        self.live.insert(start, len);
        let host = self
            .memory
            .get_host_address(GuestAddress(start))
            .expect("inside the memory");
        let host = NonNull::new(host).expect("a mapping is not at address zero");
        // SAFETY: the memory is mapped for reading and writing, and stays so while the driver holds any of it (see `Drop`).
        // The list of live pieces makes sure that no other region has these bytes. The device part of this crate reads and
        // writes them through rust-vmm, as a device would.
        Ok(unsafe { DmaRegion::from_raw_parts(host, layout.size(), DeviceAddr(start)) })
    }

    /// Takes memory back and overwrites its content. Returns whether the driver held it.
    pub(crate) fn release(&mut self, start: u64) -> bool {
        match self.live.remove(&start) {
            Some(len) => {
                self.fill(start, len, 0xDD);
                true
            }
            None => false,
        }
    }

    /// Whether all of `len` bytes at `start` lie in one piece that the driver holds.
    pub(crate) fn holds(&self, start: u64, len: u64) -> bool {
        let Some((&piece, &bytes)) = self.live.range(..=start).next_back() else {
            return false;
        };
        start.checked_add(len).is_some_and(|end| end <= piece + bytes)
    }

    /// How many pieces the driver holds.
    pub(crate) fn count(&self) -> usize {
        self.live.len()
    }

    fn fill(&self, start: u64, len: u64, byte: u8) {
        let bytes = vec![byte; len as usize];
        self.memory
            .write_slice(&bytes, GuestAddress(start))
            .expect("inside the memory");
    }

    fn first_gap(&self, len: u64) -> Option<u64> {
        let mut start = self.base;
        for (&piece, &bytes) in &self.live {
            if start.checked_add(len)? < piece {
                break;
            }
            // One byte more, so that the next page boundary is never the very end of a piece.
            start = (piece + bytes + 1).next_multiple_of(PAGE);
        }
        (start.checked_add(len)? <= self.end).then_some(start)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if !self.live.is_empty() {
            // The driver may still look into the memory it holds, so the mapping stays for ever.
            std::mem::forget(Arc::clone(&self.memory));
        }
    }
}
