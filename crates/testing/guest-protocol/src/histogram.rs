//! Buckets of latencies. Four of them span a factor of two, so that a bucket is as good for short times as for long ones.

/// How many there are. The last one is open.
pub const BUCKETS: usize = 32;

/// Where the first four end, in nanoseconds.
const FIRST: [u64; 4] = [1189, 1414, 1682, 2000];

/// The time in nanoseconds at which a bucket ends and the next one begins.
pub const fn end(bucket: usize) -> u64 {
    FIRST[bucket % FIRST.len()] << (bucket / FIRST.len())
}

/// The bucket of a time in nanoseconds.
pub fn bucket(nanos: u64) -> usize {
    (0..BUCKETS - 1)
        .find(|bucket| nanos < end(*bucket))
        .unwrap_or(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other() {
        assert!((1..BUCKETS).all(|bucket| end(bucket - 1) < end(bucket)));
        assert_eq!(end(4), 2 * end(0));
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        for number in 1..BUCKETS {
            assert_eq!(bucket(end(number - 1)), number);
            assert_eq!(bucket(end(number) - 1), number);
        }
    }
}
