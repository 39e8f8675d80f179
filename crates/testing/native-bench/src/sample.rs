//! What was measured, and how two drivers compare.

use serde::{Deserialize, Serialize};

use crate::Choice;

/// All rounds of one driver at one depth. The program prints each as a line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The driver.
    pub choice: Choice,
    /// Requests in flight.
    pub depth: usize,
    /// The rounds, in the order in which all drivers took them.
    pub rounds: Vec<Round>,
}

/// One turn of one driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Requests that came back in the part for the rate.
    pub requests: u64,
    /// How long that took, in nanoseconds.
    pub nanos: u64,
    /// How often the doorbell was rung in it.
    pub notifies: u64,
    /// Requests that came back in the part for the time within the driver.
    pub busy_requests: u64,
    /// The processor time of submitting and of polls that found something, in nanoseconds.
    pub work_nanos: u64,
    /// The processor time of publishing, in nanoseconds. That is the system call of the doorbell, where it is rung.
    pub doorbell_nanos: u64,
}

impl Round {
    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / (self.nanos as f64 / 1e9)
    }

    /// Nanoseconds of processor time within the driver, for each request.
    pub fn busy(&self) -> f64 {
        self.work() + self.doorbell_nanos as f64 / self.busy_requests as f64
    }

    /// The same without publishing.
    pub fn work(&self) -> f64 {
        self.work_nanos as f64 / self.busy_requests as f64
    }

    /// Notifications for each request.
    pub fn notifies(&self) -> f64 {
        self.notifies as f64 / self.requests as f64
    }
}

/// The ratio of two figures, taken round by round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Half of the rounds are below.
    pub median: f64,
    /// A quarter of the rounds is below the first, and a quarter above the second.
    pub quartiles: [f64; 2],
}

/// Compares `ours` with `theirs`, both from the same rounds. `None` without a round in which both have a figure.
pub fn paired(ours: impl Iterator<Item = f64>, theirs: impl Iterator<Item = f64>) -> Option<Paired> {
    let ratios = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
    quartiles(ratios).map(|[low, median, high]| Paired {
        median,
        quartiles: [low, high],
    })
}

/// The middle of some figures.
pub fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    quartiles(figures).map(|[_, median, _]| median)
}

/// The figures a quarter, half and three quarters up the order. What is no number is left out.
fn quartiles(figures: impl Iterator<Item = f64>) -> Option<[f64; 3]> {
    let mut figures: Vec<_> = figures.filter(|figure| figure.is_finite()).collect();
    figures.sort_by(f64::total_cmp);
    let last = figures.len().checked_sub(1)?;
    let at = |quarters: usize| {
        // Between two figures, as far as the place is between theirs.
        let place = (last * quarters) as f64 / 4.0;
        let (below, above) = (figures[place.floor() as usize], figures[place.ceil() as usize]);
        below + (above - below) * place.fract()
    };
    Some([at(1), at(2), at(3)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_figures_where_they_must() {
        assert_eq!(quartiles([4.0, 1.0, 3.0, 2.0, 5.0].into_iter()), Some([2.0, 3.0, 4.0]));
        assert_eq!(quartiles([1.0, 2.0].into_iter()), Some([1.25, 1.5, 1.75]));
        assert_eq!(quartiles([7.0].into_iter()), Some([7.0; 3]));
        assert_eq!(quartiles([f64::NAN].into_iter()), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // Both are slow in the same rounds; only the pairs tell.
        let ours = [10.0, 1000.0, 10.0, 1000.0];
        let theirs = [20.0, 2000.0, 20.0, 2000.0];
        let ratio = paired(ours.into_iter(), theirs.into_iter()).unwrap();
        assert_eq!((ratio.median, ratio.quartiles), (0.5, [0.5, 0.5]));
    }

    #[test]
    fn a_round_without_requests_has_no_part_in_a_ratio() {
        let empty = Round::default();
        let round = Round {
            requests: 1000,
            nanos: 1_000_000,
            notifies: 100,
            busy_requests: 500,
            work_nanos: 100_000,
            doorbell_nanos: 25_000,
        };
        assert_eq!((round.rate(), round.notifies()), (1e6, 0.1));
        assert_eq!((round.work(), round.busy()), (200.0, 250.0));
        let rates = [empty, round].map(|round| round.rate());
        assert_eq!(
            paired(rates.into_iter(), rates.into_iter()).map(|ratio| ratio.median),
            Some(1.0)
        );
    }
}
