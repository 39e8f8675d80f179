//! Page frames: their owners, and the memory of dead processes.
//!
//! Frames that need not be in a row never are: each comes from some way beyond the one before, so that a buffer of
//! several pages is really scattered and a driver that takes it for one piece is found out. Those in a row come from a
//! part of memory of their own, which does not get full of holes unless that is asked for.
//!
//! A device may go on writing to the memory of a driver that died. Frames of a dead process are filled with a pattern and
//! kept back until the device had time to stop; whether the pattern is still there tells what would have
//! happened to their next owner.

use core::ops::Range;
use core::ptr;

use minix_abi::PAGE_BYTES;
use virtio_fdt::PhysRange;

use super::physical;

/// How far from one frame to the next that is handed out.
const STRIDE: usize = 17;

/// The marks of frames. From [`FIRST_BATCH`] on: kept back.
const FREE: u8 = 0;
const USED: u8 = 1;
const FIRST_BATCH: u8 = 2;

/// Why memory could not be reached, mapped or taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryError {
    /// No frames, no room in the address space, or too many regions.
    OutOfMemory,
    /// Zero bytes, not on a page, or where the kernel, other memory or the end of the space is.
    BadPlace,
    /// Nothing is mapped there, or not for the process, or it is a device.
    Unmapped,
    /// Memory that is allocated on first use, and was not used yet.
    Absent,
}

/// Frames of one dead process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch(u8);

/// All memory that is not the kernel's own.
#[derive(Debug)]
pub(crate) struct FrameAllocator {
    /// Physical address of the first frame.
    base: u64,
    /// A mark for each frame.
    marks: &'static mut [u8],
    /// Frames from here on are for those who need them in a row.
    row_start: usize,
    /// No more of them than this are found in a row.
    longest_row: usize,
    last: usize,
    batches: [bool; 256],
}

impl FrameAllocator {
    /// Takes over a range of memory, whose first part will hold the marks.
    ///
    /// # Safety
    ///
    /// The range starts and ends on a page, is RAM that is mapped one to one, and has no other owner. To be called once.
    pub(super) unsafe fn new(range: PhysRange) -> Self {
        let all = (range.size_bytes / PAGE_BYTES) as usize;
        let mark_frames = all.div_ceil(PAGE_BYTES as usize);
        let start = ptr::with_exposed_provenance_mut::<u8>(range.base_address as usize);
        let count = all - mark_frames;
        // SAFETY: the caller gives away the memory, of which this is the front.
        let marks = unsafe {
            start.write_bytes(FREE, count);
            core::slice::from_raw_parts_mut(start, count)
        };
        let base = range.base_address + mark_frames as u64 * PAGE_BYTES;
        if let Some(window) = PhysRange::new(base, count as u64 * PAGE_BYTES) {
            // SAFETY: the rest of that memory, apart from the marks.
            unsafe { physical::open(window) };
        }
        Self {
            base,
            marks,
            row_start: count / 4 * 3,
            longest_row: usize::MAX,
            last: 0,
            batches: [false; 256],
        }
    }

    fn address(&self, index: usize) -> u64 {
        self.base + index as u64 * PAGE_BYTES
    }

    #[track_caller]
    fn index(&self, frame: u64) -> usize {
        let index = frame.wrapping_sub(self.base) / PAGE_BYTES;
        assert!(
            frame.is_multiple_of(PAGE_BYTES) && index < self.marks.len() as u64,
            "{frame:#x} is not a frame"
        );
        index as usize
    }

    fn hand_out(&mut self, indices: Range<usize>) -> u64 {
        let address = self.address(indices.start);
        physical::clear(address, indices.len() * PAGE_BYTES as usize);
        self.marks[indices].fill(USED);
        address
    }

    /// A cleared frame, not next to the one handed out before.
    pub(crate) fn take(&mut self) -> Result<u64, MemoryError> {
        let index = (0..self.row_start)
            .map(|step| (self.last + STRIDE + step) % self.row_start)
            .find(|&index| self.marks[index] == FREE && index.abs_diff(self.last) != 1);
        self.last = index.ok_or(MemoryError::OutOfMemory)?;
        Ok(self.hand_out(self.last..self.last + 1))
    }

    /// From now on memory is as full of holes as after a long time: no more than `frames` are free in a row.
    pub(super) fn fragment(&mut self, frames: usize) {
        self.longest_row = frames;
    }

    /// Cleared frames in a row.
    pub(crate) fn take_row(&mut self, count: usize) -> Result<u64, MemoryError> {
        let mut run = 0;
        for index in self.row_start..self.marks.len() {
            run = if self.marks[index] == FREE { run + 1 } else { 0 };
            if run == count && count <= self.longest_row {
                return Ok(self.hand_out(index + 1 - count..index + 1));
            }
        }
        Err(MemoryError::OutOfMemory)
    }

    /// Frees a frame, single or of a row.
    pub(crate) fn free(&mut self, frame: u64) {
        let index = self.index(frame);
        assert_eq!(self.marks[index], USED, "{frame:#x} is not in use");
        self.marks[index] = FREE;
    }

    fn count(&self, mark: u8) -> usize {
        self.marks.iter().filter(|&&other| other == mark).count()
    }

    pub(super) fn free_count(&self) -> usize {
        self.count(FREE)
    }

    /// Frames of living processes and of page tables.
    pub(super) fn used_count(&self) -> usize {
        self.count(USED)
    }

    /// A name for the frames of a process that is about to go.
    pub(super) fn open_batch(&mut self) -> Batch {
        let free = (FIRST_BATCH..u8::MAX).find(|&batch| !self.batches[usize::from(batch)]);
        let batch = free.expect("the memory of too many dead processes is kept back");
        self.batches[usize::from(batch)] = true;
        Batch(batch)
    }

    /// Poisons a frame and keeps it back.
    pub(super) fn quarantine(&mut self, frame: u64, batch: Batch) {
        let index = self.index(frame);
        assert_eq!(self.marks[index], USED, "{frame:#x} is not in use");
        self.marks[index] = batch.0;
        for word in words(frame) {
            physical::store(word, poison(word));
        }
    }

    /// How many frames of a dead process have been written to since they were poisoned. They are poisoned anew.
    pub(crate) fn check_poison(&mut self, batch: Batch) -> usize {
        let mut damaged = 0;
        for index in 0..self.marks.len() {
            if self.marks[index] != batch.0 {
                continue;
            }
            let mut is_damaged = false;
            for word in words(self.address(index)) {
                if physical::load(word) != poison(word) {
                    physical::store(word, poison(word));
                    is_damaged = true;
                }
            }
            damaged += usize::from(is_damaged);
        }
        damaged
    }

    /// Frames a batch has.
    pub(crate) fn batch_size(&self, batch: Batch) -> usize {
        self.count(batch.0)
    }

    /// Lets the frames of a dead process be used again.
    pub(crate) fn release(&mut self, batch: Batch) {
        for mark in self.marks.iter_mut().filter(|mark| **mark == batch.0) {
            *mark = FREE;
        }
        self.batches[usize::from(batch.0)] = false;
    }
}

fn words(frame: u64) -> impl Iterator<Item = u64> {
    (frame..frame + PAGE_BYTES).step_by(8)
}

/// The pattern for the word at an address. It depends on the address, so that a copied page is found as well.
const fn poison(address: u64) -> u64 {
    0xDEAD_0000_5A5A_A5A5 ^ (address << 16)
}
