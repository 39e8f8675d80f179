//! A device that changes under the driver: resizes at every moment, and calls for help.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Access, Rig, every_ring, narrow, pattern, range, register};
use virtio_blk::proto::Sector;
use virtio_blk::{DiskOptions, IoError, Request, SubmitError};
use virtio_blk_model::{Limits, ModelConfig};
use virtio_core::{ConfigError, DeviceStatus};
use virtio_mmio::RegisterAccess;

#[test]
fn a_configuration_interrupt_may_be_without_a_change() {
    let mut rig = Rig::<16>::new(ModelConfig::modern());
    let before = *rig.disk.limits();
    rig.model.spurious_interrupt(2);
    let change = rig.interrupt().unwrap().0.config.unwrap();
    assert_eq!(
        (change.limits, change.resized_from, change.needs_reset),
        (before, None, false)
    );
    assert!(!rig.model.interrupt_line());
    assert_eq!(rig.finish().interrupts.spurious, 0);
}

// Shows BLK-D-11.
#[test]
fn a_resize_is_seen_and_kept_to() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(ModelConfig {
            capacity: 100,
            ..config
        });
        let last = |capacity: u64| move |token| Request::write_zeroes(range(capacity - 1, 1), false, token);
        for (from, to) in [(100, 200), (200, 150), (150, 1 << 33), (1 << 33, 7)] {
            rig.model.resize(to);
            assert!(rig.model.interrupt_line());
            let change = rig.interrupt().unwrap().0.config.unwrap();
            assert_eq!(change.resized_from, Some(Sector(from)));
            assert_eq!(change.limits.capacity, Sector(to));
            assert!(!change.needs_reset);
            assert_eq!(rig.disk.limits(), &change.limits);
            assert_eq!(rig.disk.config().capacity, Sector(to));
            rig.good(last(to));
            let outside = SubmitError::OutOfRange { capacity: Sector(to) };
            assert_eq!(rig.refused(last(to + 1)), outside);
        }
        rig.finish();
    });
}

#[test]
fn fewer_segments_for_a_while_are_not_fewer_for_ever() {
    let mut rig = Rig::<16>::new(ModelConfig::modern());
    let before = rig.disk.limits().max_segments;
    assert!(before > 2);
    let seg_max = register::CONFIG + 12;
    rig.registers
        .hook(move |access| (access == Access::Read(seg_max)).then_some(2));
    assert_eq!(rig.disk.refresh_config().unwrap().limits.max_segments, 2);
    assert_eq!(rig.disk.limits().max_segments, 2);
    // More than the tables were laid out for.
    rig.registers
        .hook(move |access| (access == Access::Read(seg_max)).then_some(u32::MAX));
    assert_eq!(rig.disk.refresh_config().unwrap().limits.max_segments, before);
    assert_eq!(rig.disk.limits().max_segments, before);
    rig.registers.unhook();
    rig.finish();
}

#[test]
fn a_driver_that_only_polls_sees_changes_when_it_looks() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(ModelConfig {
            capacity: 100,
            ..config
        });
        let unchanged = rig.disk.refresh_config().unwrap();
        assert_eq!((unchanged.limits, unchanged.resized_from), (*rig.disk.limits(), None));
        rig.model.resize(50);
        let last = |token| Request::write_zeroes(range(99, 1), false, token);
        let change = rig.disk.refresh_config().unwrap();
        assert_eq!(change.resized_from, Some(Sector(100)));
        assert_eq!((change.limits, change.needs_reset), (*rig.disk.limits(), false));
        // The queue keeps to it.
        assert_eq!(rig.refused(last), SubmitError::OutOfRange { capacity: Sector(50) });
        rig.model.resize(100);
        assert_eq!(rig.disk.refresh_config().unwrap().resized_from, Some(Sector(50)));
        rig.good(last);
        rig.model.needs_reset();
        assert!(rig.disk.refresh_config().unwrap().needs_reset);
        rig.abandon();
    });
}

#[test]
fn a_driver_that_goes_back_to_polling_is_not_interrupted() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        rig.drain().unwrap();
        rig.disk.suppress_interrupts();
        rig.good(Request::flush);
        assert!(!rig.model.interrupt_line());
        rig.drain().unwrap();
        rig.good(Request::flush);
        assert!(rig.model.interrupt_line());
        rig.finish();
    });
}

#[test]
fn a_resize_during_another_is_not_torn_and_not_missed() {
    const LARGE: u64 = 0x1_0000_0000;
    const SMALL: u64 = 0xFFFF_FFFF;
    for config in [ModelConfig::modern(), ModelConfig::legacy()] {
        for reads in 1..60 {
            let mut rig = Rig::<16>::new(ModelConfig {
                capacity: 10,
                ..config.clone()
            });
            rig.model.resize(LARGE);
            rig.model.resize_after_reads(reads, SMALL);
            for _ in 0..4 {
                let change = rig.interrupt().unwrap().0.config;
                if let Some(change) = change {
                    let capacity = change.limits.capacity.get();
                    assert!([LARGE, SMALL].contains(&capacity), "{capacity:#x} is torn");
                }
                if !rig.model.interrupt_line() {
                    break;
                }
            }
            // Once nothing is announced any more, what is known is right.
            rig.model.resize_after_reads(u32::MAX, 0);
            let known = rig.disk.limits().capacity.get();
            let actual = rig.registers.clone();
            let high = u64::from(actual.read_u32(register::CONFIG + 4));
            assert_eq!(known >> 32, high, "after {reads} reads");
            rig.finish();
        }
    }
}

#[test]
fn a_resize_just_before_the_acknowledge_is_seen() {
    for config in [ModelConfig::modern(), ModelConfig::legacy()] {
        let mut rig = Rig::<16>::new(ModelConfig {
            capacity: 100,
            ..config
        });
        rig.model.resize(200);
        let model = rig.model.clone();
        rig.registers
            .before_write(register::INTERRUPT_ACK, move || model.resize(50));
        let change = rig.interrupt().unwrap().0.config.unwrap();
        assert!(!rig.model.interrupt_line(), "no further interrupt comes");
        assert_eq!(change.resized_from, Some(Sector(100)));
        assert_eq!(rig.disk.limits().capacity, Sector(50));
        assert_eq!(
            rig.refused_read(50, &[512]),
            SubmitError::OutOfRange { capacity: Sector(50) }
        );
        rig.finish();
    }
}

#[test]
fn an_unreadable_configuration_leaves_the_old_one_in_force() {
    let mut rig = Rig::<16>::new(ModelConfig::modern());
    let before = *rig.disk.limits();
    rig.model.resize(5);
    let mut generation = 0;
    rig.registers.hook(move |access| {
        (access == Access::Read(register::CONFIG_GENERATION)).then(|| {
            generation += 1;
            generation
        })
    });
    let (seen, _) = rig.interrupt().unwrap();
    assert_eq!((seen.config, seen.config_due), (None, true));
    assert_eq!(*rig.disk.limits(), before);
    assert_eq!(rig.disk.refresh_config(), Err(ConfigError::Unstable));
    assert_eq!(*rig.disk.limits(), before);
    // Once it stands still, the next interrupt of any cause brings it.
    rig.registers.unhook();
    rig.model.spurious_interrupt(1);
    let (seen, _) = rig.interrupt().unwrap();
    assert_eq!(seen.config.unwrap().limits.capacity, Sector(5));
    assert!(!seen.config_due);
    rig.finish();
}

#[test]
fn what_waits_for_room_when_the_disk_shrinks_is_not_sent() {
    every_ring(|config| {
        let mut rig = Rig::<4>::new(ModelConfig {
            capacity: 100,
            discard: Limits {
                max_sectors: 4,
                ..Limits::default()
            },
            ..narrow(config)
        });
        let content = pattern(1, 20 * 512);
        for discard in [false, true] {
            let capacity = rig.disk.limits().capacity.get();
            let first = capacity - 20;
            if discard {
                rig.submit(|token| Request::discard(range(first, 20), token));
            } else {
                rig.submit_write(first, &content, &[content.len()]);
            }
            rig.disk.notify();
            rig.model.process(1);
            // What is out already still fits; what is not would not.
            rig.model.resize(capacity - 10);
            let mut outcomes = rig.interrupt().unwrap().1;
            if outcomes.is_empty() {
                outcomes = rig.settle();
            }
            let outcome = &outcomes[0];
            assert_eq!(outcome.result, Err(IoError::Aborted));
            assert!(outcome.bytes > 0 && outcome.bytes < 10 * 512, "{}", outcome.bytes);
        }
        // Others are not held up by it.
        rig.write(0, &content);
        rig.finish();
    });
}

// Shows INIT-D-04.
#[test]
fn a_device_that_needs_a_reset_is_noticed() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        rig.drain().unwrap();
        let token = rig.submit(Request::flush);
        rig.disk.notify();
        rig.model.needs_reset();
        assert_eq!(rig.model.process(usize::MAX), 0);
        let (seen, outcomes) = rig.interrupt().unwrap();
        assert_eq!(outcomes, []);
        let change = seen.config.unwrap();
        assert!(change.needs_reset);
        assert_eq!(change.resized_from, None);
        // What is in flight comes back with the shutdown, and the device can be used again.
        let model = rig.model.clone();
        let (transport, _, aborted) = rig.abandon();
        assert_eq!((aborted[0].token, aborted[0].result), (token, Err(IoError::Aborted)));
        assert_eq!(model.status(), DeviceStatus::RESET);
        let mut rig = Rig::<16>::on(model, transport, &DiskOptions::default()).unwrap();
        rig.write(3, &pattern(3, 512));
        rig.finish();
    });
}

/// Lets the generation move with every look at it, and counts all reads of registers.
fn never_still(rig: &Rig<16>) -> Arc<AtomicU32> {
    let reads = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&reads);
    rig.registers.hook(move |access| {
        let Access::Read(offset) = access else { return None };
        let read = count.fetch_add(1, Ordering::Relaxed);
        (offset == register::CONFIG_GENERATION).then_some(read)
    });
    reads
}

#[test]
fn a_restless_configuration_costs_a_bounded_number_of_reads() {
    let mut rig = Rig::<16>::new(ModelConfig::modern());
    rig.model.resize(5);
    let reads = never_still(&rig);
    rig.interrupt().unwrap();
    // Besides: why it interrupted.
    let taken = reads.swap(0, Ordering::Relaxed);
    assert!(taken <= 1001, "{taken} register reads in one interrupt");
    assert_eq!(rig.disk.refresh_config(), Err(ConfigError::Unstable));
    let taken = reads.load(Ordering::Relaxed);
    assert!(taken <= 1000, "{taken} register reads in one look");
    rig.registers.unhook();
    rig.finish();
}
