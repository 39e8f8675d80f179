//! The ways a transfer takes: in one piece, in several, through bounce buffers, and down to the medium.

mod common;

use common::{Element, FakeDisk, JOBS, Op, Placement, Rig, sectors, wire};
use minix_abi::bdev::{BdevFlags, BdevRequest};
use minix_abi::{Errno, GrantId, MessageType};
use minix_blockdriver::{DeviceError, DriverOptions};

#[test]
fn untouched_memory_is_written_through_a_bounce_buffer() {
    let mut rig = Rig::opened();
    let buffer = rig.buffer(40 << 10, Placement::Untouched, 100);
    let grant = rig.lend_to_take(buffer);
    let request = Rig::transfer_request(0, 512, 40 << 10, grant);
    assert_eq!(rig.ask(MessageType::BDEV_WRITE, request), 40 << 10);
    assert!(rig.disk().content[512..][..40 << 10].iter().all(|&byte| byte == 0));
    assert!(rig.driver.counters().bounced > 0);
    // For the other direction the kernel brings the pages in.
    let bounced = rig.driver.counters().bounced;
    let buffer = rig.buffer(8192, Placement::Untouched, 100);
    let grant = rig.lend_to_fill(buffer);
    let request = Rig::transfer_request(0, 512 * 100, 8192, grant);
    assert_eq!(rig.ask(MessageType::BDEV_READ, request), 8192);
    assert!(rig.bytes(buffer) == sectors(100, 16));
    assert_eq!(rig.driver.counters().bounced, bounced);
}

#[test]
fn untouched_memory_without_bounce_buffers_is_efault() {
    let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.bounce_buffers.clear());
    let buffer = rig.buffer(4096, Placement::Untouched, 0);
    let grant = rig.lend_to_take(buffer);
    let request = Rig::transfer_request(0, 512, 4096, grant);
    assert_eq!(rig.ask(MessageType::BDEV_WRITE, request), wire(Errno::EFAULT));
}

#[test]
fn memory_out_of_reach_goes_through_bounce_buffers_both_ways() {
    let mut rig = Rig::opened();
    rig.disk().unreachable_from = 0;
    let data: Vec<u8> = (0..100 * 512).map(|nth| (nth / 7) as u8).collect();
    assert_eq!(rig.write(0, 512, &data), 100 * 512);
    assert!(rig.disk().content[512..][..data.len()] == data);
    let lengths = [512, 20 << 10, 1024, 16 << 10];
    let buffers = lengths.map(|bytes| rig.buffer(bytes, Placement::Scattered, 10));
    let elements = buffers.map(|buffer| Element {
        grant: rig.lend_to_fill(buffer),
        bytes: buffer.bytes,
    });
    let vector = rig.vector(&elements);
    let request = Rig::transfer_request(0, 512, 4, vector);
    let total: u64 = lengths.iter().sum();
    assert_eq!(rig.ask(MessageType::BDEV_GATHER, request), total as i32);
    let read: Vec<u8> = buffers.iter().flat_map(|&buffer| rig.bytes(buffer)).collect();
    assert!(read == data[..total as usize]);
}

#[test]
fn more_pieces_than_the_device_takes_become_several_requests() {
    for most in [1, 2, 3, 7, 64, 200] {
        let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.info.max_segments = most);
        let buffer = rig.buffer(100 << 10, Placement::Scattered, 4);
        let data: Vec<u8> = (0..buffer.bytes).map(|nth| (nth / 11) as u8).collect();
        rig.fill(buffer, &data);
        let grant = rig.lend_to_take(buffer);
        let request = Rig::transfer_request(0, 512, 100 << 10, grant);
        assert_eq!(rig.ask(MessageType::BDEV_WRITE, request), 100 << 10, "{most}");
        assert!(rig.disk().content[512..][..100 << 10] == data);
        assert!(
            rig.disk()
                .log
                .iter()
                .all(|given| given.segments.len() <= usize::from(most))
        );
        let (status, read) = rig.read(0, 512, 100 << 10);
        assert_eq!(status, 100 << 10);
        assert!(read == data);
    }
}

#[test]
fn a_block_in_too_many_pieces_goes_through_a_bounce_buffer() {
    // Blocks of a page, buffers that start within a page: every block lies in two pieces, and the device takes one.
    let mut rig = Rig::opened_with(DriverOptions::default(), |disk| {
        disk.info.max_segments = 1;
        disk.info.block_bytes = 4096;
    });
    let data: Vec<u8> = (0..10 * 4096).map(|nth| (nth / 13) as u8).collect();
    assert_eq!(rig.write(0, 4096, &data), 10 * 4096);
    assert!(rig.disk().content[4096..][..data.len()] == data);
    assert!(rig.read(0, 4096, 10 * 4096).1 == data);
}

#[test]
fn a_kernel_that_finds_few_ranges_at_a_time_is_asked_again() {
    for at_once in [1, 2, 5] {
        let mut rig = Rig::opened();
        rig.kernel.ranges_at_once = at_once;
        let (status, bytes) = rig.read(0, 512, 50 << 10);
        assert_eq!(status, 50 << 10);
        assert!(bytes == sectors(1, 100));
    }
}

#[test]
fn the_first_error_is_the_answer_after_the_last_piece() {
    let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.info.max_segments = 1);
    rig.disk().automatic = false;
    let (request, _) = rig.read_request(0, 0, 4 * 4096);
    let id = rig.send(MessageType::BDEV_READ, request);
    rig.poll();
    assert_eq!(rig.disk().pending.len(), 4);
    rig.disk().finish(1, Err(DeviceError::Unsupported));
    rig.poll();
    rig.disk().finish(0, Err(DeviceError::Io));
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(id), None);
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(id), Some(wire(Errno::ENOTSUP)));
}

#[test]
fn a_late_bad_grant_is_answered_after_the_submitted_pieces() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let mut elements = Vec::new();
    for _ in 0..63 {
        let buffer = rig.buffer(8192, Placement::Scattered, 0);
        elements.push(Element {
            grant: rig.lend_to_fill(buffer),
            bytes: 8192,
        });
    }
    elements.push(Element {
        grant: GrantId::INVALID,
        bytes: 512,
    });
    let vector = rig.vector(&elements);
    let id = rig.send(MessageType::BDEV_GATHER, Rig::transfer_request(0, 0, 64, vector));
    rig.poll();
    assert_eq!(rig.answer(id), None);
    assert_eq!(rig.disk().pending.len(), 1);
    rig.disk().finish_all();
    rig.poll();
    assert_eq!(rig.answer(id), Some(wire(Errno::EINVAL)));
}

/// Two sectors that are to be on the medium before the answer.
fn forced_write(rig: &mut Rig) -> BdevRequest {
    BdevRequest {
        flags: BdevFlags::FORCEWRITE,
        ..rig.write_request(0, 512, &[3; 1024])
    }
}

#[test]
fn forcewrite_is_a_write_and_then_a_flush_before_the_answer() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let request = forced_write(&mut rig);
    let id = rig.send(MessageType::BDEV_WRITE, request);
    rig.poll();
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(id), None);
    assert_eq!(rig.disk().ops(), [(Op::Write, 1, 2), (Op::Flush, 0, 0)]);
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(id), Some(1024));
}

#[test]
fn forcewrite_without_a_cache_or_a_flush_is_a_write() {
    for (cache, flush) in [(false, true), (true, false), (false, false)] {
        let mut rig = Rig::opened();
        rig.disk().info.write_cache = cache;
        rig.disk().info.can_flush = flush;
        let request = forced_write(&mut rig);
        assert_eq!(rig.ask(MessageType::BDEV_WRITE, request), 1024);
        assert_eq!(rig.disk().ops(), [(Op::Write, 1, 2)]);
    }
}

#[test]
fn forcewrite_whose_flush_fails_is_eio() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let request = forced_write(&mut rig);
    let id = rig.send(MessageType::BDEV_WRITE, request);
    rig.poll();
    rig.disk().finish(0, Ok(()));
    rig.poll();
    rig.disk().finish(0, Err(DeviceError::Io));
    rig.poll();
    assert_eq!(rig.answer(id), Some(wire(Errno::EIO)));
}

#[test]
fn a_successful_look_up_without_ranges_is_efault() {
    for empty in [0, 1, 3] {
        for buffers in [0, 4] {
            let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.bounce_buffers.truncate(buffers));
            rig.kernel.empty_ranges = Some(empty);
            assert_eq!(rig.read(0, 0, 512).0, wire(Errno::EFAULT));
            assert_eq!(rig.write(0, 0, &[1; 4096]), wire(Errno::EFAULT));
            // Neighbours that could be merged, too.
            let ids = [0, 1, 2].map(|sector| rig.send_read(sector, 1));
            rig.poll();
            assert_eq!(ids.map(|id| rig.answer(id)), [Some(wire(Errno::EFAULT)); 3]);
            assert!(rig.disk().log.is_empty());
            assert_eq!(rig.driver.deadline(), None);
        }
    }
}

#[test]
fn a_later_empty_look_up_ends_the_transfer_after_its_pieces() {
    let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.info.max_segments = 1);
    rig.disk().automatic = false;
    rig.disk().room = 1;
    let (request, _) = rig.read_request(0, 0, 3 * 4096);
    let read = rig.send(MessageType::BDEV_READ, request);
    rig.poll();
    rig.kernel.empty_ranges = Some(0);
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(read), Some(wire(Errno::EFAULT)));
    assert_eq!((rig.driver.in_flight(), rig.driver.deadline()), (0, None));
}

/// Moves a megabyte from or to such memory; the look-ups of addresses that took, and the segments of each device request.
fn megabyte(write: bool, placement: Placement, skew: u64, change: impl FnOnce(&mut FakeDisk)) -> (usize, Vec<usize>) {
    const BYTES: u64 = 1 << 20;
    let mut rig = Rig::opened_with(DriverOptions::default(), change);
    let buffer = rig.buffer(BYTES, placement, skew);
    let data: Vec<u8> = (0..BYTES).map(|nth| (nth / 509) as u8).collect();
    let (kind, grant) = if write {
        rig.fill(buffer, &data);
        (MessageType::BDEV_WRITE, rig.lend_to_take(buffer))
    } else {
        (MessageType::BDEV_READ, rig.lend_to_fill(buffer))
    };
    let before = rig.kernel.calls.maps;
    let request = Rig::transfer_request(0, 0, BYTES as i32, grant);
    assert_eq!(rig.ask(kind, request), BYTES as i32);
    if write {
        assert!(rig.disk().content[..BYTES as usize] == data);
    } else {
        assert!(rig.bytes(buffer) == sectors(0, BYTES / 512));
    }
    let segments = rig.disk().log.iter().map(|request| request.segments.len()).collect();
    (rig.kernel.calls.maps - before, segments)
}

/// The same in both directions, which are alike.
fn megabytes(placement: Placement, skew: u64, change: impl Fn(&mut FakeDisk)) -> (usize, Vec<usize>) {
    let (read, write) = (
        megabyte(false, placement, skew, &change),
        megabyte(true, placement, skew, &change),
    );
    assert_eq!(read, write);
    read
}

#[test]
fn a_contiguous_megabyte_is_one_look_up_and_one_device_request() {
    for skew in [0, 2, 512, 4094] {
        assert_eq!(megabytes(Placement::Contiguous, skew, |_| {}), (1, vec![1]));
    }
}

#[test]
fn a_contiguous_megabyte_in_short_segments_is_still_one_look_up() {
    for (longest, segments) in [(1 << 20, 1), (512 << 10, 2), (64 << 10, 16), (16 << 10, 64)] {
        let short = |disk: &mut FakeDisk| disk.info.max_segment_bytes = longest;
        assert_eq!(
            megabytes(Placement::Contiguous, 0, short),
            (1, vec![segments]),
            "{longest}"
        );
    }
    // More segments than a look-up has places for: what found none is looked up again.
    let short = |disk: &mut FakeDisk| disk.info.max_segment_bytes = 8 << 10;
    assert_eq!(megabytes(Placement::Contiguous, 0, short), (2, vec![64; 2]));
}

#[test]
fn a_scattered_megabyte_takes_a_look_up_for_64_ranges() {
    assert_eq!(megabytes(Placement::Scattered, 0, |_| {}), (4, vec![64; 4]));
    // One range more.
    assert_eq!(
        megabytes(Placement::Scattered, 512, |_| {}),
        (5, vec![64, 64, 64, 64, 1])
    );
}

#[test]
fn ranges_that_do_not_fit_into_a_device_request_are_not_looked_up_again() {
    for most in [4, 16, 32, 64, 126] {
        let few = |disk: &mut FakeDisk| disk.info.max_segments = most;
        let (maps, segments) = megabytes(Placement::Scattered, 0, few);
        let each = usize::from(most.min(64));
        assert_eq!((maps, segments), (4, vec![each; 256 / each]), "{most}");
    }
}

#[test]
fn ranges_that_there_is_no_request_for_yet_are_looked_up_again() {
    // Sixteen requests are in flight at most, here with a range each. The others of a look-up are not kept.
    let few = |disk: &mut FakeDisk| disk.info.max_segments = 1;
    assert_eq!(megabytes(Placement::Scattered, 0, few), (256 / JOBS, vec![1; 256]));
}

#[test]
fn a_megabyte_in_64_ranges_is_one_look_up_and_one_device_request() {
    const PART: u64 = 16 << 10;
    let mut rig = Rig::opened();
    let parts: Vec<_> = (0..64)
        .map(|_| {
            let buffer = rig.buffer(PART, Placement::Contiguous, 0);
            // So that the next one does not follow it.
            rig.buffer(4096, Placement::Contiguous, 0);
            let grant = rig.lend_to_fill(buffer);
            Element { grant, bytes: PART }
        })
        .collect();
    let vector = rig.vector(&parts);
    let before = rig.kernel.calls.maps;
    let request = Rig::transfer_request(0, 0, 64, vector);
    assert_eq!(rig.ask(MessageType::BDEV_GATHER, request), 1 << 20);
    assert_eq!(rig.kernel.calls.maps - before, 1);
    let segments: Vec<_> = rig.disk().log.iter().map(|request| request.segments.len()).collect();
    assert_eq!(segments, [64]);
}
