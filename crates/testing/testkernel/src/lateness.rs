//! How late the message of an interrupt is.
//!
//! On the real system a process that waits for an interrupt hears of it 88 us after a request at the least, and of half of them
//! after 470 us; of one in ten it takes 1.4 ms and more. The times here have that distribution, and the same seed gives the
//! same times.

use guest_protocol::pattern;

/// Parts in a thousand of all messages that come within so many microseconds. In between it is a straight line.
const DISTRIBUTION: [(u64, u64); 6] = [(0, 88), (50, 135), (500, 470), (900, 1450), (990, 1900), (1000, 3000)];
/// Where in the distribution a message is, in parts of this.
const PARTS: u64 = 1_000_000;

/// A row of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lateness {
    seed: u64,
    drawn: u64,
}

impl Lateness {
    /// The row of times that a seed stands for.
    pub const fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// The time from the next interrupt to its message, in microseconds.
    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        at(pattern::word(self.seed, self.drawn, 0) % PARTS)
    }
}

/// The time that so many of [`PARTS`] messages do not take.
fn at(part: u64) -> u64 {
    const SCALE: u64 = PARTS / 1000;
    let [mut from, rest @ ..] = DISTRIBUTION;
    for to in rest {
        let (low, high) = (from.0 * SCALE, to.0 * SCALE);
        if part < high {
            return from.1 + (to.1 - from.1) * (part - low) / (high - low);
        }
        from = to;
    }
    from.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_distributed_as_on_the_real_system() {
        let mut lateness = Lateness::new(1);
        let mut times: [u64; 4000] = core::array::from_fn(|_| lateness.draw());
        times.sort_unstable();
        assert!(times[0] >= 88 && times[3999] <= 3000, "{} to {}", times[0], times[3999]);
        assert!((440..500).contains(&times[2000]), "median {}", times[2000]);
        assert!((1300..1600).contains(&times[3600]), "p90 {}", times[3600]);
    }

    #[test]
    fn a_seed_gives_the_same_times_again() {
        let row = |seed| {
            let mut lateness = Lateness::new(seed);
            [(); 8].map(|()| lateness.draw())
        };
        assert_eq!(row(7), row(7));
        assert_ne!(row(7), row(8));
    }

    #[test]
    fn the_ends_of_the_distribution_are_met() {
        assert_eq!((at(0), at(500_000), at(900_000), at(PARTS)), (88, 470, 1450, 3000));
    }
}
