//! Handing out addresses of a bus.

/// A range of bus addresses. Those at its start are given away first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AddressSpace {
    next: u64,
    end: u64,
}

impl AddressSpace {
    /// The addresses from `start` up to `end`, without it. Address zero means "not assigned" to a device, so it is left out.
    pub(crate) const fn new(start: u64, end: u64) -> Self {
        Self {
            next: if start == 0 { 1 } else { start },
            end,
        }
    }

    /// Gives `bytes` away, a power of two, at a multiple of them. `None` if they are not there.
    pub(crate) const fn take(&mut self, bytes: u64) -> Option<u64> {
        let Some(base) = self.next.checked_next_multiple_of(bytes) else {
            return None;
        };
        match base.checked_add(bytes) {
            Some(end) if end <= self.end => {
                self.next = end;
                Some(base)
            }
            _ => None,
        }
    }

    /// The first address that is not given away, at a multiple of `unit`.
    pub(super) fn start_at(&self, unit: u64) -> Option<u64> {
        self.next
            .checked_next_multiple_of(unit)
            .filter(|&start| start < self.end)
    }

    /// What is left from a multiple of `unit` on; empty if there is nothing.
    pub(super) fn rest_at(&self, unit: u64) -> Self {
        self.start_at(unit)
            .map_or_else(Self::default, |start| Self::new(start, self.end))
    }

    /// Gives away what `inner`, which started at `start`, has given away, and `least` bytes at least, up to a multiple of `unit`.
    /// Returns the end; `None` if nothing was given away.
    pub(super) fn close(&mut self, inner: Self, start: u64, least: u64, unit: u64) -> Option<u64> {
        let wanted = inner.next.max(start.checked_add(least)?);
        let end = wanted.checked_next_multiple_of(unit).filter(|&end| end <= self.end);
        // Without the reserve it may still be enough.
        let end = end.or_else(|| inner.next.checked_next_multiple_of(unit).filter(|&end| end <= self.end))?;
        self.next = self.next.max(end);
        (end > start).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_aligned_and_run_out() {
        let mut space = AddressSpace::new(0x1100, 0x4000);
        assert_eq!(space.take(0x1000), Some(0x2000));
        assert_eq!(space.take(0x100), Some(0x3000));
        assert_eq!(space.take(0x1000), None);
        assert_eq!(space.take(0x800), Some(0x3800));
        assert_eq!(space.take(1), None);
        assert_eq!(AddressSpace::new(0, 0x100).take(0x80), Some(0x80), "zero is no address");
        assert_eq!(AddressSpace::new(u64::MAX - 1, u64::MAX).take(1 << 63), None);
        assert_eq!(AddressSpace::default().take(4), None);
    }

    proptest! {
        #[test]
        fn ranges_do_not_overlap(start in 0u64..1 << 20, sizes in proptest::collection::vec(0u32..16, 0..40)) {
            let mut space = AddressSpace::new(start, start + (1 << 18));
            let mut end = start.max(1);
            for size in sizes {
                let bytes = 1 << size;
                if let Some(base) = space.take(bytes) {
                    prop_assert!(base >= end && base % bytes == 0);
                    end = base + bytes;
                    prop_assert!(end <= start + (1 << 18));
                }
            }
        }
    }
}
