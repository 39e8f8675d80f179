//! Rates and time within the driver, in turn with the other drivers.

use std::time::{Duration, Instant};

use crate::ours::stop;
use crate::sample::{Round, Sample};
use crate::{Choice, Contender};

/// How long a device may take to answer once a turn is over.
const LIMIT: Duration = Duration::from_secs(20);

/// How to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Requests in flight.
    pub depth: usize,
    /// How many turns each driver gets.
    pub rounds: usize,
    /// How long a turn is.
    pub slice: Duration,
}

/// Gives each driver its turn in each round. Who begins changes from round to round.
pub fn measure(drivers: &mut [(Choice, Box<dyn Contender>)], plan: &Plan) -> Vec<Sample> {
    let clock = cost_of_clock();
    let mut samples: Vec<_> = drivers
        .iter()
        .map(|(choice, _)| Sample {
            choice: *choice,
            depth: plan.depth,
            rounds: Vec::with_capacity(plan.rounds),
        })
        .collect();
    // The first turn finds cold caches and a device that was never asked.
    for (_, driver) in drivers.iter_mut() {
        turn(&mut **driver, plan, clock);
    }
    let count = drivers.len();
    for round in 0..plan.rounds {
        for place in 0..count {
            let index = (round + place) % count;
            let measured = turn(&mut *drivers[index].1, plan, clock);
            samples[index].rounds.push(measured);
        }
    }
    samples
}

/// Keeps `depth` requests in flight for the time of a slice, and takes back what is in flight at its end.
fn turn(driver: &mut dyn Contender, plan: &Plan, clock: Duration) -> Round {
    let mut round = Round::default();
    let (mut busy, mut looks) = (Duration::ZERO, 0);
    let started = Instant::now();
    let end = started + plan.slice;
    let mut in_flight = 0;
    let mut before = started;
    loop {
        // In the first turn of the loop there is nothing to take, but the queue to fill.
        let taken = if in_flight > 0 { driver.complete() } else { 0 };
        in_flight -= taken;
        let mut worked = taken > 0;
        if before < end && in_flight < plan.depth {
            driver.submit(plan.depth - in_flight);
            in_flight = plan.depth;
            round.notifies += u64::from(driver.publish());
            worked = true;
        }
        let now = Instant::now();
        if worked {
            busy += now - before;
            looks += 1;
        }
        round.requests += taken as u64;
        before = now;
        if in_flight == 0 {
            break;
        }
        if now > end + LIMIT {
            stop("the device does not answer");
        }
    }
    round.nanos = (before - started).as_nanos() as u64;
    round.busy_nanos = busy.saturating_sub(clock * looks).as_nanos() as u64;
    round
}

/// What one look at the clock takes.
fn cost_of_clock() -> Duration {
    const LOOKS: u32 = 10_000;
    (0..5)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..LOOKS {
                std::hint::black_box(Instant::now());
            }
            started.elapsed() / LOOKS
        })
        .min()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that completes at most `pace` requests a poll.
    struct Paced {
        pace: usize,
        in_flight: usize,
        most: usize,
    }

    impl Contender for Paced {
        fn submit(&mut self, count: usize) {
            self.in_flight += count;
            self.most = self.most.max(self.in_flight);
        }

        fn publish(&mut self) -> bool {
            true
        }

        fn complete(&mut self) -> usize {
            let taken = self.in_flight.min(self.pace);
            self.in_flight -= taken;
            taken
        }

        fn completed(&mut self) -> usize {
            self.in_flight.min(self.pace)
        }
    }

    #[test]
    fn a_turn_keeps_the_depth_and_leaves_nothing_in_flight() {
        for pace in [1, 3, 32] {
            let mut driver = Paced {
                pace,
                in_flight: 0,
                most: 0,
            };
            let plan = Plan {
                depth: 32,
                rounds: 1,
                slice: Duration::from_millis(1),
            };
            let round = turn(&mut driver, &plan, Duration::ZERO);
            assert_eq!((driver.most, driver.in_flight), (32, 0));
            assert!(round.requests >= 32);
            assert!(round.busy_nanos <= round.nanos);
        }
    }

    #[test]
    fn every_driver_gets_its_turn_in_every_round() {
        let driver = || Paced {
            pace: 4,
            in_flight: 0,
            most: 0,
        };
        let mut drivers: Vec<(Choice, Box<dyn Contender>)> = vec![
            (Choice::Ours, Box::new(driver())),
            (Choice::VirtioDriver, Box::new(driver())),
        ];
        let plan = Plan {
            depth: 8,
            rounds: 5,
            slice: Duration::from_micros(10),
        };
        let samples = measure(&mut drivers, &plan);
        assert_eq!(samples.len(), 2);
        for sample in samples {
            assert_eq!((sample.depth, sample.rounds.len()), (8, 5));
        }
    }
}
