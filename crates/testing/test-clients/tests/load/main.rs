//! The load against a made-up driver: with one that behaves nothing is wrong, with one that does not, the right thing is.

mod disk;

use disk::{Disk, Fault};
use guest_protocol::SectorRange;
use minix_abi::{Errno, Status};
use proptest::prelude::*;
use test_clients::load::{
    Answered, Counters, Failure, Kind, Ledger, Load, MAX_DEPTH, MAX_REQUEST_SECTORS, Order, Run, SectorState,
};
use test_clients::random::Random;

struct Outcome {
    counters: Counters,
    runs: Vec<Run>,
    disk: Disk,
}

struct Setting {
    seed: u64,
    range: SectorRange,
    depth: usize,
    requests: u64,
    deaths: bool,
}

impl Setting {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            range: SectorRange { first: 77, count: 700 },
            depth: 1 + (seed % MAX_DEPTH as u64) as usize,
            requests: 300,
            deaths: true,
        }
    }

    fn run(&self, fault: Fault) -> Result<Outcome, Failure> {
        let mut states = vec![SectorState::UNTOUCHED; self.range.count as usize];
        let ledger = Ledger::new(self.range.first, &mut states, self.seed);
        let mut load = Load::new(ledger, self.seed, self.depth);
        let mut random = Random::new(!self.seed);
        let mut disk = Disk::new(self.seed ^ 99, fault, 40);
        for step in 0.. {
            assert!(step < 1_000_000, "the load does not come to an end");
            if load.counters().acknowledged >= self.requests {
                load.stop();
            }
            while let Some(order) = load.next_order() {
                check_order(&order, &load, self);
                disk.take(order);
            }
            if load.is_done() {
                break;
            }
            assert!(load.outstanding() > 0, "nothing is done");
            if self.deaths && random.one_in(150) {
                disk.die();
                load.restarted();
                // The next one does not know what was open, and is told only after a while.
                disk.is_open = random.one_in(2);
                continue;
            }
            let Some(reply) = disk.step() else { continue };
            let answered = load.reply(reply.id, reply.status, |slot, place, _, seed| {
                assert_eq!(slot, reply.slot);
                reply.read[place] == Some(seed)
            })?;
            if let Answered::Restart(_) = answered {
                disk.is_open = true;
            }
        }
        Ok(Outcome {
            counters: load.counters(),
            runs: load.ledger().runs().collect(),
            disk,
        })
    }
}

fn check_order(order: &Order, load: &Load<'_>, setting: &Setting) {
    let operation = &order.operation;
    assert!(setting.range.contains(operation.range));
    assert!(operation.range.count <= MAX_REQUEST_SECTORS);
    assert!(order.slot < setting.depth);
    assert!(load.outstanding() <= setting.depth);
    assert_eq!(operation.elements.iter().sum::<u64>(), operation.range.count);
    if operation.kind != Kind::Flush {
        assert!(operation.elements.iter().all(|sectors| *sectors > 0));
    }
}

/// What the host does with the records at the end.
fn verify(outcome: &Outcome, range: SectorRange) {
    let mut written = 0;
    for run in &outcome.runs {
        assert!(range.contains(run.range));
        written += run.range.count;
        for sector in run.range.first..run.range.end() {
            assert_eq!(outcome.disk.sectors[&sector], run.seed.unwrap());
        }
    }
    // Nothing else was written.
    assert_eq!(written, outcome.disk.sectors.len() as u64);
}

#[test]
fn nothing_is_wrong_with_a_driver_that_behaves() {
    for seed in 0..200 {
        let setting = Setting::new(seed);
        let outcome = setting.run(Fault::None).unwrap();
        verify(&outcome, setting.range);
        let counters = outcome.counters;
        assert!(counters.acknowledged >= setting.requests);
        assert_eq!(
            counters.acknowledged,
            counters.reads + counters.writes + counters.flushes
        );
        assert!(counters.retried >= counters.reopened.min(1), "{counters:?}");
    }
}

#[test]
fn a_request_is_never_sent_again_without_need() {
    let setting = Setting {
        deaths: false,
        ..Setting::new(5)
    };
    let counters = setting.run(Fault::None).unwrap().counters;
    assert_eq!((counters.retried, counters.reopened), (0, 0));
    assert!(
        counters.reads > 50 && counters.writes > 50 && counters.flushes > 0,
        "{counters:?}"
    );
}

/// How often, of 40 runs in which the driver misbehaved, the failure was seen that it should have been.
fn noticed(fault: Fault, is_right: impl Fn(&Failure) -> bool) -> (u32, u32) {
    let (mut misbehaved, mut seen) = (0, 0);
    for seed in 0..40 {
        let setting = Setting::new(seed);
        match setting.run(fault) {
            Ok(outcome) => {
                misbehaved += u32::from(outcome.disk.has_misbehaved);
                verify(&outcome, setting.range);
            }
            Err(failure) => {
                assert!(is_right(&failure), "{fault:?} seen as {failure}");
                misbehaved += 1;
                seen += 1;
            }
        }
    }
    (misbehaved, seen)
}

#[test]
fn lost_and_misplaced_writes_are_seen() {
    for fault in [Fault::LoseWrite, Fault::LoseSector, Fault::Misplace, Fault::StaleRead] {
        let (misbehaved, seen) = noticed(fault, |failure| matches!(failure, Failure::Content(_)));
        // One that is written over before anybody looks cannot be seen, and does no harm: `verify` passed.
        assert!(
            misbehaved >= 35 && seen * 10 >= misbehaved * 6,
            "{fault:?}: {seen} of {misbehaved}"
        );
    }
}

#[test]
fn what_is_gone_after_a_restart_is_seen() {
    let (misbehaved, seen) = noticed(Fault::ForgetOnDeath, |failure| matches!(failure, Failure::Content(_)));
    assert!(
        misbehaved >= 20 && seen * 10 >= misbehaved * 9,
        "{seen} of {misbehaved}"
    );
}

#[test]
fn replies_too_many_are_seen() {
    let (misbehaved, seen) = noticed(Fault::AnswerTwice, |failure| {
        matches!(failure, Failure::AnsweredTwice(_))
    });
    assert!(misbehaved >= 35 && seen == misbehaved, "{seen} of {misbehaved}");
    let (misbehaved, seen) = noticed(Fault::AnswerNobody, |failure| matches!(failure, Failure::NeverAsked(_)));
    assert!(misbehaved >= 35 && seen == misbehaved, "{seen} of {misbehaved}");
}

#[test]
fn short_transfers_are_seen() {
    let is_right = |failure: &Failure| matches!(failure, Failure::Refused { .. });
    let (misbehaved, seen) = noticed(Fault::WrongLength, is_right);
    assert!(misbehaved >= 35 && seen == misbehaved, "{seen} of {misbehaved}");
}

#[test]
fn what_went_wrong_is_nothing_to_rely_on() {
    let mut states = [SectorState::UNTOUCHED; 8];
    let mut ledger = Ledger::new(100, &mut states, 3);
    let part = |first, count| SectorRange { first, count };
    let write = ledger.begin_write(part(101, 2));
    ledger.acknowledge_write(part(101, 2));
    ledger.begin_write(part(104, 2));
    ledger.begin_write(part(106, 1));
    ledger.spoil(part(106, 1));
    let runs: Vec<_> = ledger.runs().collect();
    let seeds = [Some(ledger.seed(write)), None, None];
    let ranges = [part(101, 2), part(104, 2), part(106, 1)];
    let wanted: Vec<_> = ranges
        .into_iter()
        .zip(seeds)
        .map(|(range, seed)| Run { range, seed })
        .collect();
    assert_eq!(runs, wanted);
}

#[test]
fn a_retry_has_the_same_content_and_another_id() {
    let mut states = [SectorState::UNTOUCHED; 64];
    let mut load = Load::new(Ledger::new(0, &mut states, 3), 3, 1);
    let bytes = |order: &Order| Status((order.operation.range.count * 512) as i32);
    let first = loop {
        let order = load.next_order().unwrap();
        assert!(!order.is_retry);
        if matches!(order.operation.kind, Kind::Write { .. }) {
            break order;
        }
        load.reply(order.id, bytes(&order), |_, _, _, _| true).unwrap();
    };
    assert!(load.next_order().is_none());
    load.restarted();
    let second = load.next_order().unwrap();
    assert!(second.is_retry && second.id != first.id);
    assert_eq!(
        (second.slot, second.seed, &second.operation),
        (first.slot, first.seed, &first.operation)
    );
    let late = load.reply(first.id, bytes(&first), |_, _, _, _| true);
    assert_eq!(late, Err(Failure::NeverAsked(first.id)));
    let again = load.reply(second.id, Errno::ERESTART.into(), |_, _, _, _| true);
    assert_eq!(again, Ok(Answered::Restart(0)));
    let third = load.next_order().unwrap();
    let done = load.reply(third.id, bytes(&third), |_, _, _, _| true);
    assert_eq!(done, Ok(Answered::Done(0)));
    assert_eq!(load.counters().retried, 2);
}

#[test]
fn what_was_acknowledged_last_is_read_again_after_a_restart() {
    let mut states = [SectorState::UNTOUCHED; 4096];
    let mut load = Load::new(Ledger::new(0, &mut states, 3), 3, 1);
    let mut written = Vec::new();
    while written.len() < 20 {
        let order = load.next_order().unwrap();
        let range = order.operation.range;
        if matches!(order.operation.kind, Kind::Write { .. }) {
            written.push(range);
        }
        let status = Status((range.count * 512) as i32);
        load.reply(order.id, status, |_, _, _, _| true).unwrap();
    }
    load.restarted();
    for range in &written[16..] {
        let order = load.next_order().unwrap();
        assert_eq!((order.operation.kind, order.operation.range), (Kind::Read, *range));
        let status = Status((range.count * 512) as i32);
        load.reply(order.id, status, |_, _, _, _| true).unwrap();
    }
}

proptest! {
    #[test]
    fn any_range_and_depth_will_do(seed in any::<u64>(), first in 0..1u64 << 40, count in 1..300u64, depth in 0..40usize) {
        let setting = Setting {
            seed,
            range: SectorRange { first, count },
            depth: depth.clamp(1, MAX_DEPTH),
            requests: 60,
            deaths: true,
        };
        let outcome = setting.run(Fault::None);
        prop_assert!(outcome.is_ok());
        verify(&outcome.unwrap(), setting.range);
    }
}
