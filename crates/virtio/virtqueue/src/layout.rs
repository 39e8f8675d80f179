//! Where the parts of a split virtqueue lie inside one piece of memory.
//!
//! Modern devices are told three addresses; legacy devices compute the second and third from the first. Both layouts
//! are made here, so that the rest of the crate only knows offsets. The indirect tables, one per slot, follow the ring.

use core::alloc::Layout;

use virtio_core::QueueSize;

/// Bytes of one descriptor.
pub(crate) const DESCRIPTOR_BYTES: usize = 16;

/// Alignment in bytes of the used ring and of the whole ring on legacy interfaces: what every legacy driver uses.
pub const LEGACY_ALIGN: usize = 4096;

/// Distance that keeps what the driver writes and what the device writes in different cache lines.
const CACHE_LINE: usize = 64;

/// Where a device expects the parts of a queue. Both are layouts of the split format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RingLayout {
    /// Version 1.0 and later: three addresses of our choice.
    Modern,
    /// Legacy: one page-aligned block of fixed layout (`LEG-D-08`, `LEG-D-09`).
    Legacy,
}

/// Byte offsets of the parts of a virtqueue.
///
/// Only [`RingOffsets::new`] makes one, so that the offsets can be relied on for memory safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RingOffsets {
    /// Number of descriptors.
    pub(crate) size: QueueSize,
    /// The available ring (driver area). The descriptor table is at offset 0.
    pub(crate) available: usize,
    /// The used ring (device area).
    pub(crate) used: usize,
    /// The indirect tables.
    pub(crate) tables: usize,
    /// Entries of one indirect table; 0 for none.
    pub(crate) table_entries: u16,
    /// All of it, in bytes.
    pub(crate) total: usize,
    /// What the start must be aligned to, in bytes.
    pub(crate) align: usize,
}

impl RingOffsets {
    /// Where `size` descriptors lie, each slot with an indirect table of `table_entries` entries.
    ///
    /// For tables that are too large for the address space no memory is large enough.
    pub const fn new(layout: RingLayout, size: QueueSize, table_entries: u16) -> Self {
        let count = size.get() as usize;
        let available = DESCRIPTOR_BYTES * count;
        let available_end = available + 6 + 2 * count;
        let used_bytes = 6 + 8 * count;
        let (used, ring_end, align) = match layout {
            RingLayout::Modern => {
                let used = available_end.next_multiple_of(CACHE_LINE);
                (used, used + used_bytes, CACHE_LINE)
            }
            RingLayout::Legacy => {
                let used = available_end.next_multiple_of(LEGACY_ALIGN);
                (used, used + used_bytes.next_multiple_of(LEGACY_ALIGN), LEGACY_ALIGN)
            }
        };
        let tables = ring_end.next_multiple_of(CACHE_LINE);
        let table_bytes = (DESCRIPTOR_BYTES * count).saturating_mul(table_entries as usize);
        Self {
            size,
            available,
            used,
            tables,
            table_entries,
            total: tables.saturating_add(table_bytes),
            align,
        }
    }

    /// What to ask of an allocator: size and alignment in bytes.
    ///
    /// `None` if the address space of the machine is too small for it, which takes a 32-bit machine and absurd tables.
    pub fn memory(&self) -> Option<Layout> {
        Layout::from_size_align(self.total, self.align).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Shows LEG-D-08.
    #[test]
    fn legacy_offsets_are_the_ones_a_legacy_device_computes() {
        for (size, used, total) in [
            (8, 4096, 8192),
            (256, 8192, 12288),
            (512, 12288, 20480),
            (32768, 593_920, 860_160),
        ] {
            let offsets = RingOffsets::new(RingLayout::Legacy, QueueSize::new(size).unwrap(), 0);
            assert_eq!((offsets.used, offsets.total), (used, total), "size {size}");
        }
    }

    // Shows RING-D-01.
    #[test]
    fn every_part_is_aligned_and_none_overlap() {
        for layout in [RingLayout::Modern, RingLayout::Legacy] {
            for shift in 0..16 {
                let size = 1u16 << shift;
                let offsets = RingOffsets::new(layout, QueueSize::new(size).unwrap(), 5);
                let n = usize::from(size);
                assert_eq!(offsets.available % 2, 0);
                assert_eq!(offsets.used % 4, 0);
                assert_eq!(offsets.tables % 16, 0);
                assert!(offsets.available >= 16 * n);
                assert!(offsets.used >= offsets.available + 6 + 2 * n);
                assert!(offsets.tables >= offsets.used + 6 + 8 * n);
                assert_eq!(offsets.total, offsets.tables + 16 * 5 * n);
            }
        }
    }
}
