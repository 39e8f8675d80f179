//! What the disk does not do, and why.

use minix_abi::disk_control::{EventKind, FaultCode};
use virtio_blk_model::feature::INDIRECT_DESC;

use super::*;

#[test]
fn a_block_in_more_pieces_than_the_device_takes_cannot_be_reached() {
    let mut rig = rig_of(
        ModelConfig {
            seg_max: 2,
            block_size: 4096,
            ..ModelConfig::modern()
        },
        256,
    );
    assert_eq!(rig.disk.info().expect("it is live").max_segments, 2);
    let pieces = |rig: &Rig, count: u64| -> Vec<LentRange> {
        (0..count).map(|nth| rig.lent(nth * 8192, 4096 / count)).collect()
    };
    let eight = pieces(&rig, 8);
    for _ in 0..100 {
        assert_eq!(rig.read(0, &eight, 1), Err(Refusal::Unreachable));
    }
    let two = pieces(&rig, 2);
    rig.read(0, &two, 1).expect("room");
    assert_eq!(rig.finish(), [(1, Ok(()))]);
    rig.model.assert_clean();
}

#[test]
fn a_bounced_request_without_a_list_keeps_no_buffer() {
    let mut rig = rig();
    assert_eq!(rig.read_bounced(0, 0, 512, 64), Err(Refusal::Full));
    assert!(rig.bytes(0).is_some());
    rig.read_bounced(0, 0, 512, 63).expect("room");
    assert_eq!(rig.finish(), [(63, Ok(()))]);
}

#[test]
fn the_write_cache_is_not_switched_while_requests_are_in_flight() {
    let mut rig = rig();
    rig.read(0, &[rig.sector()], 1).expect("room");
    assert_eq!(rig.disk.set_write_cache(false), Err(Refusal::Full));
    assert!(rig.has_cache() && rig.model.writeback());
    assert_eq!(rig.finish(), [(1, Ok(()))]);
    assert_eq!(rig.disk.set_write_cache(false), Ok(()));
    assert!(!rig.has_cache());
}

#[test]
fn a_write_cache_that_has_no_switch_stays_as_it_is() {
    let config = ModelConfig::modern().withdraw(virtio_blk_model::feature::CONFIG_WCE);
    let mut rig = rig_of(config, 256);
    let before = rig.has_cache();
    assert_eq!(rig.disk.set_write_cache(!before), Err(Refusal::Unsupported));
    assert_eq!(rig.has_cache(), before);
}

#[test]
fn a_device_that_is_gone_says_so_in_its_event() {
    let mut rig = rig();
    rig.model.go_away();
    assert_eq!(rig.disk.set_write_cache(false), Err(Refusal::Broken));
    assert_eq!(rig.read(0, &[rig.sector()], 1), Err(Refusal::Broken));
    assert_eq!(rig.poll(), Err(Broken));
    let event = rig.disk.take_event().expect("an event");
    assert_eq!((event.kind, FaultCode(event.code)), (EventKind::FAULT, FaultCode::GONE));
}

#[test]
fn a_device_that_does_not_stop_is_not_said_to() {
    let mut rig = rig();
    rig.stuck.set(true);
    assert!(!rig.disk.stop());
    assert!(rig.model.status().contains(DeviceStatus::DRIVER_OK));
    rig.stuck.set(false);
    assert!(rig.disk.stop());
    assert_eq!(rig.model.status(), DeviceStatus::RESET);
}

#[test]
fn the_interrupt_of_a_stopped_device_is_acknowledged_once_it_was_told_of() {
    let mut rig = rig();
    rig.refuse_start.set(true);
    assert_eq!(rig.disk.reset(&mut |_, _| {}), Err(Broken));
    rig.causes.set(1);
    rig.disk.dismiss_interrupt();
    assert_eq!(rig.causes.get(), 1, "nothing was told of it");
    rig.disk.interrupted();
    rig.disk.dismiss_interrupt();
    assert_eq!(rig.causes.get(), 0);
}

/// A device without tables, where there is memory for a queue of 64 descriptors and not for one of 128.
fn small(sticks_once_live: bool) -> Rig {
    let simple = ModelConfig::modern().withdraw(INDIRECT_DESC);
    started_rig(simple, 256, 5 << 10, usize::MAX, sticks_once_live).expect("it will do")
}

#[test]
fn without_tables_and_memory_the_largest_queue_that_fits_is_used() {
    let mut rig = small(false);
    assert_eq!(rig.disk.queue(), Some((QueueSize::new(64).unwrap(), false)));
    assert_eq!(rig.disk.ring().size, 64);
    works(&mut rig);
    assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
    works(&mut rig);
    rig.model.assert_clean();
}

#[test]
fn a_device_that_does_not_stop_for_another_queue_is_used_with_the_one_it_has() {
    let mut rig = small(true);
    assert!(rig.stuck.get(), "it was asked to stop");
    assert_eq!(rig.disk.queue(), Some((QueueSize::new(64).unwrap(), false)));
    assert_eq!(rig.disk.ring().size, 64);
    works(&mut rig);
    rig.stuck.set(false);
    assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
    works(&mut rig);
    rig.model.assert_clean();
}
