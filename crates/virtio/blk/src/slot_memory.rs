//! Header, status byte and small answers of every request, laid out per slot when the queue is made.

use core::alloc::Layout;
use core::ptr::NonNull;

use virtio_blk_proto::zoned::AppendTail;
use virtio_blk_proto::{DeviceIdString, Lifetime, RangeSegment, RequestHeader, Sector, Status};
use virtio_core::{DmaRegion, QueueSize, Segment};
use zerocopy::{FromBytes, IntoBytes, transmute};

use crate::class::HeaderMarks;

/// Bytes of the header of a slot. The headers of all slots come first.
const HEADER_BYTES: usize = 16;
/// Bytes of the rest of a slot, which is payload and status. The rests of all slots follow the headers.
// Both are powers of two, so that a slot is found with one shift for both.
const REST_BYTES: usize = 2 * HEADER_BYTES;
/// Bytes of one slot.
const SLOT_BYTES: usize = HEADER_BYTES + REST_BYTES;
/// What the memory is aligned to, in bytes.
const ALIGN: usize = 64;
/// In the rest: a range to work on, or the answer of the device if it is not block data.
const PAYLOAD: usize = 0;
/// Room for the payload in bytes.
const PAYLOAD_BYTES: usize = 31;
/// In the rest: the status byte.
const STATUS: usize = PAYLOAD + PAYLOAD_BYTES;
/// In the rest: the end of an append, which is the payload's last bytes and the status.
const APPEND_TAIL: usize = STATUS + 1 - AppendTail::BYTES as usize;

const _: () = {
    assert!(RequestHeader::BYTES as usize == HEADER_BYTES);
    assert!(RangeSegment::BYTES as usize <= PAYLOAD_BYTES);
    assert!(DeviceIdString::BYTES as usize <= PAYLOAD_BYTES);
    assert!(Lifetime::BYTES as usize <= PAYLOAD_BYTES);
    assert!(STATUS < REST_BYTES);
};

/// One slot per descriptor of the queue. Slot numbers wrap around at the queue size.
///
/// The device reads headers and ranges and writes answers and status; all accesses are volatile, and what the device
/// writes is read once.
#[derive(Debug)]
pub(crate) struct SlotMemory {
    region: DmaRegion,
    /// Bytes from the first header to the last one. As a mask it leaves a slot's bits of an offset.
    last_header: usize,
    marks: HeaderMarks,
}

impl SlotMemory {
    /// What to ask of an allocator.
    pub(crate) fn layout(size: QueueSize) -> Option<Layout> {
        Layout::from_size_align(SLOT_BYTES * usize::from(size.get()), ALIGN).ok()
    }

    /// Slots in `region`.
    ///
    /// # Errors
    ///
    /// The region comes back if it is too small or not aligned.
    pub(crate) fn new(size: QueueSize, region: DmaRegion) -> Result<Self, DmaRegion> {
        let aligned =
            region.as_ptr().addr().get().is_multiple_of(ALIGN) && region.device_addr().is_aligned_to(ALIGN as u64);
        if !aligned || region.len() < SLOT_BYTES * usize::from(size.get()) {
            return Err(region);
        }
        Ok(Self {
            region,
            last_header: HEADER_BYTES * usize::from(size.mask()),
            marks: HeaderMarks::default(),
        })
    }

    /// What is added to every header that is written from now on. Returns what was added before.
    pub(crate) fn set_marks(&mut self, marks: HeaderMarks) -> HeaderMarks {
        core::mem::replace(&mut self.marks, marks)
    }

    /// What is added to every header.
    pub(crate) fn marks(&self) -> HeaderMarks {
        self.marks
    }

    /// Returns the memory. The device must not use it any more.
    pub(crate) fn into_region(self) -> DmaRegion {
        self.region
    }

    /// Bytes from the start of the memory to the header of a slot.
    #[inline]
    fn header_offset(&self, slot: u16) -> usize {
        (HEADER_BYTES * usize::from(slot)) & self.last_header
    }

    /// Bytes from the start of the memory to the rest of a slot.
    #[inline]
    fn rest_offset(&self, slot: u16) -> usize {
        self.last_header + HEADER_BYTES + 2 * self.header_offset(slot)
    }

    /// A pointer `field` bytes into the rest of a slot.
    #[inline]
    fn at(&self, slot: u16, field: usize) -> NonNull<u8> {
        // SAFETY: the masked slot is one of those the region was made for, and every field lies inside the rest.
        unsafe { self.region.as_ptr().add(self.rest_offset(slot) + field) }
    }

    /// What the device sees `offset` bytes from the start of the memory.
    #[inline]
    fn segment(&self, offset: usize, len: u32) -> Segment {
        Segment::new(self.region.device_addr().wrapping_add(offset as u64), len)
    }

    /// Writes the header of a request, with the [marks](Self::set_marks) of the queue. Its status reads as not written. Returns where the header is.
    #[inline]
    pub(crate) fn start(&mut self, slot: u16, header: RequestHeader) -> Segment {
        let words: [u64; 2] = transmute!(header);
        let (offset, status) = (self.header_offset(slot), self.at(slot, STATUS));
        // SAFETY: the 16 bytes of the header, which is aligned to 16; the status byte is inside the slot too.
        unsafe {
            let to = self.region.as_ptr().add(offset).cast::<u64>();
            to.write_volatile(words[0] | self.marks.0.to_le());
            to.add(1).write_volatile(words[1]);
            status.write_volatile(Status::NOT_WRITTEN.0);
        }
        self.segment(offset, RequestHeader::BYTES)
    }

    /// Gives the header of an earlier request another position and marks the status as not written. The type stays.
    #[inline]
    pub(crate) fn restart(&mut self, slot: u16, sector: Sector) {
        let (offset, status) = (self.header_offset(slot), self.at(slot, STATUS));
        // SAFETY: the second word of the header, and the status byte.
        unsafe {
            let words = self.region.as_ptr().add(offset).cast::<u64>();
            words.add(1).write_volatile(sector.get().to_le());
            status.write_volatile(Status::NOT_WRITTEN.0);
        }
    }

    /// Writes the range a request works on. Returns where it is.
    pub(crate) fn put_range(&mut self, slot: u16, range: RangeSegment) -> Segment {
        self.write::<PAYLOAD>(slot, range.as_bytes());
        self.segment(self.rest_offset(slot) + PAYLOAD, RangeSegment::BYTES)
    }

    /// Where the device shall write an answer of `len` bytes, at most the payload area. Bytes it leaves out read as zero.
    pub(crate) fn answer(&mut self, slot: u16, len: u32) -> Segment {
        self.write::<PAYLOAD>(slot, &[0; PAYLOAD_BYTES]);
        self.segment(self.rest_offset(slot) + PAYLOAD, len.min(PAYLOAD_BYTES as u32))
    }

    /// Where the device shall write the status.
    #[inline]
    pub(crate) fn status_segment(&self, slot: u16) -> Segment {
        self.segment(self.rest_offset(slot) + STATUS, 1)
    }

    /// The memory for the position of an append and the status. Bytes that the device does not write are a position on no disk.
    pub(crate) fn append_tail(&mut self, slot: u16) -> Segment {
        self.write::<APPEND_TAIL>(slot, AppendTail::NOT_WRITTEN.as_bytes());
        self.segment(self.rest_offset(slot) + APPEND_TAIL, AppendTail::BYTES)
    }

    /// The place of an append that the device wrote.
    pub(crate) fn append_sector(&self, slot: u16) -> Sector {
        Sector(u64::from_le_bytes(self.read::<APPEND_TAIL, 8>(slot)))
    }

    /// The status the device wrote.
    #[inline]
    pub(crate) fn status(&self, slot: u16) -> Status {
        self.status_reader()(slot)
    }

    /// Reads statuses as [`status`](Self::status) does, one after the other.
    #[inline]
    pub(crate) fn status_reader(&self) -> impl Fn(u16) -> Status {
        // On its own, so that it stays in registers whatever is written in between.
        let (first, last_header) = (self.at(0, STATUS), self.last_header);
        move |slot| {
            let offset = (REST_BYTES * usize::from(slot)) & (2 * last_header);
            // SAFETY: the slots are borrowed, the masked slot is one of them, and the status byte is inside it.
            Status(unsafe { first.add(offset).read_volatile() })
        }
    }

    /// The identification string the device wrote.
    pub(crate) fn id(&self, slot: u16) -> DeviceIdString {
        DeviceIdString(self.read::<PAYLOAD, { DeviceIdString::BYTES as usize }>(slot))
    }

    /// The wear estimate the device wrote.
    pub(crate) fn lifetime(&self, slot: u16) -> Lifetime {
        let bytes = self.read::<PAYLOAD, { Lifetime::BYTES as usize }>(slot);
        // Of the right length by its type.
        Lifetime::read_from_bytes(&bytes).unwrap_or_default()
    }

    /// Writes `bytes` into a field, byte by byte. What does not fit into the slot is left out.
    fn write<const FIELD: usize>(&mut self, slot: u16, bytes: &[u8]) {
        let to = self.at(slot, FIELD);
        for (n, &byte) in bytes.iter().take(REST_BYTES - FIELD).enumerate() {
            // SAFETY: inside the slot, as just seen to.
            unsafe { to.add(n).write_volatile(byte) }
        }
    }

    /// Reads a field, byte by byte.
    fn read<const FIELD: usize, const LEN: usize>(&self, slot: u16) -> [u8; LEN] {
        const { assert!(FIELD + LEN <= REST_BYTES) };
        let from = self.at(slot, FIELD);
        // SAFETY: inside the slot, as just seen to.
        core::array::from_fn(|n| unsafe { from.add(n).read_volatile() })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::boxed::Box;

    use virtio_core::DeviceAddr;

    use super::*;

    #[repr(align(64))]
    struct Memory([u8; 4 * SLOT_BYTES]);

    #[test]
    fn a_slot_keeps_to_itself_and_an_answer_starts_from_zero() {
        let mut memory = Box::new(Memory([0xAA; 4 * SLOT_BYTES]));
        let start = NonNull::from(&mut *memory).cast::<u8>();
        // SAFETY: the memory outlives the slots, and only they use it, but for the "device" below.
        let region = unsafe { DmaRegion::from_raw_parts(start, 4 * SLOT_BYTES, DeviceAddr(0x1000)) };
        let mut slots = SlotMemory::new(QueueSize::new(4).unwrap(), region).unwrap();
        let header = slots.start(
            1,
            RequestHeader::without_position(virtio_blk_proto::RequestType::GET_ID),
        );
        assert_eq!(header, Segment::new(DeviceAddr(0x1010), 16));
        let answer = slots.answer(1, DeviceIdString::BYTES);
        assert_eq!(answer, Segment::new(DeviceAddr(0x1060), 20));
        assert_eq!(slots.status(1), Status::NOT_WRITTEN);
        // The device writes three bytes only, and the status.
        // SAFETY: inside the slot.
        unsafe {
            let rest = start.add(4 * HEADER_BYTES + REST_BYTES);
            rest.add(PAYLOAD).cast::<[u8; 3]>().write_volatile(*b"abc");
            rest.add(STATUS).write_volatile(0);
        }
        assert_eq!(slots.id(1).as_bytes_trimmed(), b"abc");
        assert_eq!(slots.status(1), Status::OK);
        // Slot numbers wrap around.
        assert_eq!(slots.id(5).as_bytes_trimmed(), b"abc");
        // The former answer is no position of an append.
        assert_eq!(slots.append_tail(1).len, AppendTail::BYTES);
        assert_eq!(slots.append_sector(1), Sector(u64::MAX));
        assert_eq!(slots.status(1), Status::NOT_WRITTEN);
        let _region = slots.into_region();
        let (headers, rests) = memory.0.split_at(4 * HEADER_BYTES);
        for (part, bytes) in [(headers, HEADER_BYTES), (rests, REST_BYTES)] {
            let untouched = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0xAA);
            assert!(untouched(&part[..bytes]), "the slot before");
            assert!(untouched(&part[2 * bytes..]), "the slots after");
        }
    }
}
