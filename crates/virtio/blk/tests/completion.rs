//! Completions, notifications and counters.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Rig, every_ring, narrow, pattern, range, register};
use virtio_blk::{Answer, OperationKind, Request};
use virtio_blk_model::{Limits, ModelConfig, Notifications, Service, feature};
use virtio_core::InterruptSource;

#[test]
fn a_driver_that_polls_is_not_interrupted() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        for n in 0..40 {
            rig.write(n, &pattern(n, 512));
        }
        assert!(!rig.model.interrupt_line());
        assert_eq!(rig.model.counters().interrupts, 0);
        let counters = rig.finish();
        assert_eq!((counters.interrupts.taken, counters.interrupts.spurious), (0, 0));
    });
}

#[test]
fn every_completion_interrupts_a_driver_that_waits() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(ModelConfig {
            interrupt_noise: 0xFF00_0000,
            ..config
        });
        assert_eq!(rig.drain().unwrap(), []);
        for n in 1..=40 {
            let content = pattern(n, 512);
            let token = rig.submit_write(n, &content, &[512]);
            rig.disk.notify();
            assert!(!rig.model.interrupt_line());
            rig.model.process(usize::MAX);
            assert!(rig.model.interrupt_line(), "completion {n}");
            let (seen, outcomes) = rig.interrupt().unwrap();
            assert_eq!(seen.config, None);
            assert_eq!(outcomes[0].token, token);
            assert!(!rig.model.interrupt_line(), "acknowledged");
            assert_eq!(rig.disk.counters().interrupts.taken, n);
        }
        let counters = rig.finish();
        assert_eq!(counters.interrupts.spurious, 0);
    });
}

#[test]
fn a_burst_is_one_interrupt() {
    every_ring(|config| {
        let mut rig = Rig::<64>::new(ModelConfig {
            coalesce_interrupts: true,
            ..config
        });
        rig.drain().unwrap();
        for n in 0..16 {
            rig.submit_read(n, &[512]);
        }
        rig.serve();
        assert_eq!(rig.model.counters().interrupts, 1);
        assert_eq!(rig.interrupt().unwrap().1.len(), 16);
        assert!(!rig.model.interrupt_line());
        rig.finish();
    });
}

#[test]
fn a_transfer_in_parts_goes_on_from_interrupt_to_interrupt() {
    every_ring(|config| {
        for service in [Service::Manual, Service::OnNotify] {
            let mut rig = Rig::<4>::new(ModelConfig {
                service,
                ..narrow(config.clone())
            });
            rig.drain().unwrap();
            let content = pattern(1, 16 * 512);
            rig.submit_write(0, &content, &[content.len()]);
            rig.disk.notify();
            let mut outcomes = Vec::new();
            for _ in 0..100 {
                if !outcomes.is_empty() {
                    break;
                }
                rig.model.process(usize::MAX);
                assert!(rig.model.interrupt_line(), "the driver would not be woken");
                outcomes = rig.interrupt().unwrap().1;
            }
            assert_eq!(outcomes[0].bytes, 16 * 512);
            assert_eq!(rig.model.read_disk(0, 16), content);
            let counters = rig.finish();
            assert_eq!(counters.interrupts.spurious, 0, "each brought a part back");
        }
    });
}

// Shows MMIO-D-21, MMIO-D-31.
#[test]
fn the_acknowledge_follows_the_completions() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        rig.drain().unwrap();
        for _ in 0..3 {
            rig.submit(Request::flush);
        }
        rig.serve();
        let taken = Arc::new(AtomicUsize::new(0));
        let at_acknowledge = Arc::new(AtomicUsize::new(usize::MAX));
        let (look, note) = (Arc::clone(&taken), Arc::clone(&at_acknowledge));
        rig.registers.before_write(register::INTERRUPT_ACK, move || {
            note.store(look.load(Ordering::SeqCst), Ordering::SeqCst);
        });
        let mut completions = Vec::new();
        rig.disk
            .on_interrupt(InterruptSource::Line, |completion| {
                taken.fetch_add(1, Ordering::SeqCst);
                completions.push(completion);
            })
            .unwrap();
        assert_eq!(at_acknowledge.load(Ordering::SeqCst), 3);
        for completion in completions {
            rig.keep(completion);
        }
        rig.finish();
    });
}

#[test]
fn a_completion_just_before_the_acknowledge_is_seen() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        rig.drain().unwrap();
        let first = rig.submit(Request::flush);
        let second = rig.submit(Request::identify);
        rig.disk.notify();
        rig.model.process(1);
        let model = rig.model.clone();
        rig.registers.before_write(register::INTERRUPT_ACK, move || {
            assert_eq!(model.process(1), 1);
        });
        let (seen, outcomes) = rig.interrupt().unwrap();
        assert_eq!(seen.completions, 2);
        let tokens: Vec<u32> = outcomes.iter().map(|outcome| outcome.token).collect();
        assert_eq!(tokens, [first, second]);
        // And it is ready for the next one.
        rig.registers.unhook();
        rig.submit(Request::flush);
        rig.disk.notify();
        rig.model.process(1);
        assert!(rig.model.interrupt_line());
        assert_eq!(rig.interrupt().unwrap().1.len(), 1);
        rig.finish();
    });
}

// Shows RING-D-16.
#[test]
fn an_interrupt_about_nothing_is_counted_and_harmless() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(ModelConfig {
            interrupt_noise: 0xFFFF_FFFC,
            ..config
        });
        // Not even a cause: that of another device on a shared line.
        let (seen, _) = rig.interrupt().unwrap();
        assert_eq!((seen.completions, seen.config), (0, None));
        assert_eq!(rig.model.counters().acknowledges, 0);
        rig.model.spurious_interrupt(1);
        rig.interrupt().unwrap();
        assert!(!rig.model.interrupt_line());
        rig.submit(Request::flush);
        rig.disk.notify();
        rig.model.spurious_interrupt(1);
        rig.interrupt().unwrap();
        rig.settle();
        let counters = rig.finish();
        assert_eq!((counters.interrupts.taken, counters.interrupts.spurious), (3, 3));
    });
}

#[test]
fn one_notification_per_batch() {
    every_ring(|config| {
        let mut rig = Rig::<64>::new(config);
        for batch in 1..=5 {
            for n in 0..16 {
                rig.submit_read(n, &[512]);
            }
            assert_eq!(rig.model.pending(), 0, "the device knows of nothing yet");
            assert!(rig.disk.notify());
            assert!(!rig.disk.notify(), "there is nothing more to say");
            assert_eq!(rig.model.pending(), 16);
            assert_eq!(rig.settle().len(), 16);
            assert_eq!(rig.disk.counters().queue.notifies, batch);
        }
        let seen = rig.model.counters();
        assert_eq!((seen.notifies, seen.unneeded_notifies), (5, 0));
        assert_eq!(rig.finish().queue.notifies, 5);
    });
}

#[test]
fn a_device_that_wants_no_notification_gets_none() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(ModelConfig {
            notifications: Notifications::Never,
            ..config
        });
        // It can only say so once it is at work.
        rig.good(Request::flush);
        let before = rig.model.counters().notifies;
        for n in 0..40 {
            rig.submit(Request::flush);
            assert!(!rig.disk.notify(), "round {n}");
            assert_eq!(rig.model.process(usize::MAX), 1, "published all the same");
            assert_eq!(rig.poll().unwrap().len(), 1);
        }
        assert_eq!(rig.model.counters().notifies, before);
        assert_eq!(rig.finish().queue.notifies, before);
    });
}

#[test]
fn without_a_notify_nothing_is_published() {
    let mut rig = Rig::<16>::new(ModelConfig::modern());
    let first = rig.submit(Request::flush);
    rig.disk.notify();
    let second = rig.submit(Request::flush);
    assert_eq!(rig.model.process(usize::MAX), 1);
    let outcomes = rig.poll().unwrap();
    assert_eq!((outcomes.len(), outcomes[0].token), (1, first));
    assert_eq!(rig.disk.queue().ring_state().unpublished, 1);
    let (_, _, aborted) = rig.abandon();
    assert_eq!(aborted[0].token, second);
}

#[test]
fn everything_is_counted_exactly() {
    every_ring(|config| {
        let small = Limits {
            max_sectors: 10,
            ..Limits::default()
        };
        let config = ModelConfig {
            discard: small,
            write_zeroes: small,
            secure_erase: small,
            ..config.offer(feature::SECURE_ERASE | feature::LIFETIME)
        };
        let mut rig = Rig::<64>::new(config);
        rig.write(0, &pattern(1, 1024));
        rig.write(0, &pattern(1, 512));
        rig.read(0, 2048);
        rig.good(Request::flush);
        rig.good(|token| Request::discard(range(0, 10), token));
        rig.good(|token| Request::write_zeroes(range(0, 11), true, token));
        rig.good(|token| Request::secure_erase(range(0, 30), token));
        assert!(matches!(rig.good(Request::identify), Answer::Id(_)));
        assert!(matches!(rig.good(Request::lifetime), Answer::Lifetime(_)));
        rig.refused_read(1 << 40, &[512]);
        let text = rig.disk.counters().to_string();
        assert!(text.contains("write: 2 operations, 1536 bytes, 0 errors"), "{text}");
        let counters = rig.finish();
        for (kind, operations, bytes) in [
            (OperationKind::Read, 1, 2048),
            (OperationKind::Write, 2, 1536),
            (OperationKind::Flush, 1, 0),
            (OperationKind::Discard, 1, 5120),
            (OperationKind::WriteZeroes, 1, 5632),
            (OperationKind::SecureErase, 1, 15360),
            (OperationKind::Identify, 1, 0),
            (OperationKind::Lifetime, 1, 0),
        ] {
            let of = counters.queue.of(kind);
            assert_eq!((of.operations, of.bytes, of.errors), (operations, bytes, 0), "{kind:?}");
        }
        let counters = counters.queue;
        assert_eq!(counters.device_requests, 9 + 1 + 2);
        assert_eq!((counters.notifies, counters.queue_full, counters.faults), (9, 0, 0));
    });
}
