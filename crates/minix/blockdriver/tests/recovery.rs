//! Time-outs, resets, replays, and a device that is gone.

mod common;

use std::time::Duration;

use common::{CLIENT, Op, Placement, Rig, micros, sectors};
use minix_abi::bdev::{BdevFlags, BdevRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Errno, MessageType};
use minix_blockdriver::{Broken, DeviceError, DriverOptions, Instant, Refusal, Tag};

const TIMEOUT: Duration = micros(1_000_000);
const EIO: i32 = Errno::EIO.to_wire();

fn options() -> DriverOptions {
    DriverOptions {
        request_timeout: TIMEOUT,
        replays: 2,
        reset_attempts: 3,
        reset_pause: micros(1000),
        flush_after: Duration::ZERO,
        ..DriverOptions::default()
    }
}

fn manual() -> Rig {
    let mut rig = Rig::opened_with(options(), |_| {});
    rig.disk().automatic = false;
    rig
}

fn minor_0() -> BdevRequest {
    BdevRequest {
        minor: Minor(0),
        ..BdevRequest::default()
    }
}

#[test]
fn nothing_in_the_device_means_no_deadline() {
    let mut rig = manual();
    assert_eq!(rig.driver.deadline(), None);
    rig.send_read(0, 1);
    assert_eq!(rig.driver.deadline(), None);
    rig.poll();
    // For a look whether it is alive, and so on.
    for _ in 0..3 {
        let look = rig.now.after(TIMEOUT / 4);
        assert_eq!(rig.driver.deadline(), Some(look));
        rig.sleep(TIMEOUT / 4);
    }
    assert_eq!(rig.driver.deadline(), Some(rig.now.after(TIMEOUT / 4)));
    assert_eq!(rig.disk().reset_count, 0);
    rig.settle();
    assert_eq!(rig.driver.deadline(), None);
}

#[test]
fn the_deadline_is_that_of_the_oldest_or_earlier() {
    let mut rig = manual();
    rig.send_read(0, 1);
    rig.poll();
    let first = rig.now;
    rig.sleep(TIMEOUT / 2);
    rig.send_read(10, 1);
    rig.poll();
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert!(rig.driver.deadline() <= Some(rig.now.after(TIMEOUT)));
    // The time of the first one comes, which is no longer there.
    rig.sleep(TIMEOUT / 2);
    assert_eq!(rig.now, first.after(TIMEOUT));
    assert_eq!(rig.disk().reset_count, 0);
    assert!(rig.driver.deadline() <= Some(rig.now.after(TIMEOUT / 2)));
}

#[test]
fn a_forced_write_is_done_again_after_a_reset_during_its_flush() {
    let mut rig = manual();
    let lost = rig.send_read(40, 1);
    rig.poll();
    // The device goes on, so it is not quiet.
    for sector in 50..53 {
        rig.sleep(TIMEOUT - micros(1));
        let read = rig.send_read(sector, 1);
        rig.poll();
        rig.disk().finish(1, Ok(()));
        rig.poll();
        assert_eq!(rig.answer(read), Some(512));
    }
    // The write is in the device when the read has been overtaken for long enough, and its flush comes after that.
    let request = BdevRequest {
        flags: BdevFlags::FORCEWRITE,
        ..rig.write_request(0, 0, &[5; 512])
    };
    let write = rig.send(MessageType::BDEV_WRITE, request);
    rig.poll();
    rig.sleep(micros(10));
    rig.disk().finish(1, Ok(()));
    rig.poll();
    assert_eq!(rig.disk().ops().last(), Some(&(Op::Flush, 0, 0)));
    let before = rig.disk().log.len();
    assert_eq!(rig.disk().reset_count, 0);
    // Only the read is to blame; the flush goes with the reset.
    rig.sleep(TIMEOUT / 4);
    assert_eq!(rig.disk().reset_count, 1);
    rig.settle();
    assert_eq!((rig.answer(lost), rig.answer(write)), (Some(512), Some(512)));
    let again = rig.disk().ops().split_off(before);
    assert!(again.contains(&(Op::Write, 0, 1)), "{again:?}");
    assert_eq!(again.last(), Some(&(Op::Flush, 0, 0)));
    assert_eq!(rig.disk().unflushed, 0);
}

#[test]
fn a_request_that_takes_too_long_is_replayed_after_a_reset() {
    let mut rig = manual();
    let (request, buffer) = rig.read_request(0, 512, 1024);
    let read = rig.send(MessageType::BDEV_READ, request);
    let write = rig.send_write(100, 1, 7);
    rig.poll();
    rig.sleep(TIMEOUT - micros(1));
    assert_eq!(rig.disk().reset_count, 0);
    rig.sleep(micros(1));
    assert_eq!(rig.disk().reset_count, 1);
    assert_eq!(rig.disk().notified, 2, "both are with the device again");
    assert_eq!(rig.driver.counters().timeouts, 1);
    assert_eq!(rig.driver.counters().replayed, 2);
    rig.settle();
    assert_eq!((rig.answer(read), rig.answer(write)), (Some(1024), Some(512)));
    assert!(rig.bytes(buffer) == sectors(1, 2));
    assert_eq!(rig.disk().content[100 * 512], 7);
}

#[test]
fn a_driver_that_is_late_itself_does_not_time_requests_out() {
    let mut rig = manual();
    let read = rig.send_read(0, 1);
    rig.poll();
    rig.disk().finish(0, Ok(()));
    rig.sleep(10 * TIMEOUT);
    assert_eq!(rig.answer(read), Some(512));
    assert_eq!(rig.disk().reset_count, 0);
}

#[test]
fn after_so_many_replays_it_is_eio() {
    let mut rig = manual();
    let read = rig.send_read(0, 1);
    rig.poll();
    for round in 1..=3 {
        assert_eq!(rig.answer(read), None);
        rig.sleep(TIMEOUT);
        assert_eq!(rig.disk().reset_count, round);
    }
    assert_eq!(rig.answer(read), Some(EIO));
    assert_eq!(rig.disk().log.len(), 3);
    // The device is as good as it was.
    assert!(!rig.driver.is_broken());
    rig.disk().automatic = true;
    assert_eq!(rig.read(0, 0, 512).0, 512);
}

#[test]
fn no_replays_means_eio_at_once_for_the_suspect_alone() {
    let mut rig = Rig::opened_with(
        DriverOptions {
            replays: 0,
            ..options()
        },
        |_| {},
    );
    rig.disk().automatic = false;
    let suspect = rig.send_read(0, 1);
    rig.poll();
    rig.sleep(TIMEOUT / 2);
    let other = rig.send_read(10, 1);
    rig.poll();
    rig.sleep(TIMEOUT / 2);
    assert_eq!(rig.answer(suspect), Some(EIO));
    assert_eq!(rig.answer(other), None);
    rig.settle();
    assert_eq!(rig.answer(other), Some(512));
}

#[test]
fn a_broken_device_is_reset_and_gets_everything_again() {
    let mut rig = manual();
    let ids = [0, 10, 20].map(|sector| rig.send_read(sector, 1));
    rig.poll();
    rig.disk().finish(1, Ok(()));
    rig.disk().broken = true;
    rig.poll();
    assert_eq!(rig.answer(ids[1]), Some(512), "what it had finished by then counts");
    assert_eq!(rig.disk().reset_count, 1);
    assert_eq!(rig.disk().ops()[3..], [(Op::Read, 0, 1), (Op::Read, 20, 1)]);
    rig.settle();
    assert_eq!((rig.answer(ids[0]), rig.answer(ids[2])), (Some(512), Some(512)));
}

#[test]
fn a_device_that_refuses_because_it_is_broken_is_reset_too() {
    let mut rig = manual();
    rig.disk().broken = true;
    let read = rig.send_read(0, 1);
    let second = rig.send_read(10, 1);
    // Nothing is fetched, only given.
    rig.disk().broken = false;
    rig.disk().refusals = [Some(Refusal::Broken), Some(Refusal::Broken)].into();
    // One reset in each call, and a pause before the second one, since nothing was completed.
    rig.poll();
    assert_eq!(
        (rig.disk().reset_count, rig.driver.deadline()),
        (1, Some(Instant::START))
    );
    rig.sleep(Duration::ZERO);
    let again = rig.now.after(micros(1000));
    assert_eq!((rig.disk().reset_count, rig.driver.deadline()), (1, Some(again)));
    rig.sleep(micros(1000));
    assert_eq!((rig.disk().reset_count, rig.driver.in_flight()), (2, 2));
    assert_eq!(rig.driver.deadline(), Some(rig.now.after(TIMEOUT / 4)));
    rig.settle();
    assert_eq!((rig.answer(read), rig.answer(second)), (Some(512), Some(512)));
}

#[test]
fn a_device_that_is_broken_by_every_request_ends_in_eio() {
    let mut rig = manual();
    rig.disk().refusals = vec![Some(Refusal::Broken); 3].into();
    assert_eq!(rig.read(0, 0, 512).0, EIO);
    assert_eq!(rig.disk().reset_count, 3);
    rig.disk().refusals = vec![Some(Refusal::Full); 3].into();
    assert_eq!(rig.read(0, 0, 512).0, EIO, "full, with nothing in it");
}

#[test]
fn a_request_in_pieces_starts_over_as_a_whole() {
    let mut rig = Rig::opened_with(options(), |disk| disk.info.max_segments = 1);
    rig.disk().automatic = false;
    rig.disk().room = 3;
    let buffer = rig.buffer(5 * 4096, Placement::Scattered, 0);
    let grant = rig.lend_to_fill(buffer);
    let read = rig.send(MessageType::BDEV_READ, Rig::transfer_request(0, 0, 5 * 4096, grant));
    rig.poll();
    rig.disk().finish(1, Ok(()));
    rig.poll();
    rig.sleep(TIMEOUT);
    assert_eq!(rig.disk().reset_count, 1);
    rig.settle();
    assert_eq!(rig.answer(read), Some(5 * 4096));
    assert!(rig.bytes(buffer) == sectors(0, 40));
}

#[test]
fn a_piece_that_failed_before_the_reset_is_the_answer() {
    let mut rig = Rig::opened_with(options(), |disk| disk.info.max_segments = 1);
    rig.disk().automatic = false;
    let (request, _) = rig.read_request(0, 0, 3 * 4096);
    let read = rig.send(MessageType::BDEV_READ, request);
    rig.poll();
    rig.disk().finish(1, Err(DeviceError::Unsupported));
    rig.poll();
    assert_eq!(rig.answer(read), None);
    rig.sleep(TIMEOUT);
    assert_eq!(rig.answer(read), Some(Errno::ENOTSUP.to_wire()));
    assert_eq!(rig.driver.in_flight(), 0);
}

#[test]
fn shared_requests_are_replayed_and_answered_one_by_one() {
    let mut rig = manual();
    rig.disk().room = 1;
    rig.send_read(2000, 1);
    rig.poll();
    let ids = [100, 101, 102].map(|sector| rig.send_read(sector, 1));
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.disk().ops()[1..], [(Op::Read, 100, 3)]);
    rig.sleep(TIMEOUT);
    rig.settle();
    assert_eq!(ids.map(|id| rig.answer(id)), [Some(512); 3]);
}

#[test]
fn a_forced_write_that_loses_its_flush_is_written_again() {
    let mut rig = manual();
    let request = rig.write_request(0, 0, &[5; 512]);
    let request = BdevRequest {
        flags: BdevFlags::FORCEWRITE,
        ..request
    };
    let write = rig.send(MessageType::BDEV_WRITE, request);
    rig.poll();
    rig.disk().finish(0, Ok(()));
    rig.poll();
    rig.sleep(TIMEOUT);
    rig.settle();
    assert_eq!(rig.answer(write), Some(512));
    let ops: Vec<_> = rig.disk().log.iter().map(|given| given.op).collect();
    assert_eq!(ops, [Op::Write, Op::Flush, Op::Write, Op::Flush]);
}

#[test]
fn bounce_buffers_survive_a_reset() {
    let mut rig = manual();
    rig.disk().unreachable_from = 0;
    let buffers = [(); 6].map(|()| rig.buffer(1024, Placement::Scattered, 0));
    let mut ids = Vec::new();
    for (nth, &buffer) in (0..).zip(&buffers) {
        let grant = rig.lend_to_fill(buffer);
        ids.push(rig.send(
            MessageType::BDEV_READ,
            Rig::transfer_request(0, nth * 5120, 1024, grant),
        ));
    }
    rig.poll();
    for _ in 0..2 {
        assert_eq!(rig.disk().pending.len(), 4);
        rig.sleep(TIMEOUT);
    }
    rig.settle();
    for (nth, (&id, &buffer)) in (0..).zip(ids.iter().zip(&buffers)) {
        assert_eq!(rig.answer(id), Some(1024));
        assert!(rig.bytes(buffer) == sectors(nth * 10, 2));
    }
}

#[test]
fn a_reset_that_fails_is_tried_again_after_a_pause() {
    let mut rig = manual();
    rig.disk().resets = [Err(Broken), Err(Broken)].into();
    let read = rig.send_read(0, 1);
    rig.poll();
    rig.sleep(TIMEOUT);
    assert_eq!(rig.driver.deadline(), Some(rig.now.after(micros(1000))));
    // What comes meanwhile waits, and the device is left alone.
    let write = rig.send_write(10, 1, 1);
    let open = rig.send(MessageType::BDEV_OPEN, minor_0());
    rig.poll();
    rig.sleep(micros(999));
    assert_eq!(rig.disk().reset_count, 1);
    rig.sleep(micros(1));
    assert_eq!(rig.disk().reset_count, 2);
    assert!(!rig.driver.is_broken());
    rig.sleep(micros(1000));
    assert_eq!(rig.disk().reset_count, 3);
    rig.settle();
    assert_eq!(
        (rig.answer(read), rig.answer(write), rig.answer(open)),
        (Some(512), Some(512), Some(0))
    );
}

#[test]
fn a_device_that_does_not_come_back_is_eio_for_all() {
    let mut rig = manual();
    rig.disk().resets = vec![Err(Broken); 3].into();
    let ids = [rig.send_read(0, 1), rig.send_write(10, 1, 1), rig.send_read(10, 1)];
    let open = rig.send(MessageType::BDEV_OPEN, minor_0());
    let after = rig.send_read(20, 1);
    rig.poll();
    for pause in [TIMEOUT, micros(1000), micros(1000)] {
        rig.sleep(pause);
    }
    assert!(rig.driver.is_broken());
    assert_eq!(ids.map(|id| rig.answer(id)), [Some(EIO); 3]);
    assert_eq!(rig.answer(open), Some(EIO));
    assert_eq!(rig.answer(after), Some(EIO));
    assert_eq!(
        (rig.driver.deadline(), rig.driver.in_flight(), rig.driver.is_idle()),
        (None, 0, true)
    );
    // And from now on, for all that needs the device.
    assert_eq!(rig.read(0, 0, 512).0, EIO);
    assert_eq!(rig.write(0, 0, &[1; 512]), EIO);
    assert_eq!(
        rig.ioctl_with(0, IoctlCode::DIOCFLUSH, minix_abi::GrantId::INVALID),
        EIO
    );
    assert_eq!(rig.ioctl_set(0, IoctlCode::DIOCSETWC, 1_i32), EIO);
    assert_eq!(
        rig.read(0, 1, 512).0,
        EIO,
        "nothing is known of a dead device, not even its size"
    );
    assert_eq!(rig.open_count(), 1);
    assert_eq!(rig.close(0), 0, "no write was completed, so no flush is owed");
    assert_eq!(rig.open(0), EIO);
    assert_eq!(rig.disk().reset_count, 3);
    rig.driver.terminate();
    assert!(rig.driver.may_exit());
}

#[test]
fn a_scan_that_hangs_is_replayed_and_then_the_open_is_eio() {
    let mut rig = Rig::with(options(), |disk| disk.automatic = false);
    let open = rig.send(MessageType::BDEV_OPEN, minor_0());
    rig.poll();
    for round in 1..=3 {
        assert_eq!(rig.answer(open), None);
        assert_eq!(rig.disk().notified, 1);
        rig.sleep(TIMEOUT);
        assert_eq!(rig.disk().reset_count, round);
    }
    assert_eq!(rig.answer(open), Some(EIO));
    assert_eq!(rig.driver.open_count(), 0);
    rig.disk().automatic = true;
    assert_eq!(rig.open(0), 0);
    assert_eq!(rig.read(0, 512, 512), (512, sectors(1, 1)));
}

#[test]
fn a_flush_that_hangs_is_replayed() {
    let mut rig = manual();
    rig.send_write(0, 1, 1);
    rig.poll();
    rig.disk().finish(0, Ok(()));
    rig.poll();
    let close = rig.send(MessageType::BDEV_CLOSE, minor_0());
    rig.poll();
    rig.sleep(TIMEOUT);
    assert_eq!(rig.disk().ops()[1..], [(Op::Flush, 0, 0); 2]);
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(close), Some(0));
}

#[test]
fn completions_of_unknown_requests_are_counted_and_ignored() {
    let mut rig = manual();
    let read = rig.send_read(0, 1);
    rig.poll();
    for tag in [1, 5, 15, 16, 1000, u16::MAX] {
        rig.disk().finished.push_back((Tag(tag), Ok(())));
    }
    rig.poll();
    assert_eq!(rig.driver.counters().stray_completions, 6);
    assert_eq!(rig.answer(read), None);
    // The same twice: the second is one too many.
    let tag = rig.disk().pending[0].tag;
    rig.disk().finish(0, Ok(()));
    rig.disk().finished.push_back((tag, Err(DeviceError::Io)));
    rig.poll();
    assert_eq!(rig.answer(read), Some(512));
    assert_eq!(rig.driver.counters().stray_completions, 7);
    let _ = CLIENT;
}

#[test]
fn requests_completed_before_a_reset_are_not_replayed() {
    for reset in [Ok(()), Err(Broken)] {
        let mut rig = manual();
        let ids = [0, 10, 20].map(|sector| rig.send_read(sector, 1));
        rig.poll();
        // The device fails before a poll has found the finished request.
        rig.disk().finish(2, Ok(()));
        rig.disk().finish(0, Err(DeviceError::Unsupported));
        rig.disk().poll_finds_nothing = true;
        rig.disk().broken = true;
        rig.disk().resets = [reset].into();
        rig.poll();
        assert_eq!(rig.answer(ids[0]), Some(Errno::ENOTSUP.to_wire()));
        assert_eq!(rig.answer(ids[2]), Some(512));
        rig.sleep(micros(1000));
        assert_eq!(rig.disk().ops()[3..], [(Op::Read, 10, 1)]);
        rig.settle();
        assert_eq!(rig.answer(ids[1]), Some(512));
    }
}

#[test]
fn a_scan_that_was_finished_before_a_reset_goes_on() {
    let mut rig = Rig::with(options(), |disk| disk.automatic = false);
    let open = rig.send(MessageType::BDEV_OPEN, minor_0());
    rig.poll();
    let reads = rig.disk().log.len();
    rig.disk().finish(0, Ok(()));
    rig.disk().poll_finds_nothing = true;
    rig.disk().broken = true;
    rig.disk().resets = [Err(Broken)].into();
    rig.poll();
    rig.sleep(micros(1000));
    let again = rig.disk().ops()[0];
    assert!(!rig.disk().ops()[reads..].contains(&again));
    rig.settle();
    assert_eq!(rig.answer(open), Some(0));
}

#[test]
fn a_device_dead_without_an_interrupt_is_found_early() {
    let mut rig = manual();
    let read = rig.send_read(0, 1);
    rig.poll();
    rig.disk().silently_dead = true;
    for _ in 0..100 {
        rig.poll();
    }
    assert_eq!(rig.disk().reset_count, 0);
    let wait = rig.driver.deadline().unwrap().since(rig.now);
    assert!(wait <= TIMEOUT / 4);
    rig.sleep(wait);
    assert_eq!((rig.disk().reset_count, rig.driver.counters().timeouts), (1, 0));
    rig.settle();
    assert_eq!(rig.answer(read), Some(512));
}

#[test]
fn resets_with_idle_time_in_between_are_not_counted() {
    let mut rig = manual();
    for _ in 0..100 {
        rig.disk().broken = true;
        rig.poll();
        rig.sleep(TIMEOUT);
    }
    assert_eq!(rig.disk().reset_count, 100);
    assert!(!rig.driver.is_broken());
}

#[test]
fn a_completed_request_makes_up_for_the_resets_before_it() {
    let mut rig = manual();
    for _ in 0..30 {
        let read = rig.send_read(0, 1);
        rig.disk().broken = true;
        rig.poll();
        rig.sleep(Duration::ZERO);
        rig.settle();
        assert_eq!(rig.answer(read), Some(512));
    }
    assert_eq!(rig.disk().reset_count, 30);
    assert!(!rig.driver.is_broken());
}
