//! Order, merging, priorities and barriers between transfers.

mod common;

use common::{Element, JOBS, Op, Placement, Rig, sectors};
use minix_abi::bdev::{BdevFlags, BdevRequest};
use minix_abi::{Errno, GrantId, MessageType};
use minix_blockdriver::{DeviceError, DriverOptions, Refusal};

/// A rig whose device has one request, so that what is sent next waits and is put in order.
fn held(options: DriverOptions) -> (Rig, i32) {
    let mut rig = Rig::opened_with(options, |_| {});
    rig.disk().automatic = false;
    rig.disk().room = 1;
    let first = rig.send_read(2000, 1);
    rig.poll();
    assert_eq!(rig.disk().pending.len(), 1);
    (rig, first)
}

fn forced(rig: &mut Rig, sector: u64, sectors: u64) -> i32 {
    let request = rig.write_request(0, sector * 512, &vec![0xF0; sectors as usize * 512]);
    let request = BdevRequest {
        flags: BdevFlags::FORCEWRITE,
        ..request
    };
    rig.send(MessageType::BDEV_WRITE, request)
}

/// Lets the device finish one at a time.
fn one_by_one(rig: &mut Rig) {
    for _ in 0..1000 {
        if rig.disk().notified == 0 {
            assert_eq!(rig.driver.in_flight(), 0);
            return;
        }
        rig.disk().finish(0, Ok(()));
        rig.poll();
    }
    panic!("no end");
}

#[test]
fn several_messages_cost_one_notification() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let before = rig.driver.counters().notifies;
    for sector in [0, 10, 20, 30] {
        rig.send_read(sector, 1);
    }
    assert!(rig.disk().pending.is_empty());
    rig.poll();
    assert_eq!(rig.disk().notified, 4);
    assert_eq!(rig.driver.counters().notifies, before + 1);
    rig.poll();
    assert_eq!(rig.driver.counters().notifies, before + 1);
    rig.settle();
}

#[test]
fn many_transfers_are_in_the_device_at_a_time() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    for nth in 0..JOBS as u64 {
        rig.send_read(nth * 3, 1);
    }
    rig.poll();
    assert_eq!(rig.driver.in_flight(), JOBS);
    assert_eq!(rig.driver.counters().max_in_flight as usize, JOBS);
    rig.settle();
}

#[test]
fn the_depth_bounds_what_the_device_has() {
    let options = DriverOptions {
        depth: 2,
        ..DriverOptions::default()
    };
    let mut rig = Rig::opened_with(options, |disk| disk.info.max_segments = 1);
    rig.disk().automatic = false;
    let (request, _) = rig.read_request(0, 0, 5 * 4096);
    let long = rig.send(MessageType::BDEV_READ, request);
    let short = rig.send_read(1000, 1);
    for _ in 0..10 {
        rig.poll();
        assert!(rig.driver.in_flight() <= 2);
        if rig.disk().notified > 0 {
            rig.disk().finish(0, Ok(()));
        }
    }
    assert_eq!(rig.answer(long), Some(5 * 4096));
    assert_eq!(rig.answer(short), Some(512));
}

#[test]
fn adjacent_reads_share_a_device_request() {
    let (mut rig, _) = held(DriverOptions::default());
    let ids = [100, 101, 102].map(|sector| rig.send_read(sector, 1));
    one_by_one(&mut rig);
    assert_eq!(rig.disk().ops(), [(Op::Read, 2000, 1), (Op::Read, 100, 3)]);
    assert!(ids.iter().all(|&id| rig.answer(id) == Some(512)));
    assert_eq!(rig.driver.counters().merged, 2);
}

#[test]
fn adjacent_writes_share_a_request_and_reach_their_sectors() {
    let (mut rig, _) = held(DriverOptions::default());
    let ids = [(100, 1, 1), (101, 2, 2), (103, 1, 3)].map(|(sector, count, fill)| rig.send_write(sector, count, fill));
    one_by_one(&mut rig);
    assert_eq!(rig.disk().ops()[1..], [(Op::Write, 100, 4)]);
    let answers = ids.map(|id| rig.answer(id));
    assert_eq!(answers, [Some(512), Some(1024), Some(512)]);
    let content = &rig.disk().content[100 * 512..104 * 512];
    let fills: Vec<u8> = content.chunks(512).map(|sector| sector[0]).collect();
    assert_eq!(fills, [1, 2, 2, 3]);
}

#[test]
fn what_does_not_touch_or_goes_the_other_way_is_not_merged() {
    let (mut rig, _) = held(DriverOptions::default());
    rig.send_read(100, 1);
    rig.send_read(102, 1);
    rig.send_write(101, 1, 1);
    rig.send_read(99, 1);
    one_by_one(&mut rig);
    assert_eq!(rig.driver.counters().merged, 0);
    assert_eq!(rig.disk().log.len(), 5);
}

#[test]
fn merged_transfers_keep_the_segment_limit_of_the_device() {
    let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.info.max_segments = 3);
    rig.disk().automatic = false;
    rig.disk().room = 1;
    rig.send_read(2000, 1);
    rig.poll();
    for nth in 0..5 {
        // Two pages each.
        rig.send_read(100 + nth * 16, 16);
    }
    one_by_one(&mut rig);
    assert!(rig.disk().log.iter().all(|given| given.segments.len() <= 3));
    assert_eq!(rig.driver.counters().merged, 0);
}

#[test]
fn when_a_shared_request_fails_each_gets_its_own_truth() {
    let (mut rig, _) = held(DriverOptions::default());
    rig.disk().bad_sectors = vec![101];
    let ids = [100, 101, 102].map(|sector| rig.send_read(sector, 1));
    one_by_one(&mut rig);
    assert_eq!(
        ids.map(|id| rig.answer(id)),
        [Some(512), Some(Errno::EIO.to_wire()), Some(512)]
    );
    assert_eq!(
        rig.disk().ops()[1..],
        [
            (Op::Read, 100, 3),
            (Op::Read, 100, 1),
            (Op::Read, 101, 1),
            (Op::Read, 102, 1)
        ]
    );
}

#[test]
fn when_a_shared_request_is_refused_each_is_offered_alone() {
    for refusal in [Refusal::Invalid, Refusal::Unreachable, Refusal::Unsupported] {
        let (mut rig, _) = held(DriverOptions::default());
        let ids = [100, 101].map(|sector| rig.send_read(sector, 1));
        rig.disk().finish(0, Ok(()));
        rig.disk().refusals = [Some(refusal)].into();
        rig.poll();
        one_by_one(&mut rig);
        assert_eq!(ids.map(|id| rig.answer(id)), [Some(512); 2]);
        assert_eq!(rig.disk().ops()[1..], [(Op::Read, 100, 1), (Op::Read, 101, 1)]);
    }
}

#[test]
fn a_neighbour_with_a_bad_grant_fails_alone() {
    let (mut rig, _) = held(DriverOptions::default());
    let good = rig.send_read(100, 1);
    let bad = rig.send(
        MessageType::BDEV_READ,
        Rig::transfer_request(0, 101 * 512, 512, GrantId(999)),
    );
    let after = rig.send_read(102, 1);
    one_by_one(&mut rig);
    assert_eq!(rig.answer(good), Some(512));
    assert_eq!(rig.answer(bad), Some(Errno::EPERM.to_wire()));
    assert_eq!(rig.answer(after), Some(512));
}

#[test]
fn reads_go_ahead_of_waiting_writes() {
    let (mut rig, _) = held(DriverOptions::default());
    rig.send_write(100, 1, 1);
    rig.send_write(200, 1, 1);
    rig.send_read(300, 1);
    rig.send_read(400, 1);
    one_by_one(&mut rig);
    let order: Vec<_> = rig.disk().log.iter().map(|given| given.first).collect();
    assert_eq!(order, [2000, 300, 400, 100, 200]);
}

#[test]
fn after_so_many_reads_a_write_has_its_turn() {
    let options = DriverOptions {
        reads_before_write: 3,
        ..DriverOptions::default()
    };
    let (mut rig, _) = held(options);
    rig.send_write(100, 1, 1);
    rig.send_write(200, 1, 1);
    for nth in 0..10 {
        rig.send_read(300 + 10 * nth, 1);
    }
    one_by_one(&mut rig);
    let writes: Vec<_> = (0..)
        .zip(&rig.disk().log)
        .filter(|(_, given)| given.op == Op::Write)
        .map(|(nth, _)| nth)
        .collect();
    assert_eq!(writes, [4, 8]);
}

#[test]
fn a_read_in_several_pieces_has_one_turn() {
    let options = DriverOptions {
        reads_before_write: 3,
        ..DriverOptions::default()
    };
    let (mut rig, _) = held(options);
    rig.disk().info.max_segments = 1;
    rig.send_write(100, 1, 1);
    // Three pages that lie apart.
    rig.send_read(300, 24);
    for nth in 0..4 {
        rig.send_read(400 + 10 * nth, 1);
    }
    one_by_one(&mut rig);
    let order: Vec<_> = rig.disk().log.iter().map(|given| given.first).collect();
    assert_eq!(order, [2000, 300, 308, 316, 400, 410, 100, 420, 430]);
}

#[test]
fn overlapping_transfers_keep_their_order_if_one_writes() {
    let (mut rig, _) = held(DriverOptions::default());
    rig.send_write(100, 2, 1);
    let read = {
        let (request, buffer) = rig.read_request(0, 101 * 512, 1024);
        (rig.send(MessageType::BDEV_READ, request), buffer)
    };
    rig.send_write(102, 1, 3);
    rig.send_read(500, 1);
    one_by_one(&mut rig);
    let order: Vec<_> = rig.disk().log.iter().map(|given| (given.op, given.first)).collect();
    assert_eq!(
        order,
        [
            (Op::Read, 2000),
            (Op::Read, 500),
            (Op::Write, 100),
            (Op::Read, 101),
            (Op::Write, 102)
        ]
    );
    assert_eq!(rig.answer(read.0), Some(1024));
    let bytes = rig.bytes(read.1);
    assert!(bytes[..512].iter().all(|&byte| byte == 1));
    assert_eq!(bytes[512..], sectors(102, 1));
}

#[test]
fn an_overlapping_transfer_waits_for_one_that_the_device_has() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let read = rig.send_read(100, 4);
    let write = rig.send_write(103, 1, 9);
    let reread = rig.send_read(103, 1);
    let other = rig.send_read(102, 1);
    rig.poll();
    assert_eq!(rig.disk().ops(), [(Op::Read, 100, 4), (Op::Read, 102, 1)]);
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(read), Some(2048));
    assert_eq!(rig.disk().ops()[2..], [(Op::Write, 103, 1)]);
    rig.disk().finish(1, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(write), Some(512));
    assert_eq!(rig.disk().ops()[3..], [(Op::Read, 103, 1)]);
    rig.settle();
    assert_eq!((rig.answer(reread), rig.answer(other)), (Some(512), Some(512)));
}

#[test]
fn forcewrite_waits_for_writes_ahead_and_holds_writes_after() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let ahead = rig.send_write(100, 1, 1);
    let force = forced(&mut rig, 200, 1);
    let after = rig.send_write(300, 1, 3);
    let read = rig.send_read(400, 1);
    rig.poll();
    assert_eq!(rig.disk().ops(), [(Op::Read, 400, 1), (Op::Write, 100, 1)]);
    rig.disk().finish(1, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(ahead), Some(512));
    assert_eq!(rig.disk().ops()[2..], [(Op::Write, 200, 1)]);
    rig.disk().finish(1, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(force), None);
    assert_eq!(rig.disk().ops()[3..], [(Op::Flush, 0, 0)]);
    rig.disk().finish(1, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(force), Some(512));
    assert_eq!(rig.disk().ops()[4..], [(Op::Write, 300, 1)]);
    rig.settle();
    assert_eq!((rig.answer(after), rig.answer(read)), (Some(512), Some(512)));
}

#[test]
fn forcewrite_is_never_merged() {
    let (mut rig, _) = held(DriverOptions::default());
    rig.send_write(100, 1, 1);
    forced(&mut rig, 101, 1);
    rig.send_write(102, 1, 1);
    one_by_one(&mut rig);
    assert_eq!(rig.driver.counters().merged, 0);
    assert_eq!(rig.disk().log.len(), 5);
}

#[test]
fn a_forced_write_in_pieces_is_flushed_after_the_last_one() {
    let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.info.max_segments = 1);
    rig.disk().automatic = false;
    let id = forced(&mut rig, 0, 20);
    rig.poll();
    let pieces = rig.disk().pending.len();
    assert!(pieces > 1);
    for _ in 1..pieces {
        rig.disk().finish(0, Ok(()));
        rig.poll();
        assert_eq!(rig.disk().log.len(), pieces);
    }
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.disk().log.last().map(|given| given.op), Some(Op::Flush));
    rig.settle();
    assert_eq!(rig.answer(id), Some(20 * 512));
}

#[test]
fn a_forced_write_that_fails_needs_no_flush() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let id = forced(&mut rig, 0, 1);
    rig.poll();
    rig.disk().finish(0, Err(DeviceError::Io));
    rig.poll();
    assert_eq!(rig.answer(id), Some(Errno::EIO.to_wire()));
    assert_eq!(rig.disk().log.len(), 1);
}

#[test]
fn a_full_device_is_offered_the_rest_after_a_completion() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    rig.disk().room = 3;
    let ids: Vec<_> = (0..10).map(|nth| rig.send_read(nth * 5, 1)).collect();
    rig.poll();
    assert_eq!(rig.disk().pending.len(), 3);
    let full = rig.driver.counters().device_full;
    rig.poll();
    rig.send_read(1000, 1);
    rig.poll();
    assert_eq!(
        rig.driver.counters().device_full,
        full,
        "it is not asked again for nothing"
    );
    one_by_one(&mut rig);
    assert!(ids.iter().all(|&id| rig.answer(id) == Some(512)));
}

#[test]
fn neighbours_that_a_full_device_refused_go_together_once_there_is_room() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    rig.disk().room = 1;
    rig.send_read(100, 1);
    rig.poll();
    let ids = [0, 1, 2].map(|sector| rig.send_read(sector, 1));
    rig.poll();
    assert_eq!(rig.driver.counters().device_full, 1);
    rig.disk().finish(0, Ok(()));
    rig.poll();
    let given: Vec<_> = rig
        .disk()
        .log
        .iter()
        .map(|given| (given.first, given.sectors))
        .collect();
    assert_eq!(given, [(100, 1), (0, 3)]);
    rig.settle();
    assert_eq!(ids.map(|id| rig.answer(id)), [Some(512); 3]);
}

#[test]
fn pieces_without_room_wait_and_are_looked_up_again() {
    let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.info.max_segments = 2);
    rig.disk().automatic = false;
    rig.disk().room = 2;
    let buffer = rig.buffer(300 << 10, Placement::Scattered, 2);
    let grant = rig.lend_to_fill(buffer);
    let id = rig.send(MessageType::BDEV_READ, Rig::transfer_request(0, 512, 300 << 10, grant));
    rig.poll();
    one_by_one(&mut rig);
    assert_eq!(rig.answer(id), Some(300 << 10));
    assert!(rig.bytes(buffer) == sectors(1, 600));
}

#[test]
fn a_transfer_waits_for_a_free_bounce_buffer() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    rig.disk().unreachable_from = 0;
    let buffers: Vec<_> = (0..8).map(|_| rig.buffer(20 << 10, Placement::Scattered, 0)).collect();
    let ids: Vec<_> = (0..)
        .zip(&buffers)
        .map(|(nth, &buffer)| {
            let grant = rig.lend_to_fill(buffer);
            let request = Rig::transfer_request(0, nth * (20 << 10), 20 << 10, grant);
            rig.send(MessageType::BDEV_READ, request)
        })
        .collect();
    rig.poll();
    assert_eq!(rig.disk().pending.len(), 4);
    one_by_one(&mut rig);
    for (nth, (&id, &buffer)) in (0..).zip(ids.iter().zip(&buffers)) {
        assert_eq!(rig.answer(id), Some(20 << 10));
        assert!(rig.bytes(buffer) == sectors(nth * 40, 40));
    }
}

#[test]
fn vectors_of_several_jobs_do_not_mix() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let mut jobs = Vec::new();
    for nth in 0..4_u64 {
        let buffers = [(); 3].map(|()| rig.buffer(1024, Placement::Scattered, 0));
        let elements = buffers.map(|buffer| Element {
            grant: rig.lend_to_fill(buffer),
            bytes: 1024,
        });
        let vector = rig.vector(&elements);
        let request = Rig::transfer_request(0, nth * 100 * 512, 3, vector);
        jobs.push((nth, rig.send(MessageType::BDEV_GATHER, request), buffers));
    }
    rig.settle();
    for (nth, id, buffers) in jobs {
        assert_eq!(rig.answer(id), Some(3072));
        let read = buffers.map(|buffer| rig.bytes(buffer)).concat();
        assert!(read == sectors(nth * 100, 6));
    }
}

#[test]
fn the_counters_tell_what_happened() {
    let mut rig = Rig::opened();
    let before = rig.driver.counters();
    rig.read(0, 0, 1024);
    rig.write(0, 0, &[1; 512]);
    rig.read(0, 1, 512);
    let counters = rig.driver.counters();
    assert_eq!(counters.requests - before.requests, 3);
    assert_eq!(counters.replies, counters.requests);
    assert_eq!(counters.errors - before.errors, 1);
    assert_eq!((counters.reads, counters.writes), (1, 1));
    assert_eq!((counters.bytes_read, counters.bytes_written), (1024, 512));
    let text = format!("{counters}");
    assert!(text.starts_with("requests=") && text.contains(" bytes_read=1024 bytes_written=512 "));
}
