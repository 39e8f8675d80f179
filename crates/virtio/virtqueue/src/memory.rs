//! How a queue reaches its rings: the only place in the crate that touches shared memory.
//!
//! The queue's logic speaks to the [`RingMemory`] trait and names the memory ordering of every access that has one.
//! [`DmaRing`] carries that out on real memory; a model checker's memory can stand in for it, and then it is the
//! queue's own orderings and fences that are checked.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicU16, Ordering};

use virtio_core::{CpuAddresses, DeviceAddr, DmaRegion, QueueSetup, Segment, fence};

use crate::layout::{DESCRIPTOR_BYTES, LEGACY_ALIGN, RingOffsets};

/// Flag bits of descriptors and rings.
pub mod flags {
    /// Descriptor: another one follows.
    pub const NEXT: u16 = 1;
    /// Descriptor: the device writes here.
    pub const WRITE: u16 = 2;
    /// Descriptor: it names a table of descriptors.
    pub const INDIRECT: u16 = 4;
    /// Either ring: the other side need not notify.
    pub const NO_NOTIFICATION: u16 = 1;
}

/// One descriptor as the device reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Descriptor {
    /// Where the memory is.
    pub addr: DeviceAddr,
    /// How many bytes.
    pub len: u32,
    /// [`flags::NEXT`], [`flags::WRITE`], [`flags::INDIRECT`].
    pub flags: u16,
    /// Index of the next descriptor, if there is one.
    pub next: u16,
}

impl Descriptor {
    #[inline]
    pub(crate) const fn new(segment: Segment, flags: u16, next: u16) -> Self {
        Self {
            addr: segment.addr,
            len: segment.len,
            flags,
            next,
        }
    }
}

/// An element of the used ring as the device wrote it: nothing about it has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UsedElement {
    /// Head of the chain the device claims to be done with.
    pub id: u32,
    /// Bytes it claims to have written.
    pub len: u32,
}

/// Where a descriptor lies, in the descriptor table or in an indirect one: what it is found by without a detour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Bytes from the start of the descriptor table.
pub struct DescriptorPlace(u32);

impl DescriptorPlace {
    /// The place of a descriptor of the descriptor table.
    #[inline]
    pub const fn of_descriptor(index: u16) -> Self {
        Self(DESCRIPTOR_BYTES as u32 * index as u32)
    }

    /// The place so many bytes after the start of the descriptor table, which must be whole descriptors. `None` if that is too far away for
    /// the type.
    const fn at(offset: usize) -> Option<Self> {
        if offset.is_multiple_of(DESCRIPTOR_BYTES) && offset <= u32::MAX as usize {
            Some(Self(offset as u32))
        } else {
            None
        }
    }

    /// How many descriptors have room before it. In the descriptor table that is the index.
    pub const fn number(self) -> u32 {
        self.0 / DESCRIPTOR_BYTES as u32
    }
}

/// The memory of one virtqueue.
///
/// Slots wrap around at the queue size and table entries outside a table are ignored, so that no argument can reach
/// outside the memory.
pub trait RingMemory {
    /// Writes a descriptor of the table.
    fn write_descriptor(&mut self, index: u16, descriptor: Descriptor);
    /// Writes an entry of the indirect table of slot `table`.
    fn write_table_entry(&mut self, table: u16, entry: u16, descriptor: Descriptor);
    /// Writes entries of the indirect table of slot `table`, from the first on.
    fn write_table(&mut self, table: u16, entries: impl Iterator<Item = Descriptor>) {
        entries
            .zip(0..=u16::MAX)
            .for_each(|(descriptor, entry)| self.write_table_entry(table, entry, descriptor));
    }
    /// The place of an entry of the indirect table of slot `table`; `None` if there is no such entry.
    fn table_place(&self, table: u16, entry: u16) -> Option<DescriptorPlace>;
    /// Gives the descriptor at `place` another address and length. Its flags and its link stay.
    fn redirect(&mut self, place: DescriptorPlace, segment: Segment);
    /// Does so with entries of the indirect table of slot `table`, from number `first` on, and shows each segment to `look`.
    fn redirect_table(&mut self, table: u16, first: u16, segments: &[Segment], mut look: impl FnMut(Segment)) {
        segments.iter().zip(first..=u16::MAX).for_each(|(&segment, entry)| {
            look(segment);
            if let Some(place) = self.table_place(table, entry) {
                self.redirect(place, segment);
            }
        });
    }
    /// Where the device sees the indirect table of slot `table`.
    fn table_addr(&self, table: u16) -> DeviceAddr;
    /// Writes the head of a chain into a slot of the available ring.
    fn write_available(&mut self, slot: u16, head: u16);
    /// Publishes the available index.
    fn store_available_index(&mut self, index: u16, order: Ordering);
    /// Sets the flags of the available ring.
    fn store_available_flags(&mut self, flags: u16, order: Ordering);
    /// Sets `used_event`: the used index at which the driver wants an interrupt.
    fn store_used_event(&mut self, event: u16, order: Ordering);
    /// Reads the index of the used ring.
    fn load_used_index(&self, order: Ordering) -> u16;
    /// Reads the flags of the used ring.
    fn load_used_flags(&self, order: Ordering) -> u16;
    /// Reads `avail_event`: the available index at which the device wants a notification.
    fn load_avail_event(&self, order: Ordering) -> u16;
    /// Reads an element of the used ring.
    fn read_used(&self, slot: u16) -> UsedElement;
    /// Reads elements of the used ring as [`read_used`](Self::read_used) does, one after the other.
    fn used_reader(&self) -> impl Fn(u16) -> UsedElement {
        |slot| self.read_used(slot)
    }
    /// Orders all stores before all later loads.
    fn store_load_fence(&self);
}

/// Rings in DMA memory.
#[derive(Debug)]
pub struct DmaRing {
    descriptors: NonNull<u8>,
    available: NonNull<u8>,
    used: NonNull<u8>,
    tables: NonNull<u8>,
    tables_addr: DeviceAddr,
    mask: u16,
    /// Bytes of one indirect table.
    table_bytes: usize,
    offsets: RingOffsets,
    region: DmaRegion,
}

// SAFETY: the pointers all point into `region`, which the value owns and which may move between threads.
unsafe impl Send for DmaRing {}
// SAFETY: through a shared reference memory is only read, and what is read is read by volatile or atomic loads.
unsafe impl Sync for DmaRing {}

impl DmaRing {
    /// Lays the ring out in `region` and zeroes it.
    ///
    /// # Errors
    ///
    /// The region comes back if it is too small or not aligned, for the CPU or for the device.
    pub fn new(offsets: RingOffsets, mut region: DmaRegion) -> Result<Self, DmaRegion> {
        let aligned = region.as_ptr().addr().get().is_multiple_of(offsets.align)
            && region.device_addr().is_aligned_to(offsets.align as u64);
        if region.len() < offsets.total || !aligned {
            return Err(region);
        }
        region.zero();
        let start = region.as_ptr();
        // SAFETY: the offsets are not above the total, which the region holds.
        let (available, used, tables) = unsafe {
            (
                start.add(offsets.available),
                start.add(offsets.used),
                start.add(offsets.tables),
            )
        };
        Ok(Self {
            descriptors: start,
            available,
            used,
            tables,
            tables_addr: region.device_addr().wrapping_add(offsets.tables as u64),
            mask: offsets.size.mask(),
            table_bytes: DESCRIPTOR_BYTES * usize::from(offsets.table_entries),
            offsets,
            region,
        })
    }

    /// What the transport has to tell the device, without an interrupt vector.
    pub fn setup(&self) -> QueueSetup {
        let start = self.region.device_addr();
        let cpu = self.region.as_ptr().addr().get();
        QueueSetup {
            size: self.offsets.size,
            descriptor_table: start,
            driver_area: start.wrapping_add(self.offsets.available as u64),
            device_area: start.wrapping_add(self.offsets.used as u64),
            legacy_align: LEGACY_ALIGN as u32,
            cpu: Some(CpuAddresses {
                descriptor_table: cpu,
                driver_area: cpu + self.offsets.available,
                device_area: cpu + self.offsets.used,
            }),
            vector: None,
        }
    }

    /// Zeroes the memory, for another queue in it. The device must have let go of it.
    pub fn zero(&mut self) {
        self.region.zero();
    }

    /// The memory back. The device must have let go of it.
    pub fn into_region(self) -> DmaRegion {
        self.region
    }

    /// The 16-bit field `offset` bytes into the available ring.
    ///
    /// # Safety
    ///
    /// `offset` is even and below the size of the available ring.
    #[inline]
    unsafe fn available_field(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: inside the region by the caller's word, aligned because the ring is; shared with the device, hence
        // atomic.
        unsafe { self.available.add(offset).cast().as_ref() }
    }

    /// The 16-bit field `offset` bytes into the used ring.
    ///
    /// # Safety
    ///
    /// `offset` is even and below the size of the used ring.
    #[inline]
    unsafe fn used_field(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: as for the available ring.
        unsafe { self.used.add(offset).cast().as_ref() }
    }

    /// The descriptor at `place`. All places of this ring are inside it.
    #[inline]
    fn descriptor(&self, place: DescriptorPlace) -> Option<&DescriptorCell> {
        let offset = place.0 as usize;
        // SAFETY: the descriptor starts before the end of the ring. It ends there at the latest, since both are multiples of its
        // size. A descriptor of this ring is used as nothing else.
        (offset < self.offsets.total).then(|| unsafe { self.descriptors.add(offset).cast().as_ref() })
    }

    /// The entries of the indirect table of slot `table`.
    #[inline]
    fn table(&self, table: u16) -> &[DescriptorCell] {
        let (offset, entries) = (
            usize::from(table & self.mask) * self.table_bytes,
            usize::from(self.offsets.table_entries),
        );
        // SAFETY: the layout has room for as many tables as descriptors, and the masked number is one of them. They are used as
        // nothing else.
        unsafe { slice::from_raw_parts(self.tables.add(offset).cast().as_ptr(), entries) }
    }
}

/// A descriptor in DMA memory. It is written by volatile stores, because the device reads it.
#[repr(transparent)]
struct DescriptorCell(UnsafeCell<[u64; 2]>);

impl DescriptorCell {
    #[inline]
    fn write(&self, descriptor: Descriptor) {
        let rest = u64::from(descriptor.len) | u64::from(descriptor.flags) << 32 | u64::from(descriptor.next) << 48;
        let words = self.0.get().cast::<u64>();
        // SAFETY: two aligned words, of which there is no other reference.
        unsafe {
            words.write_volatile(descriptor.addr.get().to_le());
            words.add(1).write_volatile(rest.to_le());
        }
    }

    #[inline]
    fn redirect(&self, segment: Segment) {
        let words = self.0.get().cast::<u64>();
        // SAFETY: the first word, and the first half of the second one.
        unsafe {
            words.write_volatile(segment.addr.get().to_le());
            words.add(1).cast::<u32>().write_volatile(segment.len.to_le());
        }
    }
}

impl RingMemory for DmaRing {
    #[inline]
    fn write_descriptor(&mut self, index: u16, descriptor: Descriptor) {
        if let Some(cell) = self.descriptor(DescriptorPlace::of_descriptor(index & self.mask)) {
            cell.write(descriptor);
        }
    }

    #[inline]
    fn write_table_entry(&mut self, table: u16, entry: u16, descriptor: Descriptor) {
        if let Some(cell) = self.table(table).get(usize::from(entry)) {
            cell.write(descriptor);
        }
    }

    #[inline]
    fn write_table(&mut self, table: u16, entries: impl Iterator<Item = Descriptor>) {
        let mut cells = self.table(table).iter();
        entries.for_each(|descriptor| {
            if let Some(cell) = cells.next() {
                cell.write(descriptor);
            }
        });
    }

    #[inline]
    fn table_place(&self, table: u16, entry: u16) -> Option<DescriptorPlace> {
        if entry >= self.offsets.table_entries {
            return None;
        }
        let in_tables = usize::from(table & self.mask) * self.table_bytes + DESCRIPTOR_BYTES * usize::from(entry);
        DescriptorPlace::at(self.offsets.tables + in_tables)
    }

    #[inline]
    fn redirect(&mut self, place: DescriptorPlace, segment: Segment) {
        if let Some(cell) = self.descriptor(place) {
            cell.redirect(segment);
        }
    }

    #[inline]
    fn redirect_table(&mut self, table: u16, first: u16, segments: &[Segment], mut look: impl FnMut(Segment)) {
        let mut redirect = |(cell, segment): (&DescriptorCell, &Segment)| {
            look(*segment);
            cell.redirect(*segment);
        };
        let cells = self.table(table).get(usize::from(first)..).unwrap_or(&[]);
        // Four at a time, since the loop takes half as long as an entry.
        let (fours, rest) = segments.as_chunks();
        let (cell_fours, _) = cells.as_chunks();
        for ([cell1, cell2, cell3, cell4], [first, second, third, fourth]) in cell_fours.iter().zip(fours) {
            redirect((cell1, first));
            redirect((cell2, second));
            redirect((cell3, third));
            redirect((cell4, fourth));
        }
        let rest_cells = cells.get(4 * fours.len()..).unwrap_or(&[]);
        rest_cells.iter().zip(rest).for_each(redirect);
    }

    #[inline]
    fn table_addr(&self, table: u16) -> DeviceAddr {
        let offset = usize::from(table & self.mask) * self.table_bytes;
        self.tables_addr.wrapping_add(offset as u64)
    }

    #[inline]
    fn write_available(&mut self, slot: u16, head: u16) {
        let offset = 4 + 2 * usize::from(slot & self.mask);
        // SAFETY: the masked slot is one of the ring's.
        unsafe { self.available_field(offset) }.store(head.to_le(), Ordering::Relaxed);
    }

    #[inline]
    fn store_available_index(&mut self, index: u16, order: Ordering) {
        // SAFETY: the index is the second field of the ring.
        unsafe { self.available_field(2) }.store(index.to_le(), order);
    }

    #[inline]
    fn store_available_flags(&mut self, flags: u16, order: Ordering) {
        // SAFETY: the flags are the first field of the ring.
        unsafe { self.available_field(0) }.store(flags.to_le(), order);
    }

    #[inline]
    fn store_used_event(&mut self, event: u16, order: Ordering) {
        let offset = 4 + 2 * (usize::from(self.mask) + 1);
        // SAFETY: the event field follows the last slot, and the layout counts it.
        unsafe { self.available_field(offset) }.store(event.to_le(), order);
    }

    #[inline]
    fn load_used_index(&self, order: Ordering) -> u16 {
        // SAFETY: the index is the second field of the ring.
        u16::from_le(unsafe { self.used_field(2) }.load(order))
    }

    #[inline]
    fn load_used_flags(&self, order: Ordering) -> u16 {
        // SAFETY: the flags are the first field of the ring.
        u16::from_le(unsafe { self.used_field(0) }.load(order))
    }

    #[inline]
    fn load_avail_event(&self, order: Ordering) -> u16 {
        let offset = 4 + 8 * (usize::from(self.mask) + 1);
        // SAFETY: the event field follows the last element, and the layout counts it.
        u16::from_le(unsafe { self.used_field(offset) }.load(order))
    }

    #[inline]
    fn read_used(&self, slot: u16) -> UsedElement {
        self.used_reader()(slot)
    }

    #[inline]
    fn used_reader(&self) -> impl Fn(u16) -> UsedElement {
        // On its own, so that it stays in registers whatever is written in between.
        let (used, mask) = (self.used, self.mask);
        move |slot| {
            let offset = 4 + 8 * usize::from(slot & mask);
            // SAFETY: the ring is borrowed, and the masked slot is one of its; elements are 4-byte aligned. Volatile, because the
            // device writes them, and read once each.
            unsafe {
                let element = used.add(offset).cast::<u32>();
                UsedElement {
                    id: u32::from_le(element.read_volatile()),
                    len: u32::from_le(element.add(1).read_volatile()),
                }
            }
        }
    }

    #[inline]
    fn store_load_fence(&self) {
        fence::store_then_load();
    }
}
