//! Ticks of the `time` counter, and microseconds.
//!
//! The counter's frequency comes from the device tree; nothing here assumes one.

use core::num::NonZeroU64;

const MICROS_PER_SECOND: u128 = 1_000_000;

/// A moment, or a span, in ticks of the `time` counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub u64);

impl Ticks {
    /// The span since `earlier`; zero if that lies ahead.
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// The moment `span` later, at most the last one the counter can show.
    pub const fn after(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A clock that never goes back, over a counter that may.
///
/// QEMU sets the counter back when a snapshot is loaded, even to before its start, where it reads as a very large number. A
/// wait until a moment of such a clock would never end, and a span would be nonsense. Here the time of a step back is left out:
/// the clock stands still for the moment of the step and goes on at the counter's pace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SteadyClock {
    last_counter: u64,
    /// The difference of the clock to the counter, modulo 2^64.
    ahead: u64,
}

impl SteadyClock {
    /// A clock that agrees with the counter until it steps back.
    pub const fn new() -> Self {
        Self {
            last_counter: 0,
            ahead: 0,
        }
    }

    /// The moment, now that the counter shows this. Half of the numbers before the last one seen are a step back, the other half
    /// a step ahead.
    pub const fn at(&mut self, counter: u64) -> Ticks {
        let step = counter.wrapping_sub(self.last_counter);
        if step.cast_signed() < 0 {
            self.ahead = self.ahead.wrapping_sub(step);
        }
        self.last_counter = counter;
        Ticks(counter.wrapping_add(self.ahead))
    }

    /// The value of the counter at a moment, unless it steps back again.
    pub const fn counter_at(&self, moment: Ticks) -> u64 {
        moment.0.wrapping_sub(self.ahead)
    }
}

/// The frequency of the `time` counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timebase {
    hz: NonZeroU64,
}

impl Timebase {
    /// A counter that runs at `hz` ticks per second; `None` for zero.
    pub fn new(hz: u64) -> Option<Self> {
        NonZeroU64::new(hz).map(|hz| Self { hz })
    }

    /// Ticks per second.
    pub const fn hz(self) -> u64 {
        self.hz.get()
    }

    /// A span in whole microseconds, rounded down; saturates.
    pub fn micros(self, span: Ticks) -> u64 {
        saturate(u128::from(span.0) * MICROS_PER_SECOND / u128::from(self.hz.get()))
    }

    /// The span of at least `micros` microseconds, rounded up so that a wait is never too short; saturates.
    pub fn ticks_from_micros(self, micros: u64) -> Ticks {
        let scaled = u128::from(micros) * u128::from(self.hz.get());
        Ticks(saturate(scaled.div_ceil(MICROS_PER_SECOND)))
    }

    /// The span of at least `millis` milliseconds; saturates.
    pub fn ticks_from_millis(self, millis: u64) -> Ticks {
        self.ticks_from_micros(millis.saturating_mul(1000))
    }
}

fn saturate(value: u128) -> u64 {
    value.try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_rounded_down_and_waits_up() {
        let (fast, slow) = (Timebase::new(10_000_000).unwrap(), Timebase::new(32_768).unwrap());
        assert_eq!((fast.micros(Ticks(10)), fast.micros(Ticks(9))), (1, 0));
        assert_eq!(
            (fast.ticks_from_micros(3), fast.ticks_from_millis(3)),
            (Ticks(30), Ticks(30_000))
        );
        assert_eq!(
            [0, 1, 31].map(|micros| slow.ticks_from_micros(micros)),
            [0, 1, 2].map(Ticks)
        );
    }

    #[test]
    fn extremes_saturate() {
        assert_eq!(Timebase::new(0), None);
        assert_eq!(Timebase::new(1).unwrap().micros(Ticks(u64::MAX)), u64::MAX);
        assert_eq!(
            Timebase::new(u64::MAX).unwrap().ticks_from_millis(u64::MAX),
            Ticks(u64::MAX)
        );
        assert_eq!(Ticks(1).since(Ticks(2)), Ticks(0));
        assert_eq!(Ticks(u64::MAX).after(Ticks(2)), Ticks(u64::MAX));
    }

    proptest! {
        #[test]
        fn a_steady_clock_never_goes_back(steps in proptest::collection::vec(any::<i32>(), 0..50)) {
            let (mut clock, mut counter, mut last) = (SteadyClock::new(), 0_u64, Ticks(0));
            for step in steps {
                counter = counter.wrapping_add_signed(step.into());
                let now = clock.at(counter);
                prop_assert_eq!(now, Ticks(last.0 + u64::from(step.max(0).unsigned_abs())));
                prop_assert_eq!(clock.counter_at(now), counter);
                last = now;
            }
        }

        #[test]
        fn a_wait_is_never_too_short(hz in 1u64..=u64::MAX, micros in 0u64..1 << 40) {
            let timebase = Timebase::new(hz).unwrap();
            let ticks = timebase.ticks_from_micros(micros);
            prop_assert!(ticks.0 == u64::MAX || timebase.micros(ticks) >= micros);
        }
    }
}
