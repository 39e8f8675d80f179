//! A part of a disk, in bytes.

use core::ops::Range;

/// The bytes of a part of a disk, such as a partition: where it starts, and where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ByteWindow {
    /// The first byte on the disk, and the one after the last.
    bytes: Range<u64>,
}

impl ByteWindow {
    /// All of a disk of that many bytes.
    pub fn whole(bytes: u64) -> Self {
        Self { bytes: 0..bytes }
    }

    /// The part that `bytes` of this window are; `None` if it does not have all of them, or if they end before they start.
    pub fn part(&self, bytes: Range<u64>) -> Option<Self> {
        if bytes.start > bytes.end || bytes.end > self.len() {
            return None;
        }
        // Neither is past the end of this window.
        let start = self.bytes.start + bytes.start;
        let end = self.bytes.start + bytes.end;
        Some(Self { bytes: start..end })
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Where on the disk `len` bytes from byte `offset` of the window on start; `None` if they reach past its end.
    pub fn locate(&self, offset: u64, len: usize) -> Option<u64> {
        let end = offset.checked_add(len as u64)?;
        (end <= self.len()).then_some(self.bytes.start + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_part_is_counted_from_its_start() {
        let part = ByteWindow::whole(4096).part(100..3000).unwrap().part(50..60).unwrap();
        assert_eq!((part.len(), part.is_empty()), (10, false));
        assert_eq!(part.locate(3, 7), Some(153));
        assert_eq!(part.locate(10, 0), Some(160));
        assert_eq!(part.locate(4, 7), None);
        assert_eq!(part.locate(u64::MAX, 1), None);
    }

    #[test]
    fn what_is_not_a_part_is_refused() {
        let window = ByteWindow::whole(10);
        assert_eq!(window.part(0..11), None);
        assert_eq!(window.part(11..11), None);
        let backwards = Range { start: 5, end: 4 };
        assert_eq!(window.part(backwards), None);
        assert!(window.part(10..10).unwrap().is_empty());
    }
}
