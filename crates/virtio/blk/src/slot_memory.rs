//! Header, status byte and small answers of every request, laid out per slot when the queue is made.

use core::alloc::Layout;
use core::ptr::NonNull;

use virtio_blk_proto::zoned::AppendTail;
use virtio_blk_proto::{DeviceIdString, Lifetime, RangeSegment, RequestHeader, Sector, Status};
use virtio_core::{DmaRegion, QueueSize, Segment};
use zerocopy::{FromBytes, IntoBytes, transmute};

use crate::class::HeaderMarks;

/// Bytes of one slot.
const SLOT_BYTES: usize = 48;
/// What the memory is aligned to, in bytes.
const ALIGN: usize = 64;
/// The request header.
const HEADER: usize = 0;
/// A range to work on, or the answer of the device if it is not block data.
const PAYLOAD: usize = 16;
/// Room for the payload in bytes.
const PAYLOAD_BYTES: usize = 31;
/// The status byte.
const STATUS: usize = PAYLOAD + PAYLOAD_BYTES;
/// The end of an append: the payload's last bytes and the status.
const APPEND_TAIL: usize = STATUS + 1 - AppendTail::BYTES as usize;

const _: () = {
    assert!(RequestHeader::BYTES as usize == PAYLOAD - HEADER);
    assert!(RangeSegment::BYTES as usize <= PAYLOAD_BYTES);
    assert!(DeviceIdString::BYTES as usize <= PAYLOAD_BYTES);
    assert!(Lifetime::BYTES as usize <= PAYLOAD_BYTES);
    assert!(STATUS < SLOT_BYTES);
};

/// One slot per descriptor of the queue. Slot numbers wrap around at the queue size.
///
/// The device reads headers and ranges and writes answers and status; all accesses are volatile, and what the device
/// writes is read once.
#[derive(Debug)]
pub(crate) struct SlotMemory {
    region: DmaRegion,
    mask: u16,
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
            mask: size.mask(),
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

    #[inline]
    fn offset(&self, slot: u16) -> usize {
        SLOT_BYTES * usize::from(slot & self.mask)
    }

    /// A pointer `field` bytes into a slot.
    #[inline]
    fn at(&self, slot: u16, field: usize) -> NonNull<u8> {
        // SAFETY: the masked slot is one of those the region was made for, and every field lies inside a slot.
        unsafe { self.region.as_ptr().add(self.offset(slot) + field) }
    }

    #[inline]
    fn segment(&self, slot: u16, field: usize, len: u32) -> Segment {
        let offset = (self.offset(slot) + field) as u64;
        Segment::new(self.region.device_addr().wrapping_add(offset), len)
    }

    /// Writes the header of a request, with the [marks](Self::set_marks) of the queue. Its status reads as not written. Returns where the header is.
    #[inline]
    pub(crate) fn start(&mut self, slot: u16, header: RequestHeader) -> Segment {
        let words: [u64; 2] = transmute!(header);
        let to = self.at(slot, HEADER).cast::<u64>();
        // SAFETY: 16 bytes at the start of the slot, which is aligned to 16; the status byte is inside it too.
        unsafe {
            to.write_volatile(words[0] | self.marks.0.to_le());
            to.add(1).write_volatile(words[1]);
            self.at(slot, STATUS).write_volatile(Status::NOT_WRITTEN.0);
        }
        self.segment(slot, HEADER, RequestHeader::BYTES)
    }

    /// Gives the header of an earlier request another position and marks the status as not written. The type stays.
    #[inline]
    pub(crate) fn restart(&mut self, slot: u16, sector: Sector) {
        let start = self.at(slot, 0);
        // SAFETY: the second word of the header, and the status byte.
        unsafe {
            let words = start.add(HEADER).cast::<u64>();
            words.add(1).write_volatile(sector.get().to_le());
            start.add(STATUS).write_volatile(Status::NOT_WRITTEN.0);
        }
    }

    /// Writes the range a request works on. Returns where it is.
    pub(crate) fn put_range(&mut self, slot: u16, range: RangeSegment) -> Segment {
        self.write::<PAYLOAD>(slot, range.as_bytes());
        self.segment(slot, PAYLOAD, RangeSegment::BYTES)
    }

    /// Where the device shall write an answer of `len` bytes, at most the payload area. Bytes it leaves out read as zero.
    pub(crate) fn answer(&mut self, slot: u16, len: u32) -> Segment {
        self.write::<PAYLOAD>(slot, &[0; PAYLOAD_BYTES]);
        self.segment(slot, PAYLOAD, len.min(PAYLOAD_BYTES as u32))
    }

    /// Where the device shall write the status.
    #[inline]
    pub(crate) fn status_segment(&self, slot: u16) -> Segment {
        self.segment(slot, STATUS, 1)
    }

    /// The memory for the position of an append and the status. Bytes that the device does not write are a position on no disk.
    pub(crate) fn append_tail(&mut self, slot: u16) -> Segment {
        self.write::<APPEND_TAIL>(slot, AppendTail::NOT_WRITTEN.as_bytes());
        self.segment(slot, APPEND_TAIL, AppendTail::BYTES)
    }

    /// The place of an append that the device wrote.
    pub(crate) fn append_sector(&self, slot: u16) -> Sector {
        Sector(u64::from_le_bytes(self.read::<APPEND_TAIL, _>(slot)))
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
        let (start, mask) = (self.region.as_ptr(), self.mask);
        move |slot| {
            let offset = SLOT_BYTES * usize::from(slot & mask) + STATUS;
            // SAFETY: the slots are borrowed, the masked slot is one of them, and the status byte is inside it.
            Status(unsafe { start.add(offset).read_volatile() })
        }
    }

    /// The identification string the device wrote.
    pub(crate) fn id(&self, slot: u16) -> DeviceIdString {
        DeviceIdString(self.read::<PAYLOAD, _>(slot))
    }

    /// The wear estimate the device wrote.
    pub(crate) fn lifetime(&self, slot: u16) -> Lifetime {
        let bytes: [u8; Lifetime::BYTES as usize] = self.read::<PAYLOAD, _>(slot);
        // Of the right length by its type.
        Lifetime::read_from_bytes(&bytes).unwrap_or_default()
    }

    /// Writes `bytes` into a field, byte by byte. What does not fit into the slot is left out.
    fn write<const FIELD: usize>(&mut self, slot: u16, bytes: &[u8]) {
        let to = self.at(slot, FIELD);
        for (n, &byte) in bytes.iter().take(SLOT_BYTES - FIELD).enumerate() {
            // SAFETY: inside the slot, as just seen to.
            unsafe { to.add(n).write_volatile(byte) }
        }
    }

    /// Reads a field, byte by byte.
    fn read<const FIELD: usize, const LEN: usize>(&self, slot: u16) -> [u8; LEN] {
        const { assert!(FIELD + LEN <= SLOT_BYTES) };
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
        assert_eq!(header, Segment::new(DeviceAddr(0x1000 + SLOT_BYTES as u64), 16));
        let answer = slots.answer(1, DeviceIdString::BYTES);
        assert_eq!(answer, Segment::new(DeviceAddr(0x1010 + SLOT_BYTES as u64), 20));
        assert_eq!(slots.status(1), Status::NOT_WRITTEN);
        // The device writes three bytes only, and the status.
        // SAFETY: inside the slot.
        unsafe {
            start
                .add(SLOT_BYTES + PAYLOAD)
                .cast::<[u8; 3]>()
                .write_volatile(*b"abc");
            start.add(SLOT_BYTES + STATUS).write_volatile(0);
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
        assert!(
            memory.0[..SLOT_BYTES].iter().all(|&byte| byte == 0xAA),
            "the slot before"
        );
        assert!(
            memory.0[2 * SLOT_BYTES..].iter().all(|&byte| byte == 0xAA),
            "the slots after"
        );
    }
}
