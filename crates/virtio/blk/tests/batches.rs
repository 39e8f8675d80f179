//! Batches: how often the device is notified of one, and what a rejected request leaves of it.

mod common;

use common::{Rig, every_ring, pattern};
use virtio_blk::proto::Sector;
use virtio_blk::{BatchStopped, Operation, Request, SubmitError};
use virtio_blk_model::{ModelConfig, Notifications, Service};

/// Submits `count` reads as a batch and takes them back. Answers how often the device was notified.
fn notified<const N: usize>(rig: &mut Rig<N>, count: u32) -> u64 {
    let before = rig.model.counters().notifies;
    let reads = rig.prepare_reads(count);
    assert_eq!(rig.disk.submit_all(reads).ok(), Some(count));
    assert!(!rig.disk.notify(), "all of it is published");
    let notified = rig.model.counters().notifies - before;
    assert_eq!(rig.settle().len(), count as usize);
    notified
}

#[test]
fn a_batch_of_up_to_eight_is_published_once() {
    every_ring(|config| {
        let mut rig = Rig::<64>::new(ModelConfig {
            service: Service::OnNotify,
            ..config
        });
        for count in 1..=8 {
            assert_eq!(notified(&mut rig, count), 1, "{count} requests");
        }
        assert_eq!(rig.finish().queue.notifies, 8);
    });
}

#[test]
fn a_device_starts_before_the_batch_is_complete() {
    every_ring(|config| {
        let mut rig = Rig::<64>::new(config);
        let mut reads = rig.prepare_reads(20).enumerate();
        let model = rig.model.clone();
        let mut pending = Vec::new();
        let noted = std::iter::from_fn(|| {
            let (number, read) = reads.next()?;
            pending.push((number, model.pending()));
            Some(read)
        });
        assert_eq!(rig.disk.submit_all(noted).ok(), Some(20));
        for (number, pending) in pending {
            assert_eq!(pending, if number < 8 { 0 } else { 8 }, "before request {number}");
        }
        assert_eq!(rig.settle().len(), 20);
        rig.finish();
    });
}

#[test]
fn a_device_that_falls_asleep_is_notified_again() {
    every_ring(|config| {
        // The device completes the published requests within each notification.
        let mut rig = Rig::<128>::new(ModelConfig {
            service: Service::OnNotify,
            ..config
        });
        // After 8, 40 and 42 requests; after 8 and 40; after 8 and 9.
        for (count, notifies) in [(42, 3), (40, 2), (9, 2)] {
            assert_eq!(notified(&mut rig, count), notifies, "{count} requests");
        }
        let seen = rig.model.counters();
        assert_eq!(seen.unneeded_notifies, 0);
        rig.finish();
    });
}

#[test]
fn a_device_at_work_is_notified_of_nothing_more() {
    // By the event index, a device is at work from the notification on until it has looked at the ring again. By flags, it
    // says so itself.
    let mut rig = Rig::<64>::new(ModelConfig::modern());
    assert_eq!(notified(&mut rig, 20), 1);
    rig.finish();

    every_ring(|config| {
        let mut rig = Rig::<64>::new(ModelConfig {
            notifications: Notifications::Never,
            ..config
        });
        // It can only say so once it is at work.
        rig.good(Request::flush);
        assert_eq!(notified(&mut rig, 20), 0);
        rig.finish();
    });
}

#[test]
fn an_empty_batch_publishes_what_was_submitted_before() {
    let mut rig = Rig::<16>::new(ModelConfig::modern());
    assert_eq!(notified(&mut rig, 0), 0);
    rig.submit(Request::flush);
    assert_eq!(rig.disk.submit_all([]).ok(), Some(0));
    assert_eq!((rig.model.counters().notifies, rig.model.pending()), (1, 1));
    rig.settle();
    rig.finish();
}

#[test]
fn a_batch_stops_at_a_rejected_request_and_can_go_on() {
    every_ring(|config| {
        let mut rig = Rig::<64>::new(config);
        let beyond = rig.read_request(1 << 40, &[512]);
        let beyond = rig.prepare(beyond);
        let (good, rest) = (rig.prepare_reads(3), rig.prepare_reads(5));
        let mut batch = good.chain([beyond]).chain(rest);
        let Err(BatchStopped { taken, rejected }) = rig.disk.submit_all(&mut batch) else {
            panic!("there is no such sector");
        };
        assert_eq!(taken, 3);
        assert!(matches!(rejected.error, SubmitError::OutOfRange { .. }));
        assert_eq!(rejected.request.operation(), Operation::Read(Sector(1 << 40)));
        rig.drop_request(rejected.request);
        assert_eq!(rig.model.pending(), 3, "the device is notified of those before");
        rig.model.expect_notified();
        assert_eq!(
            rig.disk.submit_all(&mut batch).ok(),
            Some(5),
            "the rest was not touched"
        );
        assert_eq!(rig.settle().len(), 8);
        rig.finish();
    });
}

#[test]
fn a_batch_longer_than_the_queue_goes_on_after_completions() {
    every_ring(|config| {
        let content = pattern(3, 512);
        let mut rig = Rig::<16>::new(config);
        rig.model.write_disk(49, &content);
        let mut batch = rig.prepare_reads(50);
        let mut left: Vec<_> = Vec::new();
        let (mut total, mut seen) = (0, Vec::new());
        loop {
            let submitted = rig.disk.submit_all(left.drain(..).chain(&mut batch));
            let stopped = match submitted {
                Ok(taken) => {
                    total += taken;
                    break;
                }
                Err(stopped) => stopped,
            };
            assert_eq!(stopped.rejected.error, SubmitError::QueueFull);
            total += stopped.taken;
            assert!(rig.model.process(usize::MAX) > 0);
            seen.extend(rig.poll().expect("the device keeps to the rules"));
            left.push(stopped.rejected.request);
        }
        seen.extend(rig.settle());
        assert_eq!((total, seen.len()), (50, 50));
        assert_eq!(seen[49].content, content);
        rig.finish();
    });
}
