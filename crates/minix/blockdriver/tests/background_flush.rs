//! Writes do not linger in a volatile cache for ever, though no client asks for a flush.

mod common;

use std::time::Duration;

use common::{Op, Rig, micros};
use minix_abi::bdev::{BdevFlags, BdevRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Errno, GrantId, MessageType};
use minix_blockdriver::{Broken, DeviceError, DriverOptions, Instant, Refusal};
use proptest::prelude::*;

const AFTER: Duration = micros(1000);
const TIMEOUT: Duration = AFTER.saturating_mul(10);

fn options() -> DriverOptions {
    DriverOptions {
        request_timeout: TIMEOUT,
        replays: 2,
        reset_attempts: 2,
        reset_pause: micros(100),
        flush_after: AFTER,
        ..DriverOptions::default()
    }
}

/// A disk that is open and finishes nothing by itself.
fn manual() -> Rig {
    let mut rig = Rig::opened_with(options(), |_| {});
    rig.disk().automatic = false;
    rig
}

fn flushes(rig: &mut Rig) -> usize {
    rig.disk().log.iter().filter(|given| given.op == Op::Flush).count()
}

/// Writes a sector and waits for the answer.
fn write(rig: &mut Rig, sector: u64) {
    let id = rig.send_write(sector, 1, 7);
    rig.poll();
    let nth = rig.disk().notified - 1;
    rig.disk().finish(nth, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(id), Some(512));
}

/// Ends what the device has.
fn finish(rig: &mut Rig, result: Result<(), DeviceError>) {
    rig.disk().finish(0, result);
    rig.poll();
}

fn on_minor_0() -> BdevRequest {
    BdevRequest {
        minor: Minor(0),
        ..BdevRequest::default()
    }
}

#[test]
fn the_default_is_a_second() {
    assert_eq!(DriverOptions::default().flush_after, Duration::from_secs(1));
}

#[test]
fn a_write_is_flushed_in_the_background_after_a_while() {
    let mut rig = manual();
    write(&mut rig, 0);
    let written = rig.now;
    assert_eq!(rig.driver.deadline(), Some(written.after(AFTER)));
    rig.sleep(AFTER / 2);
    write(&mut rig, 1);
    assert_eq!(
        rig.driver.deadline(),
        Some(written.after(AFTER)),
        "the oldest one counts"
    );
    rig.sleep(AFTER / 2 - micros(1));
    assert_eq!(flushes(&mut rig), 0);
    rig.sleep(micros(1));
    assert_eq!(flushes(&mut rig), 1);
    assert_eq!((rig.disk().notified, rig.driver.in_flight()), (1, 1));
    let look = rig.now.after(TIMEOUT / 4);
    assert_eq!(rig.driver.deadline(), Some(look), "one at a time");
    let replies = rig.driver.counters().replies;
    finish(&mut rig, Ok(()));
    assert_eq!((rig.disk().unflushed, rig.driver.deadline()), (0, None));
    assert_eq!(rig.driver.counters().replies, replies, "no client is answered");
    assert_eq!(rig.driver.counters().background_flushes, 1);
    assert_eq!(rig.driver.counters().flushes, 1);
    rig.sleep(10 * AFTER);
    assert_eq!(flushes(&mut rig), 1);
}

#[test]
fn poll_sends_it_as_well_as_on_time() {
    let mut rig = manual();
    write(&mut rig, 0);
    rig.now = rig.now.after(AFTER);
    rig.poll();
    assert_eq!(flushes(&mut rig), 1);
}

#[test]
fn a_full_device_is_not_asked_again_because_a_flush_is_due() {
    let mut rig = manual();
    rig.disk().room = 1;
    write(&mut rig, 0);
    for sector in [10, 20] {
        rig.send_read(sector, 1);
        rig.poll();
    }
    let full = rig.driver.counters().device_full;
    assert_eq!((rig.disk().pending.len(), full), (1, 1));
    rig.sleep(AFTER);
    rig.poll();
    assert_eq!(rig.driver.counters().device_full, full);
    finish(&mut rig, Ok(()));
    assert_eq!(flushes(&mut rig), 1);
}

#[test]
fn reads_and_writes_that_fail_need_no_flush() {
    let mut rig = manual();
    rig.send_read(0, 1);
    rig.poll();
    finish(&mut rig, Ok(()));
    rig.send_write(0, 1, 1);
    rig.poll();
    finish(&mut rig, Err(DeviceError::Io));
    assert_eq!(rig.driver.deadline(), None);
}

#[test]
fn bounced_merged_and_split_writes_count() {
    for bounced in [false, true] {
        let mut rig = Rig::opened_with(options(), |disk| {
            disk.info.max_segments = 1;
            disk.unreachable_from = if bounced { 0 } else { u64::MAX };
        });
        assert_eq!(rig.write(0, 0, &[1; 3 * 4096]), 3 * 4096);
        assert_eq!(rig.driver.deadline(), Some(rig.now.after(AFTER)));
    }
    let mut rig = manual();
    let ids = [0, 1].map(|sector| rig.send_write(sector, 1, 1));
    rig.poll();
    finish(&mut rig, Ok(()));
    assert_eq!(ids.map(|id| rig.answer(id)), [Some(512); 2]);
    assert_eq!(rig.driver.deadline(), Some(rig.now.after(AFTER)));
}

#[test]
fn no_background_flush_without_cache_or_flush_or_if_disabled() {
    let cases: [fn(&mut Rig); 2] = [
        |rig| rig.disk().info.write_cache = false,
        |rig| rig.disk().info.can_flush = false,
    ];
    for change in cases {
        let mut rig = manual();
        change(&mut rig);
        write(&mut rig, 0);
        assert_eq!(rig.driver.deadline(), None);
        rig.sleep(10 * AFTER);
        assert_eq!(flushes(&mut rig), 0);
    }
    let mut rig = Rig::opened_with(
        DriverOptions {
            flush_after: Duration::ZERO,
            ..options()
        },
        |_| {},
    );
    rig.disk().automatic = false;
    write(&mut rig, 0);
    assert_eq!(rig.driver.deadline(), None);
    rig.sleep(1000 * AFTER);
    assert_eq!(flushes(&mut rig), 0);
}

#[test]
fn writes_of_an_earlier_driver_are_flushed_in_time() {
    let mut rig = manual();
    rig.driver.inherit_writes(rig.now);
    assert_eq!(rig.driver.deadline(), Some(rig.now.after(AFTER)));
    rig.sleep(AFTER);
    assert_eq!(flushes(&mut rig), 1);
    finish(&mut rig, Ok(()));
    assert_eq!(rig.driver.deadline(), None);
}

#[test]
fn a_readers_close_ignores_writes_of_an_earlier_driver() {
    let mut rig = manual();
    rig.driver.inherit_writes(rig.now);
    let close = rig.send(MessageType::BDEV_CLOSE, on_minor_0());
    rig.poll();
    assert_eq!((rig.answer(close), flushes(&mut rig)), (Some(0), 0));
    rig.sleep(AFTER);
    assert_eq!(flushes(&mut rig), 1);
}

#[test]
fn a_reader_is_not_told_of_an_earlier_drivers_failed_flush() {
    let mut rig = manual();
    rig.driver.inherit_writes(rig.now);
    rig.sleep(AFTER);
    finish(&mut rig, Err(DeviceError::Io));
    let close = rig.send(MessageType::BDEV_CLOSE, on_minor_0());
    rig.poll();
    assert_eq!(rig.answer(close), Some(0));
}

#[test]
fn a_write_of_its_own_makes_the_last_close_flush_all_of_it() {
    let mut rig = manual();
    rig.driver.inherit_writes(rig.now);
    write(&mut rig, 0);
    let close = rig.send(MessageType::BDEV_CLOSE, on_minor_0());
    rig.poll();
    assert_eq!(flushes(&mut rig), 1);
    finish(&mut rig, Err(DeviceError::Io));
    assert_eq!(rig.answer(close), Some(Errno::EIO.to_wire()));
}

#[test]
fn a_read_only_disk_inherits_no_writes() {
    let mut rig = manual();
    rig.disk().info.read_only = true;
    rig.driver.inherit_writes(rig.now);
    assert_eq!(rig.driver.deadline(), None);
}

#[test]
fn transfers_go_on_beside_the_flush() {
    let mut rig = manual();
    let early = rig.send_read(100, 1);
    write(&mut rig, 0);
    rig.sleep(AFTER);
    let late = rig.send_read(200, 1);
    let other = rig.send_write(300, 1, 1);
    rig.poll();
    let ops: Vec<_> = rig.disk().pending.iter().map(|given| given.op).collect();
    assert_eq!(ops, [Op::Read, Op::Flush, Op::Read, Op::Write]);
    for nth in [3, 2, 0] {
        rig.disk().finish(nth, Ok(()));
    }
    rig.poll();
    assert_eq!([early, late, other].map(|id| rig.answer(id)), [Some(512); 3]);
    // Opens and closes do not wait for it either.
    let open = rig.send(MessageType::BDEV_OPEN, on_minor_0());
    assert_eq!(rig.answer(open), Some(0));
    assert_eq!(rig.driver.in_flight(), 1);
}

#[test]
fn what_was_written_while_a_flush_was_under_way_gets_its_own() {
    let mut rig = manual();
    write(&mut rig, 0);
    rig.sleep(AFTER);
    rig.sleep(micros(10));
    write(&mut rig, 1);
    let second = rig.now;
    rig.sleep(2 * AFTER);
    assert_eq!(flushes(&mut rig), 1, "one at a time");
    finish(&mut rig, Ok(()));
    assert_eq!(flushes(&mut rig), 2, "it is overdue: {second:?}");
    finish(&mut rig, Ok(()));
    assert_eq!(rig.driver.deadline(), None);
}

#[test]
fn flushes_of_clients_cover_what_was_completed_before_them() {
    let close = |rig: &mut Rig| rig.send(MessageType::BDEV_CLOSE, on_minor_0());
    let flush = |rig: &mut Rig| {
        let request = BdevRequest {
            request: IoctlCode::DIOCFLUSH,
            grant: GrantId::INVALID,
            ..on_minor_0()
        };
        rig.send(MessageType::BDEV_IOCTL, request)
    };
    let forced = |rig: &mut Rig| {
        let request = rig.write_request(0, 512, &[5; 512]);
        let request = BdevRequest {
            flags: BdevFlags::FORCEWRITE,
            ..request
        };
        let id = rig.send(MessageType::BDEV_WRITE, request);
        rig.poll();
        finish(rig, Ok(()));
        id
    };
    let ways: [fn(&mut Rig) -> i32; 3] = [close, flush, forced];
    for way in ways {
        let mut rig = manual();
        write(&mut rig, 0);
        rig.sleep(AFTER / 2);
        let id = way(&mut rig);
        rig.poll();
        assert_eq!(flushes(&mut rig), 1);
        rig.sleep(AFTER);
        assert_eq!(flushes(&mut rig), 1, "that one will do");
        finish(&mut rig, Ok(()));
        assert!(rig.answer(id).is_some_and(|status| status >= 0));
        assert_eq!((rig.driver.deadline(), rig.disk().unflushed), (None, 0));
        assert_eq!(rig.driver.counters().background_flushes, 0);
    }
}

#[test]
fn one_background_flush_at_a_time_even_after_a_client_flush() {
    let mut rig = manual();
    write(&mut rig, 0);
    rig.sleep(AFTER);
    let request = BdevRequest {
        request: IoctlCode::DIOCFLUSH,
        ..on_minor_0()
    };
    let id = rig.send(MessageType::BDEV_IOCTL, request);
    rig.poll();
    rig.disk().finish(1, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(id), Some(0));
    write(&mut rig, 1);
    rig.sleep(2 * AFTER);
    assert_eq!((flushes(&mut rig), rig.driver.in_flight()), (2, 1));
    finish(&mut rig, Ok(()));
    assert_eq!((flushes(&mut rig), rig.driver.in_flight()), (3, 1));
    finish(&mut rig, Ok(()));
    assert_eq!((rig.driver.deadline(), rig.disk().unflushed), (None, 0));
}

#[test]
fn the_flush_of_a_client_that_fails_covers_nothing() {
    let mut rig = manual();
    write(&mut rig, 0);
    let written = rig.now;
    let close = rig.send(MessageType::BDEV_CLOSE, on_minor_0());
    rig.poll();
    finish(&mut rig, Err(DeviceError::Io));
    assert_eq!(rig.answer(close), Some(Errno::EIO.to_wire()));
    assert_eq!(rig.driver.deadline(), Some(written.after(AFTER)));
}

#[test]
fn a_failed_flush_is_counted_and_tried_again_later() {
    let mut rig = manual();
    write(&mut rig, 0);
    rig.sleep(AFTER);
    for round in 1..=4 {
        assert_eq!(flushes(&mut rig), round);
        rig.sleep(micros(10));
        finish(&mut rig, Err(DeviceError::Io));
        assert_eq!(rig.driver.counters().failed_flushes, round as u64);
        assert_eq!(rig.driver.deadline(), Some(rig.now.after(AFTER - micros(10))));
        rig.sleep(AFTER - micros(11));
        assert_eq!(flushes(&mut rig), round);
        rig.sleep(micros(1));
    }
}

#[test]
fn a_flush_that_is_refused_is_a_flush_that_failed() {
    for refusal in [Refusal::Unsupported, Refusal::Invalid, Refusal::Unreachable] {
        let mut rig = manual();
        write(&mut rig, 0);
        rig.disk().refusals.push_back(Some(refusal));
        rig.sleep(AFTER);
        assert_eq!((flushes(&mut rig), rig.driver.in_flight()), (0, 0));
        assert_eq!(rig.driver.counters().failed_flushes, 1);
        assert_eq!(rig.driver.deadline(), Some(rig.now.after(AFTER)));
        rig.sleep(AFTER);
        assert_eq!(flushes(&mut rig), 1);
    }
    for refusal in [Refusal::Broken, Refusal::Full] {
        let mut rig = manual();
        write(&mut rig, 0);
        rig.disk().refusals.push_back(Some(refusal));
        rig.sleep(AFTER);
        assert_eq!((flushes(&mut rig), rig.disk().reset_count), (0, 1));
        let at = rig.now.after(AFTER);
        rig.sleep(Duration::ZERO);
        assert_eq!(rig.driver.deadline(), Some(at));
    }
}

#[test]
fn a_device_without_room_gets_it_with_the_next_completion() {
    let mut rig = manual();
    rig.disk().room = 2;
    write(&mut rig, 0);
    let reads = [100, 200, 300].map(|sector| rig.send_read(sector, 1));
    rig.poll();
    rig.sleep(AFTER);
    assert_eq!(flushes(&mut rig), 0);
    let full = rig.driver.deadline().unwrap();
    assert!(full > rig.now, "nothing to be done before a completion");
    finish(&mut rig, Ok(()));
    let ops: Vec<_> = rig.disk().pending.iter().map(|given| given.op).collect();
    assert_eq!(ops, [Op::Read, Op::Flush]);
    rig.settle();
    assert_eq!(reads.map(|id| rig.answer(id)), [Some(512); 3]);
}

#[test]
fn a_flush_that_hangs_is_a_reset_and_it_is_armed_again() {
    let mut rig = manual();
    write(&mut rig, 0);
    rig.sleep(AFTER);
    let other = rig.send_read(100, 1);
    rig.poll();
    rig.sleep(TIMEOUT);
    assert_eq!(rig.disk().reset_count, 1);
    assert_eq!(rig.driver.counters().failed_flushes, 1);
    assert_eq!(
        flushes(&mut rig),
        2,
        "sent again, as long after the one before as need be"
    );
    rig.settle();
    assert_eq!(rig.answer(other), Some(512));
    assert_eq!((rig.disk().unflushed, rig.driver.deadline()), (0, None));
}

#[test]
fn a_reset_for_other_reasons_does_not_lose_it() {
    let mut rig = manual();
    let suspect = rig.send_read(100, 1);
    write(&mut rig, 0);
    rig.disk().broken = true;
    rig.now = rig.now.after(AFTER);
    rig.poll();
    assert_eq!(rig.disk().reset_count, 1);
    assert_eq!(flushes(&mut rig), 1, "due at the same moment");
    rig.disk().broken = true;
    rig.poll();
    rig.sleep(micros(100));
    assert_eq!(rig.disk().reset_count, 2);
    rig.sleep(AFTER);
    assert_eq!(flushes(&mut rig), 2);
    rig.settle();
    assert_eq!(rig.answer(suspect), Some(512));
    assert_eq!((rig.disk().unflushed, rig.driver.deadline()), (0, None));
}

#[test]
fn the_write_cache_is_not_switched_under_a_flush() {
    for on in [0_i32, 1] {
        let mut rig = manual();
        write(&mut rig, 0);
        rig.sleep(AFTER);
        let buffer = rig.buffer(4, common::Placement::Contiguous, 0);
        rig.fill(buffer, &on.to_le_bytes());
        let request = BdevRequest {
            request: IoctlCode::DIOCSETWC,
            grant: rig.lend_to_take(buffer),
            ..on_minor_0()
        };
        let switch = rig.send(MessageType::BDEV_IOCTL, request);
        rig.poll();
        assert_eq!(rig.answer(switch), None);
        rig.settle();
        assert_eq!(rig.answer(switch), Some(0));
        assert_eq!(rig.disk().info.write_cache, on != 0);
        assert_eq!(rig.driver.deadline(), None);
    }
}

#[test]
fn the_service_does_not_exit_before_it_has_flushed() {
    for flush_after in [AFTER, Duration::ZERO] {
        let mut rig = Rig::opened_with(
            DriverOptions {
                flush_after,
                ..options()
            },
            |_| {},
        );
        assert_eq!(rig.close(0), 0);
        rig.disk().automatic = false;
        rig.disk().log.clear();
        // Its client may have closed it, and can write all the same.
        write(&mut rig, 0);
        rig.driver.terminate();
        assert!(!rig.driver.may_exit());
        assert!(rig.driver.deadline().is_some_and(|at| at <= rig.now), "at once");
        rig.sleep(Duration::ZERO);
        assert_eq!(flushes(&mut rig), 1);
        assert!(!rig.driver.may_exit());
        finish(&mut rig, Ok(()));
        assert!(rig.driver.may_exit());
        assert_eq!(rig.disk().unflushed, 0);
    }
}

#[test]
fn told_to_end_it_flushes_at_once_though_something_is_open() {
    let mut rig = manual();
    write(&mut rig, 0);
    rig.driver.terminate();
    rig.poll();
    assert_eq!(flushes(&mut rig), 1);
    write(&mut rig, 1);
    assert_eq!(flushes(&mut rig), 1);
    finish(&mut rig, Ok(()));
    assert_eq!(flushes(&mut rig), 2);
    finish(&mut rig, Ok(()));
    assert_eq!((rig.driver.deadline(), rig.driver.may_exit()), (None, false));
}

#[test]
fn a_flush_that_fails_holds_the_exit_up_once() {
    let mut rig = manual();
    write(&mut rig, 0);
    rig.sleep(AFTER);
    finish(&mut rig, Err(DeviceError::Io));
    let close = rig.send(MessageType::BDEV_CLOSE, on_minor_0());
    rig.poll();
    finish(&mut rig, Err(DeviceError::Io));
    assert!(rig.answer(close).is_some());
    rig.driver.terminate();
    assert!(!rig.driver.may_exit(), "worth another attempt");
    rig.sleep(Duration::ZERO);
    assert_eq!(flushes(&mut rig), 3);
    finish(&mut rig, Err(DeviceError::Io));
    assert!(rig.driver.may_exit());
    rig.driver.terminate();
    assert!(rig.driver.may_exit());
}

#[test]
fn a_device_that_is_given_up_holds_no_exit_up() {
    let mut rig = manual();
    write(&mut rig, 0);
    let close = rig.send(MessageType::BDEV_CLOSE, on_minor_0());
    rig.poll();
    rig.driver.terminate();
    rig.disk().resets = vec![Err(Broken); 2].into();
    rig.disk().broken = true;
    rig.poll();
    assert!(!rig.driver.may_exit());
    rig.sleep(micros(100));
    assert!(rig.driver.is_broken());
    assert_eq!(rig.answer(close), Some(Errno::EIO.to_wire()));
    assert!(rig.driver.may_exit());
    rig.sleep(10 * AFTER);
    assert_eq!(rig.driver.deadline(), None);
}

#[derive(Clone, Debug)]
enum Event {
    Write { sector: u64, force: bool },
    Read { sector: u64 },
    Flush,
    Reopen,
    Finish(usize),
    FailFlush,
    Sleep(Duration),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..64_u64, prop::bool::weighted(0.2)).prop_map(|(sector, force)| Event::Write { sector, force }),
        3 => (0..64_u64).prop_map(|sector| Event::Read { sector }),
        1 => Just(Event::Flush),
        1 => Just(Event::Reopen),
        12 => (0..8_usize).prop_map(Event::Finish),
        1 => Just(Event::FailFlush),
        6 => (0..1000_u64).prop_map(|span| Event::Sleep(micros(span))),
    ]
}

/// Writes that were completed, each with its time and how many flushes the device had been given by then; and how many
/// flushes have failed.
#[derive(Default)]
struct FlushLedger {
    writes: Vec<(Instant, usize)>,
    excused: bool,
}

impl FlushLedger {
    fn check(&self, rig: &mut Rig) {
        let given = flushes(rig);
        let pending = rig.disk().pending.iter().any(|given| given.op == Op::Flush);
        for &(at, before) in &self.writes {
            let waits = at.after(AFTER) > rig.now;
            assert!(
                waits || given > before || pending || self.excused,
                "no flush for {at:?}"
            );
        }
        let flushes = rig.disk().pending.iter().filter(|given| given.op == Op::Flush);
        assert!(flushes.count() <= 2, "one in the background, one for a client");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_flush_follows_each_completed_write_in_time(events in prop::collection::vec(event(), 1..120)) {
        let mut rig = manual();
        let mut ledger = FlushLedger::default();
        let mut asked = 0;
        for event in events {
            // Room for a flush is always there.
            let has_room = rig.kernel.unanswered() < common::JOBS - 2;
            match event {
                Event::Write { sector, force } if has_room => {
                    let mut request = rig.write_request(0, sector * 512, &[1; 512]);
                    request.flags = if force { BdevFlags::FORCEWRITE } else { request.flags };
                    rig.send(MessageType::BDEV_WRITE, request);
                    asked += 1;
                }
                Event::Read { sector } if has_room => {
                    rig.send_read(sector, 1);
                    asked += 1;
                }
                Event::Flush if has_room => {
                    let request = BdevRequest { request: IoctlCode::DIOCFLUSH, ..on_minor_0() };
                    rig.send(MessageType::BDEV_IOCTL, request);
                    asked += 1;
                }
                Event::Reopen if has_room => {
                    rig.send(MessageType::BDEV_CLOSE, on_minor_0());
                    rig.send(MessageType::BDEV_OPEN, on_minor_0());
                    asked += 2;
                }
                Event::Finish(nth) if rig.disk().notified > 0 => {
                    let nth = nth % rig.disk().notified;
                    let written = rig.disk().pending[nth].op == Op::Write;
                    let before = flushes(&mut rig);
                    rig.disk().finish(nth, Ok(()));
                    if written {
                        ledger.writes.push((rig.now, before));
                        ledger.excused = false;
                    }
                }
                Event::FailFlush => {
                    let flush = rig.disk().pending.iter().position(|given| given.op == Op::Flush);
                    if let Some(nth) = flush.filter(|&nth| nth < rig.disk().notified) {
                        rig.disk().finish(nth, Err(DeviceError::Io));
                        ledger.excused = true;
                    }
                }
                Event::Sleep(mut span) => {
                    // As the service does, which never lets a deadline pass.
                    while let Some(at) = rig.driver.deadline().filter(|at| *at <= rig.now.after(span)) {
                        let step = at.since(rig.now);
                        span -= step;
                        rig.sleep(step);
                        ledger.check(&mut rig);
                        if step.is_zero() {
                            prop_assert!(rig.driver.deadline().is_none_or(|at| at > rig.now), "it is never done");
                        }
                    }
                    rig.sleep(span);
                }
                _ => {}
            }
            rig.poll();
            ledger.check(&mut rig);
        }
        rig.settle();
        rig.sleep(AFTER);
        rig.settle();
        // One that failed may have to be tried again.
        rig.sleep(AFTER);
        rig.settle();
        prop_assert_eq!(rig.disk().unflushed, 0);
        prop_assert_eq!(rig.driver.deadline(), None);
        let counters = rig.driver.counters();
        // The open at the start is the one more.
        prop_assert_eq!((counters.replies, counters.requests), (asked + 1, asked + 1));
    }
}

#[test]
fn no_flush_is_sent_while_a_cache_switch_waits() {
    let mut rig = manual();
    write(&mut rig, 0);
    let buffer = rig.buffer(4, common::Placement::Contiguous, 0);
    rig.fill(buffer, &1_i32.to_le_bytes());
    let request = BdevRequest {
        request: IoctlCode::DIOCSETWC,
        grant: rig.lend_to_take(buffer),
        ..on_minor_0()
    };
    let switch = rig.send(MessageType::BDEV_IOCTL, request);
    // Its turn has come, and the device gets to see it with the next call. By then the flush is due.
    rig.now = rig.now.after(AFTER);
    rig.poll();
    assert_eq!(rig.answer(switch), Some(0));
    rig.poll();
    assert_eq!(flushes(&mut rig), 1);
}
