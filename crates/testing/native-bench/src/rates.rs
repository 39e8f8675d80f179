//! Rates and time within the driver, in turn with the other drivers.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

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
///
/// A turn has two parts: one for the rate, with nothing else in its way, and one for the time within the driver.
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
        rate(&mut **driver, plan);
    }
    let count = drivers.len();
    for round in 0..plan.rounds {
        for place in 0..count {
            let index = (round + place) % count;
            let driver = &mut *drivers[index].1;
            let mut measured = rate(driver, plan);
            busy(driver, plan, clock, &mut measured);
            samples[index].rounds.push(measured);
        }
    }
    samples
}

/// Whether a part of a turn goes on to submit requests. Ends the program if the device does not answer.
fn goes_on(started: Instant, plan: &Plan) -> bool {
    let elapsed = started.elapsed();
    if elapsed > plan.slice + LIMIT {
        stop("the device does not answer");
    }
    elapsed < plan.slice
}

/// Keeps `depth` requests in flight for the time of a slice, and takes back what is in flight at its end.
fn rate(driver: &mut dyn Contender, plan: &Plan) -> Round {
    let mut round = Round::default();
    let notifies = driver.notifies();
    let started = Instant::now();
    let mut in_flight = 0;
    loop {
        let taken = driver.complete();
        in_flight -= taken;
        round.requests += taken as u64;
        if goes_on(started, plan) {
            if in_flight < plan.depth {
                driver.start(plan.depth - in_flight);
                in_flight = plan.depth;
            }
        } else if in_flight == 0 {
            break;
        }
    }
    round.nanos = started.elapsed().as_nanos() as u64;
    round.notifies = driver.notifies() - notifies;
    round
}

/// The same stage by stage, with a look at the processor time before and after each stay in the driver. Polls that would find nothing are not
/// made.
fn busy(driver: &mut dyn Contender, plan: &Plan, clock: Duration, round: &mut Round) {
    let started = Instant::now();
    let (mut work, mut doorbell) = (Stopwatch::default(), Stopwatch::default());
    let mut in_flight = 0;
    loop {
        let goes_on = goes_on(started, plan);
        if in_flight == 0 && !goes_on {
            break;
        }
        if in_flight > 0 && driver.completed() == 0 {
            continue;
        }
        let before = processor_time();
        let taken = if in_flight > 0 { driver.complete() } else { 0 };
        in_flight -= taken;
        round.busy_requests += taken as u64;
        if goes_on {
            driver.submit(plan.depth - in_flight);
            in_flight = plan.depth;
            let between = processor_time();
            driver.publish();
            work.add(between - before);
            doorbell.add(processor_time() - between);
        } else {
            work.add(processor_time() - before);
        }
    }
    round.work_nanos = work.nanos(clock);
    round.doorbell_nanos = doorbell.nanos(clock);
}

/// Adds spans of time up.
#[derive(Default)]
struct Stopwatch {
    time: Duration,
    spans: u32,
}

impl Stopwatch {
    fn add(&mut self, span: Duration) {
        self.time += span;
        self.spans += 1;
    }

    /// All spans without what the clock itself takes of each.
    fn nanos(&self, clock: Duration) -> u64 {
        self.time.saturating_sub(clock * self.spans).as_nanos() as u64
    }
}

/// What this thread has had of its processor. Other programs that take the processor away do not count.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// What is measured between two looks at the processor time that have nothing between them.
fn cost_of_clock() -> Duration {
    const LOOKS: usize = 2000;
    let mut costs: Vec<_> = (0..LOOKS)
        .map(|_| {
            let before = processor_time();
            processor_time() - before
        })
        .collect();
    costs.sort_unstable();
    costs[LOOKS / 2]
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

        fn publish(&mut self) {}

        fn notifies(&self) -> u64 {
            0
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
            let mut round = rate(&mut driver, &plan);
            assert_eq!((driver.most, driver.in_flight), (32, 0));
            assert!(round.requests >= 32 && round.nanos >= 1_000_000);
            busy(&mut driver, &plan, Duration::ZERO, &mut round);
            assert_eq!((driver.most, driver.in_flight), (32, 0));
            assert!(round.busy_requests >= 32);
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
