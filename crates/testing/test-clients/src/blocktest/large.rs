//! Groups E and F: as much as one request can move, in one piece and in the most pieces a vector has.
//!
//! The pieces are four bytes apart, so each lies in one page more than it needs to, and the one piece starts four bytes into
//! a page: with scattered memory there are more ranges than the kernel translates at a time.

use minix_rt::Ipc;

use super::tester::{COMMON_BYTES, ELEMENTS, GUARD, MARGIN, SECTOR, SECTOR_BYTES, Spot, Tester, changed, touched};
use super::verdict::{Expect, Fault};
use crate::bdev::Direction;
use crate::buffer::Piece;

/// The checks of one size.
struct Numbers {
    write: u32,
    vector_read: u32,
    vector_write: u32,
    read: u32,
}

/// What is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// What was written.
    Pattern(u64),
    /// Nothing was written: what the vector has read, or will.
    AsRead,
    /// Writing failed. That was reported, and needs no second failure.
    Unknown,
}

impl Content {
    const fn after(success: bool, seed: u64) -> Self {
        if success { Self::Pattern(seed) } else { Self::Unknown }
    }
}

impl<I: Ipc> Tester<'_, I> {
    /// Group E: elements of 4096 bytes, whatever `max` says.
    pub(crate) fn large_common(&mut self) {
        self.group('E', "large transfers, common size");
        let numbers = Numbers {
            write: 26,
            vector_read: 27,
            vector_write: 28,
            read: 29,
        };
        self.large(&numbers, COMMON_BYTES / ELEMENTS);
    }

    /// Group F: elements so large that a vector of them is as large as `max`.
    pub(crate) fn large_max(&mut self) {
        self.group('F', "large transfers, as large as allowed");
        let element = largest_element(self.settings.max, self.place.bytes);
        if element == COMMON_BYTES / ELEMENTS {
            return self.skip(30, "large", &"same as the common size");
        }
        if element == 0 {
            return self.skip(30, "large", &"less than a sector per element");
        }
        let numbers = Numbers {
            write: 30,
            vector_read: 30,
            vector_write: 30,
            read: 30,
        };
        self.large(&numbers, element);
    }

    fn large(&mut self, numbers: &Numbers, element: usize) {
        let bytes = element * ELEMENTS;
        let at = self.at(SECTOR_BYTES);
        if (bytes as u64).saturating_add(SECTOR_BYTES) > self.place.bytes {
            return self.skip(numbers.write, "large", &"the partition is too small");
        }
        let mut content = Content::AsRead;
        if self.settings.write {
            let seed = self.seed();
            let result = self.large_write(at, bytes, seed);
            content = Content::after(self.check(numbers.write, "write", result), seed);
        } else {
            self.skip(numbers.write, "write", &"not to be written");
        }
        let result = self.vector_read(at, element, content);
        self.check(numbers.vector_read, "vector_read", result);
        if self.settings.write {
            let seed = self.seed();
            let result = self.vector_write(at, element, seed);
            content = Content::after(self.check(numbers.vector_write, "vector_write", result), seed);
        } else {
            self.skip(numbers.vector_write, "vector_write", &"not to be written");
        }
        let result = self.large_read(at, element, content);
        self.check(numbers.read, "read", result);
    }

    fn large_write(&mut self, at: Spot, bytes: usize, seed: u64) -> Result<(), Fault> {
        let noise = self.seed();
        self.flat.fill_noise(0, bytes + MARGIN, noise);
        self.flat.fill_pattern(GUARD, bytes, seed, at.disk_sector());
        let from = self.flat.piece(GUARD, bytes);
        let result = self.move_pieces(Direction::Write, at, &[from]);
        self.wrote(&result, at, bytes / SECTOR, seed, bytes / SECTOR);
        result?;
        self.flat.check_noise(0, GUARD, noise).map_err(touched)?;
        self.flat
            .check_pattern(GUARD, bytes, seed, at.disk_sector())
            .map_err(|at| Fault::Touched { at: GUARD + at })?;
        self.flat
            .check_noise(GUARD + bytes, MARGIN - GUARD, noise)
            .map_err(touched)
    }

    fn vector_read(&mut self, at: Spot, element: usize, content: Content) -> Result<(), Fault> {
        let noise = self.seed();
        self.pieces.fill_noise(0, stretch(element), noise);
        let pieces = self.vector(element);
        self.move_pieces(Direction::Read, at, &pieces)?;
        self.guards(element, noise)?;
        for nth in 0..ELEMENTS {
            let (offset, first) = (offset(element, nth), at.disk_sector() + (nth * element / SECTOR) as u64);
            changed(&self.pieces, offset, element, noise)?;
            if let Content::Pattern(seed) = content {
                self.pieces
                    .check_pattern(offset, element, seed, first)
                    .map_err(|byte| Fault::Data {
                        at: nth * element + byte,
                    })?;
            }
        }
        Ok(())
    }

    fn vector_write(&mut self, at: Spot, element: usize, seed: u64) -> Result<(), Fault> {
        let noise = self.seed();
        self.pieces.fill_noise(0, stretch(element), noise);
        for nth in 0..ELEMENTS {
            let first = at.disk_sector() + (nth * element / SECTOR) as u64;
            self.pieces.fill_pattern(offset(element, nth), element, seed, first);
        }
        let pieces = self.vector(element);
        let result = self.move_pieces(Direction::Write, at, &pieces);
        let sectors = element * ELEMENTS / SECTOR;
        self.wrote(&result, at, sectors, seed, sectors);
        result?;
        self.guards(element, noise)?;
        for nth in 0..ELEMENTS {
            let (offset, first) = (offset(element, nth), at.disk_sector() + (nth * element / SECTOR) as u64);
            self.pieces
                .check_pattern(offset, element, seed, first)
                .map_err(|byte| Fault::Touched { at: offset + byte })?;
        }
        Ok(())
    }

    /// One read of everything.
    fn large_read(&mut self, at: Spot, element: usize, content: Content) -> Result<(), Fault> {
        let (noise, bytes) = (self.seed(), element * ELEMENTS);
        self.flat.fill_noise(0, bytes + MARGIN, noise);
        let into = self.flat.piece(GUARD, bytes);
        let outcome = self.session.read(self.client, at.minor, at.position, into);
        Expect::bytes(bytes).judge(outcome)?;
        self.flat.check_noise(0, GUARD, noise).map_err(touched)?;
        self.flat
            .check_noise(GUARD + bytes, MARGIN - GUARD, noise)
            .map_err(touched)?;
        match content {
            Content::Unknown => Ok(()),
            Content::Pattern(seed) => self
                .flat
                .check_pattern(GUARD, bytes, seed, at.disk_sector())
                .map_err(|at| Fault::Data { at }),
            Content::AsRead => (0..ELEMENTS).try_for_each(|nth| {
                self.flat
                    .compare(GUARD + nth * element, &self.pieces, offset(element, nth), element)
                    .map_err(|byte| Fault::Data {
                        at: nth * element + byte,
                    })
            }),
        }
    }

    fn vector(&self, element: usize) -> [Piece; ELEMENTS] {
        core::array::from_fn(|nth| self.pieces.piece(offset(element, nth), element))
    }

    /// Whether the noise before, between and behind the elements is still there.
    fn guards(&self, element: usize, noise: u64) -> Result<(), Fault> {
        for nth in 0..ELEMENTS {
            self.pieces
                .check_noise(offset(element, nth) - GUARD, GUARD, noise)
                .map_err(touched)?;
        }
        let end = offset(element, ELEMENTS - 1) + element;
        self.pieces
            .check_noise(end, stretch(element) - end, noise)
            .map_err(touched)
    }
}

/// Where an element is.
const fn offset(element: usize, nth: usize) -> usize {
    GUARD + nth * (element + GUARD)
}

/// Memory that a vector of such elements takes, with what is around it.
const fn stretch(element: usize) -> usize {
    (element + GUARD) * ELEMENTS + GUARD + SECTOR
}

/// Bytes of an element if a vector is to be as large as allowed, and to leave four sectors of the partition.
fn largest_element(max: usize, partition: u64) -> usize {
    let room = usize::try_from(partition.saturating_sub(4 * SECTOR_BYTES)).unwrap_or(usize::MAX);
    max.min(room) / ELEMENTS / SECTOR * SECTOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_whole_sectors_and_fit() {
        assert_eq!(largest_element(131072, u64::MAX), 2048);
        assert_eq!(largest_element(262144, 1 << 40), 4096);
        assert_eq!(largest_element(100_000, 1 << 40), 1536);
        assert_eq!(largest_element(131072, 4 * 512 + 64 * 512), 512);
        assert_eq!(largest_element(131072, 4 * 512 + 64 * 512 - 1), 0);
        assert_eq!(largest_element(131072, 0), 0);
    }
}
