//! Durations, counted by powers of two.
//!
//! Each request is recorded, so that has to be cheap on a processor that cannot count leading zeros. Most durations fall into
//! the bucket of the one before: that takes a comparison. For the others the bucket is looked for from there.

/// Buckets of a histogram.
pub use minix_abi::disk_control::BUCKETS;

/// How many durations were how long. Bucket `n` has those of 2^n microseconds and more, below 2^(n + 1). Bucket 0 has those below
/// 2 microseconds, and the last one is open.
#[derive(Clone, Copy, Debug)]
pub struct Histogram {
    /// The bucket of the last duration.
    bucket: usize,
    /// Where it starts; 1 for bucket 0.
    start: u64,
    /// Durations in a row that fell into that bucket, which `counts` does not have yet.
    run: u64,
    counts: [u64; BUCKETS],
}

impl Histogram {
    /// Without durations.
    pub const fn new() -> Self {
        Self {
            bucket: 0,
            start: 1,
            run: 0,
            counts: [0; BUCKETS],
        }
    }

    /// Records a duration.
    pub fn record(&mut self, micros: u64) {
        if !self.record_like_last(micros) {
            self.record_elsewhere(micros);
        }
    }

    /// Records a duration that does not fall into the bucket of the one before.
    #[inline(always)]
    pub(crate) fn record_elsewhere(&mut self, micros: u64) {
        self.counts[self.bucket % BUCKETS] += self.run;
        self.run = 1;
        // Neighbours are near.
        while self.bucket > 0 && micros < self.start {
            self.start >>= 1;
            self.bucket -= 1;
        }
        while self.bucket < BUCKETS - 1 && micros >> 1 >= self.start {
            self.start <<= 1;
            self.bucket += 1;
        }
    }

    /// Records a duration if it falls into the bucket of the one before. Whether it does.
    #[inline(always)]
    pub(crate) fn record_like_last(&mut self, micros: u64) -> bool {
        // The start is a power of two. Durations from it to its double have this bit set and none above. Zero belongs to
        // bucket 0 as one does.
        let is_like_last = (micros | 1) ^ self.start < self.start;
        if is_like_last {
            self.run += 1;
        }
        is_like_last
    }

    /// How many durations each bucket has.
    pub fn counts(&self) -> [u64; BUCKETS] {
        let mut counts = self.counts;
        counts[self.bucket % BUCKETS] += self.run;
        counts
    }

    /// How many durations were recorded.
    pub fn total(&self) -> u64 {
        self.run + self.counts.iter().sum::<u64>()
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(durations: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::new();
        for micros in durations {
            histogram.record(micros);
        }
        histogram
    }

    /// The bucket by the definition.
    fn defined(micros: u64) -> usize {
        (0..BUCKETS - 1)
            .find(|bucket| micros < 2 << bucket)
            .unwrap_or(BUCKETS - 1)
    }

    #[test]
    fn a_duration_is_counted_in_its_bucket() {
        for micros in (0..64)
            .flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1])
            .chain([u64::MAX])
        {
            let counts = recorded([micros]).counts();
            assert_eq!(counts.iter().sum::<u64>(), 1);
            assert_eq!(counts[defined(micros)], 1, "{micros}");
        }
    }

    #[test]
    fn the_order_of_durations_makes_no_difference() {
        let durations: [u64; 12] = [0, 1, 2, 3, 7, 8, 100, 1 << 20, 1 << 31, 1 << 32, 1 << 40, u64::MAX];
        let mut wanted = [0; BUCKETS];
        let mut histogram = Histogram::new();
        for first in durations {
            for second in durations {
                for micros in [first, second, second] {
                    histogram.record(micros);
                    wanted[defined(micros)] += 1;
                    assert_eq!(histogram.counts(), wanted);
                    assert_eq!(histogram.total(), wanted.iter().sum::<u64>());
                }
            }
        }
    }
}
