//! Groups E and F: as much as one request can move, in one piece and in the most pieces a vector has.
//!
//! The pieces are four bytes apart, so each lies in one page more than it needs to, and the one piece starts four bytes into
//! a page: with scattered memory there are more ranges than the kernel translates at a time.

use core::ops::Range;

use minix_rt::Ipc;

use super::tester::{COMMON_BYTES, Content, ELEMENTS, Form, GUARD, SECTOR, SECTOR_BYTES, Spot, Tester};

/// A check of one size: its number, and its name.
type Check = (u32, &'static str);

impl<I: Ipc> Tester<'_, I> {
    /// Group E: elements of 4096 bytes, for every `max`.
    pub(crate) fn large_common(&mut self) {
        self.group('E', "large transfers, common size");
        self.large([26, 27, 28, 29], COMMON_BYTES / ELEMENTS);
    }

    /// Group F: elements so large that a vector of them is as large as `max`, and leaves four sectors of the partition.
    pub(crate) fn large_max(&mut self) {
        self.group('F', "large transfers, as large as allowed");
        let room = usize::try_from(self.place.bytes.saturating_sub(4 * SECTOR_BYTES)).unwrap_or(usize::MAX);
        let element = self.settings.max.min(room) / ELEMENTS / SECTOR * SECTOR;
        if element == COMMON_BYTES / ELEMENTS {
            return self.skip(30, "large", &"same as the common size");
        }
        if element == 0 {
            return self.skip(30, "large", &"less than a sector per element");
        }
        self.large([30; 4], element);
    }

    fn large(&mut self, numbers: [u32; 4], element: usize) {
        let bytes = element * ELEMENTS;
        if (bytes as u64).saturating_add(SECTOR_BYTES) > self.place.bytes {
            return self.skip(numbers[0], "large", &"the partition is too small");
        }
        let at = self.at(SECTOR_BYTES);
        let one = GUARD..GUARD + bytes;
        let one = core::slice::from_ref(&one);
        let many: [Range<usize>; ELEMENTS] = core::array::from_fn(|nth| {
            let start = GUARD + nth * (element + GUARD);
            start..start + element
        });
        let mut content = self.large_write((numbers[0], "write"), at, one, None);
        content = self.large_read((numbers[1], "vector_read"), Form::Vector, at, &many, content);
        content = self.large_write((numbers[2], "vector_write"), at, &many, content);
        self.large_read((numbers[3], "read"), Form::Single, at, one, content);
    }

    /// Writes a pattern as a vector, if writes are allowed. Returns the new content of the disk.
    fn large_write(
        &mut self,
        (number, name): Check,
        at: Spot,
        ranges: &[Range<usize>],
        content: Option<Content>,
    ) -> Option<Content> {
        if !self.settings.write {
            self.skip(number, name, &"not to be written");
            return content;
        }
        let seed = self.seed();
        let sectors = ranges.iter().map(Range::len).sum::<usize>() / SECTOR;
        let result = self.write_from(Form::Vector, at, ranges, seed, sectors);
        let is_written = self.check(number, name, result);
        Some(if is_written {
            Content::Pattern(seed)
        } else {
            Content::Unknown
        })
    }

    /// Reads, and compares with the content of the disk, as far as that is known.
    fn large_read(
        &mut self,
        (number, name): Check,
        form: Form,
        at: Spot,
        ranges: &[Range<usize>],
        content: Option<Content>,
    ) -> Option<Content> {
        let bytes = ranges.iter().map(Range::len).sum();
        let result = self
            .read_to(form, at, ranges, bytes)
            .and_then(|()| self.holds(ranges, at, content.unwrap_or(Content::Unknown)));
        let is_read = self.check(number, name, result);
        content.or_else(|| is_read.then(|| Content::Digest(self.digest(ranges))))
    }
}
