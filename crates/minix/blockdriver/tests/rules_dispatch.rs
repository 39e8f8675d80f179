//! Opens, closes, order and exclusion, rule by rule.

mod common;

use common::{CLIENT, FakeDisk, JOBS, OTHER, Op, Placement, Rig, SECTORS, sectors, wire};
use minix_abi::bdev::{BdevAccess, BdevRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::ipc::{IpcCall, IpcStatus};
use minix_abi::minor::Minor;
use minix_abi::{Errno, Message, MessageType};
use minix_blockdriver::{DeviceError, DriverOptions};

fn on_minor(minor: i32) -> BdevRequest {
    BdevRequest {
        minor: Minor(minor),
        ..BdevRequest::default()
    }
}

/// A partition table at the start of a sector: system id, first sector, sectors.
fn put_table(disk: &mut FakeDisk, sector: u64, entries: &[(u8, u32, u32)]) {
    let at = sector as usize * 512;
    disk.content[at..at + 512].fill(0);
    for (nth, (id, first, count)) in entries.iter().enumerate() {
        let entry = at + 446 + 16 * nth;
        disk.content[entry + 4] = *id;
        disk.content[entry + 8..entry + 12].copy_from_slice(&first.to_le_bytes());
        disk.content[entry + 12..entry + 16].copy_from_slice(&count.to_le_bytes());
    }
    disk.content[at + 510..at + 512].copy_from_slice(&[0x55, 0xAA]);
}

#[test]
fn all_but_open_on_an_unopened_minor_is_erestart() {
    let mut rig = Rig::opened();
    let kinds = [
        MessageType::BDEV_CLOSE,
        MessageType::BDEV_READ,
        MessageType::BDEV_WRITE,
        MessageType::BDEV_GATHER,
        MessageType::BDEV_SCATTER,
        MessageType::BDEV_IOCTL,
    ];
    let before = rig.kernel.calls;
    for kind in kinds {
        for minor in [1, 4, 128, 143, 5, -1, 255] {
            // Wrong in every other way too.
            let request = BdevRequest {
                minor: Minor(minor),
                count: -1,
                position: 1,
                ..BdevRequest::default()
            };
            assert_eq!(rig.ask(kind, request), wire(Errno::ERESTART));
        }
    }
    assert_eq!(rig.kernel.calls, before);
    assert!(rig.disk().log.is_empty());
}

#[test]
fn an_open_that_fails_counts_as_opened_since_the_start() {
    let mut rig = Rig::with(DriverOptions::default(), |disk| disk.info.read_only = true);
    assert_eq!(rig.read(0, 0, 512).0, wire(Errno::ERESTART));
    assert_eq!(rig.open(0), wire(Errno::EACCES));
    assert_eq!(
        rig.read(0, 0, 512).0,
        0,
        "not scanned yet: the disk is empty, but known"
    );
    assert_eq!(rig.open(7), wire(Errno::ENXIO));
    assert_eq!(rig.read(7, 0, 512).0, wire(Errno::ENXIO));
    assert_eq!(rig.close(7), wire(Errno::ENXIO));
    assert_eq!(
        rig.ioctl_with(7, IoctlCode::DIOCGETP, minix_abi::GrantId(1)),
        wire(Errno::ENXIO)
    );
}

#[test]
fn the_opened_set_never_shrinks() {
    let mut rig = Rig::opened();
    assert_eq!(rig.close(0), 0);
    assert_eq!(rig.read(0, 0, 512), (512, sectors(0, 1)));
}

#[test]
fn a_read_after_the_open_of_its_minor_is_served() {
    let mut rig = Rig::new();
    let open = rig.send(MessageType::BDEV_OPEN, on_minor(0));
    let read = rig.send_read(0, 1);
    rig.settle();
    assert_eq!(rig.answer(open), Some(0));
    assert_eq!(rig.answer(read), Some(512));
}

#[test]
fn a_read_only_disk_opened_for_writing_is_eacces() {
    let mut rig = Rig::with(DriverOptions::default(), |disk| disk.info.read_only = true);
    for access in [BdevAccess::WRITE, BdevAccess::READ | BdevAccess::WRITE] {
        assert_eq!(rig.open_for(0, access), wire(Errno::EACCES));
        assert_eq!(rig.open_for(1, access), wire(Errno::EACCES));
    }
    assert_eq!(rig.open_for(0, BdevAccess::READ), 0);
    assert_eq!(rig.open_for(0, BdevAccess::empty()), 0);
    assert_eq!(rig.open_count(), 2);
}

#[test]
fn a_partition_of_no_size_can_be_opened() {
    let mut rig = Rig::opened();
    for minor in [1, 2, 3, 4, 128, 143] {
        assert_eq!(rig.open(minor), 0);
        assert_eq!(rig.partition(minor).1, 0);
        assert_eq!(rig.read(minor, 0, 512).0, 0);
    }
}

#[test]
fn the_first_open_scans_the_disk_and_the_second_does_not() {
    let mut rig = Rig::with(DriverOptions::default(), |disk| {
        put_table(disk, 0, &[(0x81, 100, 50), (0x06, 300, 20)]);
    });
    assert_eq!(rig.open(0), 0);
    let reads = rig.disk().log.len();
    assert!(reads > 0 && rig.disk().log.iter().all(|given| given.op == Op::Read));
    assert_eq!(rig.open(1), 0);
    assert_eq!(rig.open(2), 0);
    assert_eq!(rig.disk().log.len(), reads);
    assert_eq!(rig.partition(0), (0, SECTORS * 512));
    assert_eq!(rig.partition(1), (100 * 512, 50 * 512));
    assert_eq!(rig.partition(2), (300 * 512, 20 * 512));
    assert_eq!(rig.read(2, 512, 512), (512, sectors(301, 1)));
}

#[test]
fn when_nothing_is_open_the_next_open_forgets_and_scans_again() {
    let mut rig = Rig::with(DriverOptions::default(), |disk| put_table(disk, 0, &[(0x06, 100, 50)]));
    assert_eq!((rig.open(1), rig.open(2)), (0, 0));
    rig.set_partition(2, 512, 512);
    assert_eq!((rig.close(2), rig.close(1)), (0, 0));
    put_table(rig.disk(), 0, &[(0x06, 200, 10)]);
    assert_eq!((rig.open(2), rig.open(1)), (0, 0));
    assert_eq!(rig.partition(1), (200 * 512, 10 * 512));
    assert_eq!(rig.partition(2).1, 0);
}

#[test]
fn the_scan_holds_later_requests_but_not_the_service() {
    let mut rig = Rig::with(DriverOptions::default(), |disk| {
        put_table(disk, 0, &[(0x06, 100, 50)]);
        disk.automatic = false;
    });
    let first = rig.send(MessageType::BDEV_OPEN, on_minor(0));
    let second = rig.send_as(OTHER, IpcCall::SENDREC, MessageType::BDEV_OPEN, on_minor(1));
    let read = rig.send_read(5, 1);
    rig.poll();
    assert_eq!(rig.disk().pending.len(), 1);
    assert!(rig.kernel.replies.is_empty());
    for _ in 0..100 {
        if rig.answer(first).is_some() {
            break;
        }
        assert_eq!(rig.disk().pending.len(), 1);
        rig.disk().finish(0, Ok(()));
        rig.poll();
    }
    assert_eq!(rig.answer(second), Some(0));
    rig.settle();
    assert_eq!(rig.answer(read), Some(512));
}

#[test]
fn a_scan_that_fails_leaves_an_open_disk_without_partitions() {
    for change in [
        (|disk: &mut FakeDisk| disk.bad_sectors = (0..SECTORS).collect()) as fn(&mut FakeDisk),
        |disk| disk.bounce_buffers.clear(),
        |disk| disk.refusals = [Some(minix_blockdriver::Refusal::Invalid); 20].into(),
    ] {
        let mut rig = Rig::with(DriverOptions::default(), |disk| {
            put_table(disk, 0, &[(0x06, 100, 50)]);
            change(disk);
        });
        assert_eq!(rig.open(0), 0);
        assert_eq!(rig.open(1), 0);
        assert_eq!(rig.partition(1).1, 0);
        assert_eq!(rig.partition(0).1, SECTORS * 512);
    }
}

#[test]
fn a_disk_of_no_size_opens() {
    let mut rig = Rig::with(DriverOptions::default(), |disk| disk.info.sectors = 0);
    assert_eq!(rig.open(0), 0);
    assert_eq!(rig.read(0, 0, 512).0, 0);
}

#[test]
fn a_disk_smaller_than_its_block_opens_and_is_empty() {
    for sectors in [1, 7] {
        let mut rig = Rig::with(DriverOptions::default(), |disk| {
            (disk.info.sectors, disk.info.block_bytes) = (sectors, 4096);
        });
        assert_eq!(rig.open(0), 0);
        assert_eq!(rig.partition(0), (0, 0));
        assert_eq!(rig.read(0, 0, 512).0, 0);
        assert_eq!(rig.read(0, 0, 4096).0, 0);
        assert_eq!(rig.write(0, 0, &[1; 4096]), 0);
        let reaches_the_disk = |op: &(Op, u64, u64)| op.0 != Op::Flush;
        assert!(!rig.disk().ops().iter().any(reaches_the_disk));
        assert_eq!(rig.close(0), 0);
    }
}

#[test]
fn the_last_close_flushes_and_the_others_do_not() {
    let mut rig = Rig::opened();
    assert_eq!((rig.open(0), rig.open(1)), (0, 0));
    assert_eq!(rig.write(0, 0, &[1; 512]), 512);
    rig.disk().log.clear();
    assert_eq!((rig.close(0), rig.close(1)), (0, 0));
    assert!(rig.disk().log.is_empty());
    rig.disk().automatic = false;
    let close = rig.send(MessageType::BDEV_CLOSE, on_minor(0));
    rig.poll();
    assert_eq!(rig.answer(close), None);
    assert_eq!(rig.disk().ops(), [(Op::Flush, 0, 0)]);
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(close), Some(0));
    assert_eq!(rig.disk().unflushed, 0);
}

#[test]
fn the_last_close_without_a_cache_or_a_flush_sends_nothing() {
    for (cache, flush) in [(false, true), (true, false)] {
        let mut rig = Rig::opened();
        rig.disk().info.write_cache = cache;
        rig.disk().info.can_flush = flush;
        assert_eq!(rig.close(0), 0);
        assert!(rig.disk().log.is_empty());
    }
}

#[test]
fn the_last_close_of_a_disk_only_read_flushes_nothing() {
    // The scan has read, too.
    for read_only in [false, true] {
        let mut rig = Rig::with(DriverOptions::default(), |disk| disk.info.read_only = read_only);
        assert_eq!(rig.open_for(0, BdevAccess::READ), 0);
        assert_eq!(rig.read(0, 0, 512).0, 512);
        rig.disk().log.clear();
        // A device that would refuse it.
        rig.disk().refusals = [Some(minix_blockdriver::Refusal::Unsupported)].into();
        assert_eq!(rig.close(0), 0);
        assert!(rig.disk().log.is_empty());
    }
}

#[test]
fn the_last_close_after_a_flush_flushes_nothing() {
    let mut rig = Rig::opened();
    assert_eq!(rig.write(0, 0, &[1; 512]), 512);
    assert_eq!(rig.ioctl_with(0, IoctlCode::DIOCFLUSH, minix_abi::GrantId::INVALID), 0);
    rig.disk().log.clear();
    assert_eq!(rig.close(0), 0);
    assert!(rig.disk().log.is_empty());
}

#[test]
fn a_last_close_with_a_failed_flush_is_eio_and_still_closes() {
    let mut rig = Rig::opened();
    assert_eq!(rig.write(0, 0, &[1; 512]), 512);
    rig.disk().automatic = false;
    let close = rig.send(MessageType::BDEV_CLOSE, on_minor(0));
    rig.poll();
    rig.disk().finish(0, Err(DeviceError::Io));
    rig.poll();
    assert_eq!(rig.answer(close), Some(wire(Errno::EIO)));
    assert_eq!(rig.driver.open_count(), 0);
}

#[test]
fn a_close_of_what_is_not_open_is_einval() {
    let mut rig = Rig::opened();
    assert_eq!(rig.open(1), 0);
    assert_eq!(rig.close(1), 0);
    assert_eq!(rig.close(1), wire(Errno::EINVAL));
    assert_eq!(rig.open_count(), 1);
}

#[test]
fn diocopenct_counts_opens_minus_closes_over_all_minors() {
    let mut rig = Rig::opened();
    assert_eq!(rig.open_count(), 1);
    assert_eq!(rig.open(0), 0);
    assert_eq!(rig.open_count(), 2);
    assert_eq!(rig.open(130), 0);
    assert_eq!(rig.open_count(), 3);
    assert_eq!(rig.close(0), 0);
    assert_eq!(rig.open_count(), 2);
}

#[test]
fn a_barrier_waits_for_transfers_ahead_and_holds_those_after() {
    for kind in [MessageType::BDEV_OPEN, MessageType::BDEV_CLOSE, MessageType::BDEV_IOCTL] {
        let mut rig = Rig::opened();
        assert_eq!(rig.open(0), 0);
        rig.disk().automatic = false;
        let ahead = [rig.send_read(10, 1), rig.send_read(20, 1), rig.send_write(30, 1, 1)];
        let request = BdevRequest {
            request: IoctlCode::DIOCEJECT,
            ..on_minor(0)
        };
        let barrier = rig.send(kind, request);
        let after = [rig.send_read(40, 1), rig.send_read(50, 1)];
        let second = rig.send(MessageType::BDEV_CLOSE, on_minor(3));
        let last = rig.send_read(60, 1);
        rig.poll();
        assert_eq!(rig.disk().pending.len(), 3);
        for left in [2, 1] {
            rig.disk().finish(0, Ok(()));
            rig.poll();
            assert_eq!(rig.disk().pending.len(), left);
            assert_eq!(rig.answer(barrier), None);
        }
        rig.disk().finish(0, Ok(()));
        rig.poll();
        assert!(ahead.iter().all(|&id| rig.answer(id) == Some(512)));
        assert!(rig.answer(barrier).is_some());
        assert_eq!(rig.disk().pending.len(), 2, "those after it, up to the next one");
        assert_eq!(rig.answer(second), None);
        rig.disk().finish_all();
        rig.poll();
        assert!(after.iter().all(|&id| rig.answer(id) == Some(512)));
        assert_eq!(rig.answer(second), Some(wire(Errno::ERESTART)));
        rig.settle();
        assert_eq!(rig.answer(last), Some(512));
    }
}

#[test]
fn transfers_are_answered_in_the_order_they_finish() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let ids = [0, 10, 20, 30].map(|sector| rig.send_read(sector, 1));
    rig.poll();
    for nth in [2, 2, 0, 0] {
        rig.disk().finish(nth, Ok(()));
        rig.poll();
    }
    let order: Vec<_> = rig.kernel.replies.iter().map(common::Sent::id).collect();
    assert_eq!(order, [ids[2], ids[3], ids[0], ids[1]]);
}

#[test]
fn no_room_means_not_now() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let ids: Vec<_> = (0..JOBS as u64).map(|nth| rig.send_read(nth * 2, 1)).collect();
    assert!(!rig.driver.has_room());
    let late = rig.send_read(200, 1);
    assert_eq!(rig.answer(late), Some(wire(Errno::ERESTART)));
    // What needs no room is answered.
    let mut message = Message::new(MessageType::CDEV_OPEN);
    message.source = CLIENT;
    let status = IpcStatus::new(IpcCall::SENDREC, false);
    assert!(rig.driver.on_message(&mut rig.kernel, rig.now, status, &message));
    rig.poll();
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert!(rig.driver.has_room());
    rig.settle();
    assert!(ids.iter().all(|&id| rig.answer(id) == Some(512)));
}

#[test]
fn terminated_with_nothing_open_it_may_exit_at_once() {
    let mut rig = Rig::new();
    assert!(!rig.driver.may_exit());
    rig.driver.terminate();
    assert!(rig.driver.may_exit());
    assert_eq!(rig.open(0), wire(Errno::ENXIO));
    assert!(rig.driver.may_exit());
}

#[test]
fn after_term_with_opens_it_serves_until_the_last_close() {
    let mut rig = Rig::opened();
    rig.driver.terminate();
    assert!(!rig.driver.may_exit());
    assert_eq!(rig.open(0), wire(Errno::ENXIO));
    assert_eq!(rig.open(1), wire(Errno::ENXIO));
    rig.disk().automatic = false;
    let write = rig.send_write(0, 1, 1);
    rig.poll();
    rig.disk().finish(0, Ok(()));
    let close = rig.send(MessageType::BDEV_CLOSE, on_minor(0));
    rig.poll();
    assert_eq!(rig.answer(write), Some(512));
    assert!(!rig.driver.may_exit(), "the flush is under way");
    rig.disk().finish_all();
    rig.poll();
    assert_eq!(rig.answer(close), Some(0));
    assert!(rig.driver.may_exit());
}

#[test]
fn unused_fields_of_a_request_may_hold_anything() {
    // Fields that mean nothing to a request may hold anything.
    let mut rig = Rig::new();
    let request = BdevRequest {
        position: u64::MAX,
        count: -1,
        grant: minix_abi::GrantId::INVALID,
        request: IoctlCode(u64::MAX),
        access: BdevAccess::from_bits_retain(!2),
        ..on_minor(0)
    };
    assert_eq!(rig.ask(MessageType::BDEV_OPEN, request), 0);
    let buffer = rig.buffer(512, Placement::Scattered, 0);
    let grant = rig.lend_to_fill(buffer);
    let request = BdevRequest {
        access: BdevAccess::from_bits_retain(!0),
        ..Rig::transfer_request(0, 512, 512, grant)
    };
    assert_eq!(rig.ask(MessageType::BDEV_READ, request), 512);
}
