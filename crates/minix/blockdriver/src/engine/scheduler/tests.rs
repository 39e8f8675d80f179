//! The lines and regions against the rule told as walks over all requests in order of arrival.

extern crate std;
use std::vec::Vec;

use minix_abi::kernel_call::MapElement;
use minix_abi::{Errno, Instant};
use proptest::prelude::*;

use super::*;
use crate::engine::job::{Job, Stage};
use crate::protocol::request::{Caller, Kind};

const JOBS: usize = 12;
const READS_BEFORE_WRITE: u8 = 3;

/// The transfers in order of arrival.
fn arrivals(intake: &Intake<JOBS>) -> impl Iterator<Item = JobId> + '_ {
    core::iter::successors(intake.first(), |&id| intake.after(id)).take_while(|&id| intake[id].stage == Stage::Transfer)
}

/// Whether everything is done that has to be done before this transfer.
fn may_start(intake: &Intake<JOBS>, id: JobId) -> bool {
    let mine = &intake[id].transfer;
    arrivals(intake).take_while(|&other| other != id).all(|other| {
        let ahead = &intake[other].transfer;
        let both_write = mine.direction == Direction::Write && ahead.direction == Direction::Write;
        !(mine.conflicts(ahead) || both_write && (mine.is_forced() || ahead.is_forced()))
    })
}

/// What [`Scheduler::pick`] is to find.
fn pick(intake: &Intake<JOBS>, write_is_due: bool, any_bounce_free: bool) -> Option<JobId> {
    let (mut read, mut write) = (None, None);
    for id in arrivals(intake) {
        let transfer = &intake[id].transfer;
        if !transfer.is_ready() || transfer.needs_bounce() && !any_bounce_free {
            continue;
        }
        if transfer.submitted() > 0 {
            // It is under way already.
            return Some(id);
        }
        let choice = match transfer.direction {
            Direction::Read => &mut read,
            Direction::Write => &mut write,
        };
        if choice.is_none() && may_start(intake, id) {
            *choice = Some(id);
            let decided = if write_is_due { write } else { read };
            if decided.is_some() {
                return decided;
            }
        }
    }
    if write_is_due { write.or(read) } else { read.or(write) }
}

/// What [`Scheduler::neighbour`] is to find.
fn neighbour(intake: &Intake<JOBS>, head: JobId, last: JobId) -> Option<JobId> {
    let (head, end) = (&intake[head].transfer, intake[last].transfer.end());
    arrivals(intake).filter(|_| head.may_merge()).find(|&id| {
        let transfer = &intake[id].transfer;
        transfer.first == end
            && transfer.direction == head.direction
            && transfer.is_ready()
            && transfer.submitted() == 0
            && transfer.may_merge()
            && may_start(intake, id)
    })
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Page,
    HalfSmallRegion,
    HalfLargeRegion,
}

/// What can happen, to some transfer.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Arrives {
        writes: bool,
        forced: bool,
        first: u8,
        length: u8,
        /// Of `first` and `length`. The finest is near the end of a region of each grid.
        unit: Unit,
    },
    /// The device takes what is picked, all of it or a part.
    Submitted {
        whole: bool,
        any_bounce_free: bool,
    },
    Completed {
        nth: usize,
        cached: bool,
        error: bool,
    },
    NeedsBounce {
        nth: usize,
    },
    Rewound {
        nth: usize,
        alone: bool,
    },
    Cut {
        nth: usize,
    },
    Answered {
        nth: usize,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    let nth = 0..JOBS;
    let unit = prop_oneof![5 => Just(Unit::Page), 1 => Just(Unit::HalfSmallRegion), 1 => Just(Unit::HalfLargeRegion)];
    prop_oneof![
        8 => (any::<bool>(), prop::bool::weighted(0.2), 0..12_u8, 1..5_u8, unit).prop_map(
            |(writes, forced, first, length, unit)| Happening::Arrives { writes, forced, first, length, unit }
        ),
        8 => (prop::bool::weighted(0.7), any::<bool>())
            .prop_map(|(whole, any_bounce_free)| Happening::Submitted { whole, any_bounce_free }),
        6 => (nth.clone(), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(nth, cached, error)| Happening::Completed { nth, cached, error }),
        1 => nth.clone().prop_map(|nth| Happening::NeedsBounce { nth }),
        1 => (nth.clone(), any::<bool>()).prop_map(|(nth, alone)| Happening::Rewound { nth, alone }),
        1 => nth.clone().prop_map(|nth| Happening::Cut { nth }),
        2 => nth.prop_map(|nth| Happening::Answered { nth }),
    ]
}

struct Bench {
    intake: Intake<JOBS>,
    scheduler: Scheduler<JOBS>,
}

impl Bench {
    fn new() -> Self {
        Self {
            intake: Intake::new(),
            scheduler: Scheduler::new(READS_BEFORE_WRITE),
        }
    }

    fn nth(&self, nth: usize) -> Option<JobId> {
        let count = arrivals(&self.intake).count();
        arrivals(&self.intake).nth(nth.checked_rem(count)?)
    }

    fn answer(&mut self, id: JobId) {
        self.scheduler.all_submitted(id);
        self.scheduler.leaves(id, &self.intake[id].transfer);
        self.intake.remove(id);
        self.scheduler.answered(&self.intake);
    }

    fn arrive(&mut self, transfer: Transfer) {
        let kind = match transfer.direction {
            Direction::Read => Kind::Read,
            Direction::Write => Kind::Write,
        };
        let caller: Caller = Job::FREE.caller;
        let Some(id) = self.intake.push(Instant::START, caller, kind, Job::FREE.minor) else {
            return;
        };
        self.intake.set_transfer(id, transfer);
        self.scheduler.admitted(&self.intake, id);
    }

    fn submit(&mut self, whole: bool, any_bounce_free: bool) {
        let Some(id) = self.scheduler.pick(&self.intake, any_bounce_free) else {
            return;
        };
        let job = &mut self.intake[id];
        let direction = job.transfer.direction;
        if job.transfer.is_flush_due() {
            job.transfer.flush_submitted();
            self.scheduler.changed(&self.intake, id);
            return;
        }
        if job.transfer.submitted() == 0 {
            self.scheduler.had_turn(direction);
        }
        if whole && job.transfer.submitted() == 0 {
            job.transfer.whole_submitted();
            self.scheduler.all_submitted(id);
        } else {
            let rest = job.transfer.rest();
            let element = MapElement::granted(minix_abi::GrantId(1), job.transfer.bytes.into());
            job.transfer.piece_submitted(rest.min(4096), &[element]);
            self.scheduler.changed(&self.intake, id);
        }
    }

    fn complete(&mut self, id: JobId, cached: bool, error: bool) {
        if self.intake[id].transfer.lost().is_none() {
            return;
        }
        let transfer = &mut self.intake[id].transfer;
        transfer.piece_completed(cached);
        if error {
            transfer.failed(Errno::EIO, false);
            self.scheduler.changed(&self.intake, id);
        }
        match self.intake[id].transfer.progress() {
            None => {}
            Some(crate::transfer::Progress::Ready) => self.scheduler.changed(&self.intake, id),
            Some(_) => self.answer(id),
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives {
                writes,
                forced,
                first,
                length,
                unit,
            } => {
                let (first, unit) = match unit {
                    Unit::Page => (250 + u16::from(first), 4 << 10),
                    Unit::HalfSmallRegion => (26 + u16::from(first), 32 << 10),
                    Unit::HalfLargeRegion => (u16::from(first) / 4, 512 << 10),
                };
                let direction = if writes { Direction::Write } else { Direction::Read };
                let (first, bytes) = (u64::from(first) * unit, u32::from(length) * unit as u32);
                let transfer = Transfer::new(direction, first, bytes, 1);
                self.arrive(if writes && forced { transfer.forced() } else { transfer });
            }
            Happening::Submitted { whole, any_bounce_free } => self.submit(whole, any_bounce_free),
            Happening::Completed { nth, cached, error } => {
                if let Some(id) = self.nth(nth) {
                    self.complete(id, cached, error);
                }
            }
            Happening::NeedsBounce { nth } => {
                if let Some(id) = self.nth(nth) {
                    self.intake[id].transfer.use_bounce();
                }
            }
            Happening::Rewound { nth, alone } => {
                if let Some(id) = self.nth(nth) {
                    self.intake[id].transfer.rewind();
                    if alone {
                        self.intake[id].transfer.set_alone();
                    }
                    self.scheduler.changed(&self.intake, id);
                }
            }
            Happening::Cut { nth } => {
                if let Some(id) = self.nth(nth)
                    && self.intake[id].transfer.bytes > 4096
                    && self.intake[id].transfer.submitted() == 0
                {
                    let bytes = self.intake[id].transfer.bytes - 4096;
                    self.scheduler.cut(&mut self.intake, id, bytes, 1);
                }
            }
            Happening::Answered { nth } => {
                if let Some(id) = self.nth(nth) {
                    self.answer(id);
                }
            }
        }
    }

    /// Every answer of the scheduler is that of the walks.
    fn check(&self) {
        let intake = &self.intake;
        for any_bounce_free in [false, true] {
            for reads_in_a_row in [0, READS_BEFORE_WRITE] {
                let write_is_due = self.scheduler.writes > 0 && reads_in_a_row > 0;
                if write_is_due == (self.scheduler.reads_in_a_row >= READS_BEFORE_WRITE && self.scheduler.writes > 0) {
                    assert_eq!(
                        self.scheduler.pick(intake, any_bounce_free),
                        pick(intake, write_is_due, any_bounce_free)
                    );
                }
            }
        }
        let ready = arrivals(intake).filter(|&id| intake[id].transfer.is_ready());
        let ready = ready.filter(|&id| intake[id].transfer.submitted() > 0 || may_start(intake, id));
        assert_eq!(usize::from(self.scheduler.ready), ready.count());
        for head in arrivals(intake) {
            let line = |id: JobId| match intake[id].transfer.direction {
                Direction::Read if self.scheduler.single == Some(id) => Some(Line::Read),
                Direction::Write if self.scheduler.single == Some(id) => Some(Line::Write),
                _ => self.scheduler.line_of[id.index::<JOBS>()],
            };
            let waits = matches!(line(head), Some(Line::Read | Line::Write));
            // What shares a device request waits in the same line.
            for last in arrivals(intake).filter(|&last| waits && line(last) == line(head)) {
                let found = self.scheduler.neighbour(intake, head, last);
                assert_eq!(found, neighbour(intake, head, last));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lines_and_regions_find_what_walks_find(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut bench = Bench::new();
        for happening in happenings {
            bench.happen(happening);
            bench.check();
        }
        let left: Vec<_> = arrivals(&bench.intake).collect();
        for id in left {
            bench.answer(id);
            bench.check();
        }
        let scheduler = &bench.scheduler;
        prop_assert_eq!((scheduler.writes, scheduler.forced, scheduler.ready), (0, 0, 0));
        prop_assert_eq!(scheduler.single, None);
        prop_assert!(scheduler.lines.iter().all(List::is_empty) && scheduler.regions.has_none_filed());
    }
}
