//! Which bytes of a write are whole blocks.

/// How many bytes of a range lie before, in and after its whole blocks. A write of the middle needs no more than its own data; blocks that
/// head and tail are a part of have to be read first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BlockParts {
    /// Bytes of the block that the range starts inside of.
    pub head: usize,
    /// Bytes of whole blocks after it.
    pub middle: usize,
    /// Bytes of the last block, which the range ends inside of.
    pub tail: usize,
}

impl BlockParts {
    /// Those of the `len` bytes from byte `offset` of the disk on, with blocks of `block` bytes.
    pub fn of(offset: u64, len: usize, block: u32) -> Self {
        let block = u64::from(block);
        let head = match offset.checked_rem(block).unwrap_or(0) {
            0 => 0,
            // Less than a block, and not more than there is.
            into_block => (block - into_block).min(len as u64) as usize,
        };
        let rest = len - head;
        let tail = (rest as u64).checked_rem(block).unwrap_or(0) as usize;
        Self {
            head,
            middle: rest - tail,
            tail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(offset: u64, len: usize) -> [usize; 3] {
        let BlockParts { head, middle, tail } = BlockParts::of(offset, len, 512);
        [head, middle, tail]
    }

    #[test]
    fn head_and_tail_are_what_is_not_a_whole_block() {
        assert_eq!(parts(0, 1024), [0, 1024, 0]);
        assert_eq!(parts(512, 1000), [0, 512, 488]);
        assert_eq!(parts(500, 1000), [12, 512, 476]);
        assert_eq!(parts(500, 12), [12, 0, 0]);
    }

    #[test]
    fn a_range_inside_of_a_block_is_one_part() {
        assert_eq!(parts(10, 20), [20, 0, 0]);
        assert_eq!(parts(1024, 20), [0, 0, 20]);
    }

    #[test]
    fn no_bytes_are_no_parts() {
        assert_eq!(parts(10, 0), [0, 0, 0]);
        assert_eq!(BlockParts::of(7, 5, 0).middle, 5, "blocks of no bytes cut nothing");
    }
}
