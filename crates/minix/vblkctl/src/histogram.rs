//! What a histogram of latencies in powers of two says.

use core::fmt;

use minix_abi::disk_control::BUCKETS;

/// Microseconds that a latency is below; nothing if there were none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Below(pub(crate) Option<u64>);

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.pad("-"),
            Some(bound) => {
                // All of it is padded to the right edge.
                let digits = bound.checked_ilog10().unwrap_or(0) as usize + 2;
                let before = f.width().unwrap_or(0).saturating_sub(digits);
                write!(f, "{:before$}<{bound}", "")
            }
        }
    }
}

/// Microseconds that the latencies of bucket `nth` are below. The last bucket is open, and is taken for one that is not.
pub(crate) const fn end_of(nth: usize) -> u64 {
    2 << nth
}

/// The end of the first bucket up to which at least `percent` of the latencies are.
pub(crate) fn percentile(buckets: &[u64; BUCKETS], percent: u32) -> Below {
    let total: u128 = buckets.iter().copied().map(u128::from).sum();
    let wanted = total * u128::from(percent);
    let mut seen = 0;
    let nth = buckets.iter().position(|&count| {
        seen += u128::from(count);
        total > 0 && 100 * seen >= wanted
    });
    Below(nth.map(end_of))
}

/// The buckets from the first to the last that is not empty in one of the histograms.
pub(crate) fn used<'a>(histograms: impl Iterator<Item = &'a [u64; BUCKETS]> + Clone) -> core::ops::Range<usize> {
    let is_used = |nth: &usize| {
        histograms
            .clone()
            .any(|buckets| buckets.get(*nth).is_some_and(|&count| count > 0))
    };
    match (0..BUCKETS).find(is_used) {
        Some(first) => first..(0..BUCKETS).rev().find(is_used).map_or(first, |last| last + 1),
        None => 0..0,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;

    use super::*;

    fn histogram(counts: &[(usize, u64)]) -> [u64; BUCKETS] {
        let mut buckets = [0; BUCKETS];
        for &(nth, count) in counts {
            buckets[nth] = count;
        }
        buckets
    }

    #[test]
    fn a_percentile_is_the_end_of_its_bucket() {
        let even = histogram(&[(5, 50), (6, 40), (9, 9), (12, 1)]);
        let bounds = [0, 1, 50, 51, 90, 91, 99, 100].map(|percent| percentile(&even, percent).0);
        assert_eq!(bounds, [2, 64, 64, 128, 128, 1024, 1024, 8192].map(Some));
        let quick = histogram(&[(2, 90), (6, 9), (12, 1)]);
        let bounds = [1, 50, 90, 91, 99, 100].map(|percent| percentile(&quick, percent).0);
        assert_eq!(bounds, [8, 8, 8, 128, 128, 8192].map(Some));
        assert_eq!(percentile(&quick, 101), Below(None));
    }

    #[test]
    fn one_latency_is_every_percentile() {
        let one = histogram(&[(0, 1)]);
        assert_eq!(
            [1, 50, 99, 100].map(|percent| percentile(&one, percent).0),
            [Some(2); 4]
        );
        let last = histogram(&[(31, u64::MAX), (30, u64::MAX)]);
        assert_eq!(percentile(&last, 99), Below(Some(1 << 32)));
    }

    #[test]
    fn without_latencies_there_is_no_percentile() {
        assert_eq!(percentile(&histogram(&[]), 50), Below(None));
        assert_eq!(percentile(&histogram(&[]), 0), Below(None));
    }

    #[test]
    fn used_buckets_are_those_of_all_histograms() {
        let (low, high) = (histogram(&[(3, 1)]), histogram(&[(7, 2), (9, 1)]));
        assert_eq!(used([&low, &high].into_iter()), 3..10);
        assert_eq!(used([&low].into_iter()), 3..4);
        assert_eq!(used([&histogram(&[])].into_iter()), 0..0);
    }

    #[test]
    fn bounds_stand_at_the_right_edge() {
        assert_eq!(format!("[{:>7}]", Below(Some(128))), "[   <128]");
        assert_eq!(format!("[{:>7}]", Below(None)), "[      -]");
    }
}
