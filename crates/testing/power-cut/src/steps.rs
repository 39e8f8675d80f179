//! What reached a disk, step by step, and what had been reported at each step.

use std::collections::BTreeSet;

use guest_protocol::SECTOR_BYTES;

use crate::content::{Content, Request};
use crate::history::{History, Time};
use crate::log::{Entry, Log};

/// One thing that happened to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sectors from this one on got these contents: on the medium if `durable`, else in a cache that is lost with the power.
    Write {
        first: u64,
        contents: Vec<Content>,
        durable: bool,
    },
    /// The first so many steps are on the medium.
    Flush { covers: usize },
}

impl Step {
    /// The requests whose content it brings.
    fn requests(&self) -> impl Iterator<Item = Request> + '_ {
        let contents = match self {
            Self::Write { contents, .. } => contents.as_slice(),
            Self::Flush { .. } => &[],
        };
        contents.iter().filter_map(|content| match content {
            Content::Written(request) => Some(*request),
            _ => None,
        })
    }
}

/// The steps of a log, one for each entry. What is discarded reads as zeroes, as it does in QEMU's raw images.
pub fn of_log(log: &Log<'_>) -> Vec<Step> {
    let step = |(place, entry): (usize, &Entry<'_>)| match *entry {
        Entry::Write { first, data, durable } => {
            let (sectors, _) = data.as_chunks::<SECTOR_BYTES>();
            let contents = (first..).zip(sectors).map(|(sector, bytes)| Content::of(sector, bytes));
            Step::Write {
                first,
                contents: contents.collect(),
                durable,
            }
        }
        Entry::Discard { first, count } => Step::Write {
            first,
            contents: vec![Content::Zeros; count as usize],
            durable: false,
        },
        Entry::Flush => Step::Flush { covers: place },
        Entry::Mark => Step::Flush { covers: 0 },
    };
    log.entries.iter().enumerate().map(step).collect()
}

/// Which events had been reported at which step.
#[derive(Clone, Debug)]
pub struct Clock {
    /// For each cut, from before the first step to after the last: the time of an event that had been reported by then, though later
    /// ones may have been, too.
    known: Vec<Time>,
    /// For each step: the time of an event that had not been reported yet.
    latest: Vec<Time>,
}

impl Clock {
    /// For steps whose time is known: how many events had been reported when each of them was taken.
    pub fn exact(times: &[Time], history: &History) -> Self {
        let known = times.iter().copied().chain([history.now()]).collect();
        let latest = times.iter().map(|time| time + 1).collect();
        Self { known, latest }
    }

    /// For a disk that is looked at once all has been reported, and is written down as so many steps in any order: promises count
    /// after the last of them.
    pub fn at_the_end(steps: usize, history: &History) -> Self {
        let now = history.now();
        let mut known = vec![0; steps];
        known.push(now);
        Self {
            known,
            latest: vec![now; steps],
        }
    }

    /// For steps that tell no more than whose contents they bring. What a request wrote is on the disk after the request was
    /// reported, and so after all that was reported before it; and before its answer was. So a promise counts from the next
    /// write on whose request was sent after it. After the last step everything has been reported.
    pub fn of_contents(steps: &[Step], history: &History) -> Self {
        let mut known = Vec::with_capacity(steps.len() + 1);
        let mut time = 0;
        for step in steps {
            let asked = step.requests().filter_map(|request| history.asked(request));
            time = asked.fold(time, Time::max);
            // The cut comes right before the step is taken: it has been asked for.
            known.push(time);
        }
        known.push(history.now());
        // A driver that is wrong may write again after its answer.
        let mut seen = BTreeSet::new();
        let firsts: Vec<Vec<Request>> = steps
            .iter()
            .map(|step| step.requests().filter(|request| seen.insert(*request)).collect())
            .collect();
        let mut time = history.now() + 1;
        let mut latest: Vec<Time> = firsts
            .iter()
            .rev()
            .map(|requests| {
                let done = requests.iter().filter_map(|request| history.done(*request));
                time = done.fold(time, Time::min);
                time
            })
            .collect();
        latest.reverse();
        Self { known, latest }
    }

    /// An event that had been reported when the power went after so many steps.
    pub(crate) fn known(&self, cut: usize) -> Time {
        self.known.get(cut).copied().unwrap_or(0)
    }

    /// An event that had not been reported when a step was taken.
    pub(crate) fn latest(&self, step: usize) -> Time {
        self.latest.get(step).copied().unwrap_or(Time::MAX)
    }
}

#[cfg(test)]
mod tests {
    use guest_protocol::{Ask, Fate, SectorRange, pattern, witness};

    use super::*;
    use crate::history::Event;

    const A: Request = Request { client: 1, number: 1 };
    const B: Request = Request { client: 2, number: 1 };

    fn write(contents: &[Content]) -> Step {
        Step::Write {
            first: 10,
            contents: contents.to_vec(),
            durable: false,
        }
    }

    #[test]
    fn each_entry_is_a_step() {
        let mut data = [0; 2 * SECTOR_BYTES];
        pattern::fill(witness::seed(1, 1), 10, &mut data[..SECTOR_BYTES]);
        let log = Log {
            entries: vec![
                Entry::Write {
                    first: 10,
                    data: &data,
                    durable: false,
                },
                Entry::Mark,
                Entry::Flush,
                Entry::Discard { first: 10, count: 1 },
            ],
            uncounted: 0,
        };
        let steps = [
            write(&[Content::Written(A), Content::Zeros]),
            Step::Flush { covers: 0 },
            Step::Flush { covers: 2 },
            write(&[Content::Zeros]),
        ];
        assert_eq!(of_log(&log), steps);
    }

    #[test]
    fn a_write_in_the_log_dates_what_came_before_its_request_and_after_its_answer() {
        let mut history = History::new();
        let asked = |request| Event::Asked {
            request,
            driver: 0,
            ask: Ask::Write,
            range: SectorRange { first: 10, count: 1 },
        };
        let heard = |request| Event::Heard {
            request,
            fate: Fate::Done,
        };
        for event in [asked(A), heard(A), asked(B), heard(B)] {
            history.push(event).unwrap();
        }
        let steps = [
            write(&[Content::Written(A)]),
            Step::Flush { covers: 1 },
            write(&[Content::Written(B)]),
            Step::Flush { covers: 3 },
        ];
        let clock = Clock::of_contents(&steps, &history);
        assert_eq!([0, 1, 2, 3, 4].map(|cut| clock.known(cut)), [1, 1, 3, 3, 4]);
        assert_eq!([0, 1, 2, 3].map(|step| clock.latest(step)), [2, 4, 4, 5]);
    }
}
