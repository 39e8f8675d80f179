//! Each request that is over is counted once, with the time it took.

mod common;

use common::{Rig, micros};
use minix_abi::MessageType;
use minix_abi::bdev::{BdevFlags, BdevRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_blockdriver::statistics::Kind;

/// The buckets of a kind that are not empty, and how many requests each has.
fn counted(rig: &Rig, kind: Kind) -> Vec<(usize, u64)> {
    let counts = rig.driver.latencies().of(kind).counts();
    counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect()
}

/// A driver whose disk completes nothing by itself. Minor 0 is open.
fn slow() -> Rig {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    rig
}

/// Lets time pass, then the device completes its oldest request.
fn complete_after(rig: &mut Rig, span: u64) {
    rig.now = rig.now.after(micros(span));
    rig.disk().finish(0, Ok(()));
    rig.poll();
}

#[test]
fn a_transfer_counts_from_arrival_to_answer() {
    let mut rig = slow();
    let read = rig.send_read(0, 1);
    // The service is busy for a while before it gives the device the request.
    rig.now = rig.now.after(micros(300));
    rig.poll();
    complete_after(&mut rig, 300);
    assert_eq!(rig.answer(read), Some(512));
    assert_eq!(counted(&rig, Kind::Read), [(9, 1)], "600 microseconds");

    let write = rig.send_write(8, 1, 7);
    rig.poll();
    complete_after(&mut rig, 40);
    assert_eq!(rig.answer(write), Some(512));
    assert_eq!(counted(&rig, Kind::Write), [(5, 1)]);
    assert_eq!(counted(&rig, Kind::Read), [(9, 1)]);
}

#[test]
fn a_transfer_of_many_device_requests_counts_once() {
    let mut rig = slow();
    rig.disk().info.max_segments = 1;
    rig.disk().info.max_segment_bytes = 512;
    let read = rig.send_read(0, 3);
    rig.poll();
    for _ in 0..3 {
        complete_after(&mut rig, 20);
    }
    assert_eq!(rig.answer(read), Some(3 * 512));
    assert_eq!(counted(&rig, Kind::Read), [(5, 1)]);
}

#[test]
fn transfers_that_share_a_device_request_count_each() {
    let mut rig = slow();
    let first = rig.send_read(0, 1);
    rig.now = rig.now.after(micros(64));
    let second = rig.send_read(1, 1);
    rig.poll();
    complete_after(&mut rig, 20);
    assert_eq!([first, second].map(|id| rig.answer(id)), [Some(512); 2]);
    assert_eq!(rig.driver.counters().merged, 1);
    assert_eq!(counted(&rig, Kind::Read), [(4, 1), (6, 1)]);
}

#[test]
fn a_transfer_that_fails_counts_and_one_that_is_refused_does_not() {
    let mut rig = slow();
    let read = rig.send_read(0, 1);
    rig.poll();
    rig.now = rig.now.after(micros(8));
    rig.disk().finish(0, Err(minix_blockdriver::DeviceError::Io));
    rig.poll();
    assert!(rig.answer(read).is_some_and(|status| status < 0));
    assert_eq!(counted(&rig, Kind::Read), [(3, 1)]);

    let beyond = rig.send_read(1 << 40, 1);
    rig.poll();
    assert_eq!(rig.answer(beyond), Some(0));
    assert_eq!(counted(&rig, Kind::Read), [(3, 1)]);
}

#[test]
fn a_flush_counts_from_submission_to_completion() {
    let mut rig = slow();
    let flush = BdevRequest {
        minor: Minor(0),
        request: IoctlCode::DIOCFLUSH,
        ..BdevRequest::default()
    };
    let id = rig.send(MessageType::BDEV_IOCTL, flush);
    rig.poll();
    complete_after(&mut rig, 128);
    assert_eq!(rig.answer(id), Some(0));
    assert_eq!(counted(&rig, Kind::Flush), [(7, 1)]);

    // That of a forced write is one, and the write has it in its time.
    let mut request = rig.write_request(0, 0, &[1; 512]);
    request.flags = BdevFlags::FORCEWRITE;
    let id = rig.send(MessageType::BDEV_WRITE, request);
    rig.poll();
    complete_after(&mut rig, 16);
    complete_after(&mut rig, 16);
    assert_eq!(rig.answer(id), Some(512));
    assert_eq!(counted(&rig, Kind::Flush), [(4, 1), (7, 1)]);
    assert_eq!(counted(&rig, Kind::Write), [(5, 1)]);
}

#[test]
fn the_flush_in_the_background_counts() {
    let mut rig = slow();
    let write = rig.send_write(0, 1, 1);
    rig.poll();
    complete_after(&mut rig, 16);
    assert_eq!(rig.answer(write), Some(512));
    rig.sleep(micros(2_000_000));
    rig.poll();
    complete_after(&mut rig, 1024);
    assert_eq!(rig.driver.counters().background_flushes, 1);
    assert_eq!(counted(&rig, Kind::Flush), [(10, 1)]);
}
