//! Points in time. Spans of time are [`Duration`]s.

use core::time::Duration;

/// A point in time: microseconds since some start, never going back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The start, which no other point precedes.
    pub const START: Self = Self(0);

    /// The end of time.
    pub const END: Self = Self(u64::MAX);

    /// The point this many microseconds after the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The point `span` later, in whole microseconds; the end of time if there is none.
    #[inline(never)]
    pub const fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(whole_micros(span)))
    }

    /// The point `span` earlier, in whole microseconds; the start if there is none.
    pub const fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(whole_micros(span)))
    }

    /// The first of these points, if there is any.
    pub fn earliest(points: &[Option<Self>]) -> Option<Self> {
        points.iter().flatten().min().copied()
    }

    /// Microseconds since `earlier`; zero if that is later. Cheaper than a [`Duration`], which takes a division.
    #[inline]
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time since `earlier`; zero if that is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros_since(earlier))
    }
}

const fn whole_micros(span: Duration) -> u64 {
    span.as_secs()
        .saturating_mul(1_000_000)
        .saturating_add(span.subsec_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_point_is_found_among_gaps() {
        let at = |micros| Some(Instant::from_micros(micros));
        assert_eq!(Instant::earliest(&[None, at(7), at(5), None]), at(5));
        assert_eq!(Instant::earliest(&[None, None]), None);
    }

    #[test]
    fn time_saturates_at_both_ends() {
        let (early, late) = (Instant::from_micros(5), Instant::from_micros(1_000_007));
        assert_eq!(late.since(early), Duration::from_micros(1_000_002));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.after(late.since(early)), late);
        assert_eq!(late.before(late.since(early)), early);
        assert_eq!(
            (late.after(Duration::MAX), late.before(Duration::MAX)),
            (Instant::END, Instant::START)
        );
        assert_eq!(
            Instant::START.after(Duration::from_nanos(1999)),
            Instant::from_micros(1)
        );
    }
}
