//! What was promised to be durable is on the medium at that moment, in spite of all that happens to the device before and after.
//!
//! The fake disk keeps the medium apart from its cache. A power cut may come after any answer, so the medium is looked at
//! after each event.

mod common;

use std::collections::BTreeMap;

use common::{Rig, micros};
use minix_abi::MessageType;
use minix_abi::bdev::{BdevFlags, BdevRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_blockdriver::{Broken, DeviceError, DriverOptions, Refusal};
use proptest::prelude::*;

const SECTORS: u64 = 24;
/// A longer write. Its memory is in pieces.
const LONG: u64 = 9;
const PAUSE: u64 = 100;
const TIMEOUT: u64 = 10_000;

#[derive(Clone, Debug)]
enum Event {
    Write {
        sector: u64,
        count: u64,
        force: bool,
    },
    Flush,
    Reopen,
    Switch(bool),
    Finish {
        nth: usize,
        result: Result<(), DeviceError>,
    },
    Lose(usize),
    Break,
    BreakUnseen,
    DieSilently,
    FailReset {
        stuck: bool,
    },
    /// It has a cache, or none, after the next reset.
    OtherCache(bool),
    Refuse(Refusal),
    Poll,
    Sleep(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let count = prop_oneof![3 => Just(1), 1 => Just(LONG)];
    let result = prop_oneof![12 => Just(Ok(())), 1 => Just(Err(DeviceError::Io))];
    prop_oneof![
        12 => (0..SECTORS, count, prop::bool::weighted(0.4))
            .prop_map(|(sector, count, force)| Event::Write { sector, count, force }),
        3 => Just(Event::Flush),
        2 => Just(Event::Reopen),
        1 => any::<bool>().prop_map(Event::Switch),
        20 => (0..16_usize, result).prop_map(|(nth, result)| Event::Finish { nth, result }),
        1 => (0..16_usize).prop_map(Event::Lose),
        2 => Just(Event::Break),
        2 => Just(Event::BreakUnseen),
        1 => Just(Event::DieSilently),
        2 => any::<bool>().prop_map(|stuck| Event::FailReset { stuck }),
        2 => any::<bool>().prop_map(Event::OtherCache),
        1 => prop::sample::select(vec![Refusal::Broken, Refusal::Full]).prop_map(Event::Refuse),
        12 => Just(Event::Poll),
        6 => (0..2 * PAUSE).prop_map(Event::Sleep),
        2 => (0..TIMEOUT).prop_map(Event::Sleep),
    ]
}

/// What was asked for.
#[derive(Clone, Debug)]
enum Asked {
    Write {
        sector: u64,
        count: u64,
        stamp: u8,
        force: bool,
    },
    /// A flush or a close.
    Barrier,
    Other,
}

struct Run {
    rig: Rig,
    asked: Vec<(i32, Asked)>,
    /// The newest acknowledged write of each sector, by its place among all writes.
    acknowledged: BTreeMap<u64, u8>,
    stamp: u8,
}

impl Run {
    fn send(&mut self, kind: MessageType, request: BdevRequest, asked: Asked) {
        if self.rig.driver.has_room() {
            let id = self.rig.send(kind, request);
            self.asked.push((id, asked));
        }
    }

    fn on_minor_0() -> BdevRequest {
        BdevRequest {
            minor: Minor(0),
            ..BdevRequest::default()
        }
    }

    /// All writes ahead of a barrier are answered before it is, so what is to be durable is known at its answer.
    fn look(&mut self) {
        let mut index = 0;
        while index < self.asked.len() {
            let Some(status) = self.rig.answer(self.asked[index].0) else {
                index += 1;
                continue;
            };
            match self.asked.remove(index).1 {
                Asked::Write {
                    sector,
                    count,
                    stamp,
                    force,
                } if status > 0 => {
                    for sector in sector..sector + count {
                        let newest = self.acknowledged.entry(sector).or_default();
                        *newest = stamp.max(*newest);
                        if force {
                            self.is_durable(sector, stamp);
                        }
                    }
                }
                Asked::Barrier if status == 0 => {
                    for (sector, stamp) in self.acknowledged.clone() {
                        // Those that came after the barrier are not acknowledged yet.
                        self.is_durable(sector, stamp);
                    }
                }
                _ => {}
            }
        }
    }

    /// Later writes have larger stamps, and keep their order where they overlap.
    fn is_durable(&mut self, sector: u64, stamp: u8) {
        let found = self.rig.disk().medium[sector as usize * 512];
        assert!(
            found >= stamp,
            "sector {sector} is {found} on the medium, {stamp} was promised"
        );
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Write { sector, count, force } if self.stamp < 255 => {
                self.stamp += 1;
                let stamp = self.stamp;
                let mut request = self
                    .rig
                    .write_request(0, sector * 512, &vec![stamp; 512 * count as usize]);
                if force {
                    request.flags = BdevFlags::FORCEWRITE;
                }
                self.send(
                    MessageType::BDEV_WRITE,
                    request,
                    Asked::Write {
                        sector,
                        count,
                        stamp,
                        force,
                    },
                );
            }
            Event::Write { .. } => {}
            Event::Flush => {
                let request = BdevRequest {
                    request: IoctlCode::DIOCFLUSH,
                    ..Self::on_minor_0()
                };
                self.send(MessageType::BDEV_IOCTL, request, Asked::Barrier);
            }
            Event::Reopen => {
                self.send(MessageType::BDEV_CLOSE, Self::on_minor_0(), Asked::Barrier);
                self.send(MessageType::BDEV_OPEN, Self::on_minor_0(), Asked::Other);
            }
            Event::Switch(on) => {
                let buffer = self.rig.buffer(4, common::Placement::Contiguous, 0);
                self.rig.fill(buffer, &i32::from(on).to_le_bytes());
                let request = BdevRequest {
                    request: IoctlCode::DIOCSETWC,
                    grant: self.rig.lend_to_take(buffer),
                    ..Self::on_minor_0()
                };
                self.send(MessageType::BDEV_IOCTL, request, Asked::Other);
            }
            Event::Finish { nth, result } => {
                let notified = self.rig.disk().notified;
                if notified > 0 {
                    self.rig.disk().finish(nth % notified, result);
                }
            }
            Event::Lose(nth) => {
                let notified = self.rig.disk().notified;
                if notified > 0 {
                    self.rig.disk().lose(nth % notified);
                }
            }
            Event::Break => self.rig.disk().broken = true,
            Event::BreakUnseen => {
                self.rig.disk().poll_finds_nothing = true;
                self.rig.disk().broken = true;
            }
            Event::DieSilently => self.rig.disk().silently_dead = true,
            Event::FailReset { stuck } => {
                self.rig.disk().stuck = stuck;
                self.rig.disk().resets.push_back(Err(Broken));
            }
            Event::OtherCache(cache) => self.rig.disk().cache_after_reset = Some(cache),
            Event::Refuse(refusal) => self.rig.disk().refusals.push_back(Some(refusal)),
            Event::Poll => drop(self.rig.poll()),
            Event::Sleep(span) => self.rig.sleep(micros(span)),
        }
        self.look();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_promised_to_be_durable_is_on_the_medium(
        events in prop::collection::vec(event(), 1..120),
        flush_after in prop::sample::select(vec![0, 500]),
        depth in prop::sample::select(vec![1, 2, 64]),
        max_segments in prop::sample::select(vec![1, 64]),
    ) {
        let options = DriverOptions {
            request_timeout: micros(TIMEOUT),
            reset_pause: micros(PAUSE),
            reset_attempts: 2,
            flush_after: micros(flush_after),
            depth,
            ..DriverOptions::default()
        };
        let mut rig = Rig::opened_with(options, |disk| {
            disk.info.max_segments = max_segments;
            disk.content.fill(0);
            disk.medium.fill(0);
        });
        rig.disk().automatic = false;
        let mut run = Run { rig, asked: Vec::new(), acknowledged: BTreeMap::new(), stamp: 0 };
        for event in events {
            run.event(event);
        }
        let disk = run.rig.disk();
        disk.automatic = true;
        disk.broken = false;
        disk.refusals.clear();
        disk.resets.clear();
        run.event(Event::Reopen);
        for _ in 0..60 {
            run.event(Event::Poll);
            if let Some(at) = run.rig.driver.deadline() {
                run.rig.sleep(at.since(run.rig.now));
            }
        }
        prop_assert!(run.rig.driver.is_idle(), "{} wait", run.rig.kernel.unanswered());
    }
}
