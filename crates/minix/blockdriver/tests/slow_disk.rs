//! A disk that is slow, a disk that loses a request, and a disk that has stopped: three things, told apart.

mod common;

use std::time::Duration;

use common::{CLIENT, Op, Placement, Rig, micros};
use minix_abi::disk_control::{RangeFlags, RangeRequest};
use minix_abi::ioctl::IoctlCode;
use minix_blockdriver::DriverOptions;
use zerocopy::IntoBytes;

const SECOND: Duration = micros(1_000_000);

fn options() -> DriverOptions {
    DriverOptions {
        flush_after: Duration::ZERO,
        ..DriverOptions::default()
    }
}

fn slow<const N: usize>() -> Rig<N> {
    let mut rig = Rig::<N>::with_jobs(options(), |_| {});
    assert_eq!(rig.open(0), 0);
    rig.disk().log.clear();
    rig.disk().automatic = false;
    rig
}

#[test]
fn sixty_reads_on_a_disk_of_one_a_second_are_not_timed_out() {
    let mut rig = slow::<64>();
    let reads: Vec<_> = (0..60).map(|nth| rig.send_read(nth * 3, 1)).collect();
    rig.poll();
    for _ in 0..60 {
        rig.sleep(SECOND);
        if rig.disk().notified > 0 {
            rig.disk().finish(0, Ok(()));
        }
        rig.poll();
    }
    assert_eq!(rig.disk().reset_count, 0);
    let answers: Vec<_> = reads.iter().map(|&id| rig.answer(id)).collect();
    assert_eq!(answers, [Some(512); 60]);
}

#[test]
fn a_request_completed_in_slow_parts_is_not_timed_out() {
    let mut rig = slow::<16>();
    let read = rig.send_read(0, 40);
    rig.poll();
    for _ in 0..40 {
        rig.sleep(SECOND);
        assert_eq!(rig.disk().reset_count, 0);
        rig.disk().progress = true;
        rig.poll();
    }
    rig.settle();
    assert_eq!((rig.disk().reset_count, rig.answer(read)), (0, Some(40 * 512)));
}

#[test]
fn a_transfer_in_slow_pieces_is_not_timed_out() {
    let mut rig = slow::<16>();
    rig.disk().info.max_segments = 1;
    rig.disk().info.max_segment_bytes = 512;
    let read = rig.send_read(0, 40);
    rig.poll();
    for _ in 0..40 {
        rig.sleep(SECOND);
        assert_eq!(rig.disk().reset_count, 0);
        rig.disk().finish(0, Ok(()));
        rig.poll();
    }
    assert_eq!((rig.disk().reset_count, rig.answer(read)), (0, Some(40 * 512)));
}

#[test]
fn one_lost_completion_under_steady_traffic_is_found() {
    let mut rig = slow::<16>();
    let lost = rig.send_read(0, 1);
    rig.poll();
    rig.disk().lose(0);
    let mut after = 0;
    while rig.disk().reset_count == 0 {
        let other = rig.send_read(10, 1);
        rig.sleep(SECOND / 10);
        rig.disk().finish_all();
        rig.poll();
        assert_eq!(rig.answer(other), Some(512));
        after += 1;
        assert!(after <= 350, "three time-outs and a little more");
    }
    assert!(after >= 300, "{after} tenths of a second");
    rig.settle();
    assert_eq!(rig.answer(lost), Some(512));
    assert_eq!(rig.disk().reset_count, 1);
}

/// Keeps sixty reads waiting at a disk of one a second for a while. Returns how long the slowest of the last took, in seconds.
fn crowd(rig: &mut Rig<64>, seconds: usize) -> usize {
    let mut slowest = 0;
    let mut given = std::collections::HashMap::new();
    for second in 0..seconds {
        while rig.kernel.unanswered() < 60 {
            rig.send_read(3 * (second as u64 % 500), 1);
        }
        rig.poll();
        for tag in rig.disk().pending.iter().map(|given| given.tag).collect::<Vec<_>>() {
            given.entry(tag).or_insert(second);
        }
        rig.sleep(SECOND);
        let tag = rig.disk().pending[0].tag;
        rig.disk().finish(0, Ok(()));
        rig.poll();
        let took = second + 1 - given.remove(&tag).unwrap();
        if second > seconds / 2 {
            slowest = slowest.max(took);
        }
    }
    slowest
}

#[test]
fn a_slow_disk_gets_fewer_requests_until_it_is_quick_again() {
    let mut rig = slow::<64>();
    let slowest = crowd(&mut rig, 400);
    assert_eq!(rig.disk().reset_count, 0);
    assert!(slowest <= 5, "{slowest} seconds in the device");
    rig.disk().automatic = true;
    rig.settle();
    for nth in 0..100 {
        rig.send_read(nth * 3, 1);
        rig.poll();
    }
    rig.settle();
    rig.disk().automatic = false;
    for nth in 0..64 {
        rig.send_read(nth * 3, 1);
    }
    rig.poll();
    assert_eq!(rig.driver.in_flight(), 64);
}

#[test]
fn a_slow_flush_tells_of_a_slow_disk_and_a_slow_range_does_not() {
    for (code, most) in [(IoctlCode::DIOCFLUSH, 8), (IoctlCode::VBLKZERO, 16)] {
        let mut rig = slow::<16>();
        let request = RangeRequest::new(RangeFlags::empty(), 16, 4);
        let buffer = rig.buffer(32, Placement::Contiguous, 16);
        rig.fill(buffer, request.as_bytes());
        let grant = rig.kernel.space(CLIENT).grant(buffer.address, 32, true, true);
        let asked = rig.send_ioctl(code, grant);
        rig.poll();
        assert_eq!(rig.driver.in_flight(), 1);
        rig.sleep(5 * SECOND);
        rig.disk().finish(0, Ok(()));
        rig.poll();
        assert_eq!(rig.answer(asked), Some(0));
        for nth in 0..16 {
            rig.send_read(nth * 3, 1);
        }
        rig.poll();
        assert_eq!(rig.driver.in_flight(), most, "{code:?}");
    }
}

#[test]
fn of_two_lost_requests_the_later_one_is_found() {
    // Neither of the first two comes back, and the rest does.
    let mut rig = slow::<16>();
    let first = rig.send_read(0, 1);
    let second = rig.send_read(10, 1);
    rig.poll();
    for _ in 0..400 {
        rig.send_read(20, 1);
        rig.sleep(SECOND / 10);
        let last = rig.disk().notified - 1;
        if last > 1 {
            rig.disk().finish(last, Ok(()));
        }
        rig.poll();
        if rig.disk().reset_count > 0 {
            break;
        }
    }
    // The second was overtaken by all others; the first by all but the second. One reset gives both back.
    assert_eq!(rig.disk().reset_count, 1);
    rig.settle();
    assert_eq!((rig.answer(first), rig.answer(second)), (Some(512), Some(512)));
}

#[test]
fn a_flush_does_not_wait_until_a_slow_disk_has_fewer_requests() {
    let options = DriverOptions {
        flush_after: SECOND,
        ..DriverOptions::default()
    };
    let mut rig = Rig::<64>::with_jobs(options, |_| {});
    assert_eq!(rig.open(0), 0);
    rig.disk().log.clear();
    rig.disk().automatic = false;
    for nth in 0..50 {
        rig.send_write(nth * 3, 1, 1);
    }
    rig.poll();
    rig.sleep(5 * SECOND);
    rig.disk().finish(0, Ok(()));
    rig.poll();
    // From here on it should have half as many at most, which it still has not.
    rig.sleep(SECOND);
    let flushes = rig.disk().log.iter().filter(|given| given.op == Op::Flush).count();
    assert_eq!((flushes, rig.driver.in_flight()), (1, 50));
}
