//! What the ranges of a list have in common: found in the walk that copies them, so that none is looked at again.

use minix_abi::kernel_call::GrantedRange;

/// What ranges have in common, put together while they are walked over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Together {
    addresses: u64,
    /// Bytes of each beyond its first one. All ones if one has no byte.
    beyond_first: u64,
    bytes: u64,
}

impl Together {
    /// What all of these have in common.
    pub fn of(ranges: &[impl GrantedRange]) -> Self {
        let mut together = Self::default();
        ranges.iter().for_each(|range| together.add(range));
        together
    }

    /// Adds a range.
    #[inline(always)]
    pub fn add(&mut self, range: &impl GrantedRange) {
        self.addresses |= range.address();
        self.beyond_first |= range.bytes().wrapping_sub(1);
        self.bytes = self.bytes.wrapping_add(range.bytes());
    }

    /// Whether each range has at least one byte, and fewer than 2^32.
    #[inline(always)]
    pub fn fit_segments(&self) -> bool {
        self.beyond_first < u64::from(u32::MAX)
    }

    /// Whether the ranges are `bytes` bytes, and need neither an error nor a cut; `false` is not certain.
    #[inline(always)]
    pub(crate) fn is_plain(&self, bytes: u32, segment_bytes: u64) -> bool {
        // No range that starts below that and is no longer than that ends beyond the end of addresses.
        const SMALL: u64 = 1 << 62;
        self.addresses < SMALL
            && self.addresses.is_multiple_of(2)
            && self.beyond_first < segment_bytes
            && self.bytes == u64::from(bytes)
    }
}
