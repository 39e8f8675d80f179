//! Device and queue in different hands, and in different threads.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Hooked, Scatter, TestControl, TestDisk, TestQueue, every_ring, pattern, range, shut_down, start_queue};
use virtio_blk::proto::Sector;
use virtio_blk::{DiskOptions, IoError, Limits, Request, SubmitError};
use virtio_blk_model::{Limits as RangeLimits, Model, ModelConfig, ModelDma, feature};
use virtio_core::{InterruptCauses, InterruptSource, PollLimit};

const LINE: InterruptSource = InterruptSource::Line;

fn release(dma: &mut ModelDma, buffer: Option<Scatter>) {
    if let Some(buffer) = buffer {
        buffer.release(dma);
    }
}

/// Fails instead of hanging. No test depends on how long anything takes.
struct Deadline(Instant);

impl Deadline {
    fn new() -> Self {
        Self(Instant::now() + Duration::from_secs(20))
    }

    fn wait(&self) {
        assert!(Instant::now() < self.0, "this takes for ever");
        thread::yield_now();
    }
}

/// Tells the other threads that it is over, even if that is by a panic.
struct Bell<'a>(&'a AtomicBool);

impl Drop for Bell<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn both_halves_can_be_sent_to_other_threads() {
    fn sendable<T: Send>() {}
    sendable::<TestQueue<16>>();
    sendable::<TestControl>();
}

#[test]
fn the_halves_do_what_the_whole_does() {
    every_ring(|config| {
        let model = Model::new(config);
        let mut dma = model.dma();
        let (mut device, mut queue) = start_queue::<16>(&model);
        assert_eq!(queue.drain(|_| unreachable!()), Ok(0));
        let mut buffer = Scatter::new(&mut dma, &[100, 924]);
        buffer.fill(&pattern(1, 1024));
        queue.submit(Request::write(Sector(4), buffer, 1)).unwrap();
        queue.submit(Request::flush(2)).unwrap();
        assert_eq!(queue.in_flight(), 2);
        assert!(queue.notify());
        model.process(usize::MAX);
        let causes = device.interrupt_causes(LINE);
        assert_eq!(causes, InterruptCauses::USED_BUFFER);
        let mut tokens = Vec::new();
        let count = queue.drain(|completion| {
            assert!(completion.result.is_ok());
            tokens.push(completion.token);
            release(&mut dma, completion.buffer);
        });
        assert_eq!((count, &tokens[..]), (Ok(2), &[1, 2][..]));
        device.acknowledge_interrupt(LINE, causes);
        assert!(!model.interrupt_line());
        assert_eq!(model.read_disk(4, 2), pattern(1, 1024));

        // A driver that goes back to polling is left alone.
        queue.suppress_interrupts();
        queue.submit(Request::flush(3)).unwrap();
        queue.notify();
        model.process(usize::MAX);
        assert!(!model.interrupt_line());
        assert_eq!(queue.poll(|completion| assert_eq!(completion.token, 3)), Ok(1));

        model.resize(8);
        assert_eq!(device.interrupt_causes(LINE), InterruptCauses::CONFIG_CHANGE);
        device.refresh_config().unwrap();
        device.acknowledge_interrupt(LINE, InterruptCauses::CONFIG_CHANGE);
        assert!(queue.refresh_limits());
        let rejected = queue.submit(Request::write_zeroes(range(8, 1), false, 4)).unwrap_err();
        assert_eq!(rejected.error, SubmitError::OutOfRange { capacity: Sector(8) });

        queue.submit(Request::flush(5)).unwrap();
        let aborted = shut_down(&model, device, [queue]).0;
        assert_eq!(aborted.len(), 1);
        assert_eq!((aborted[0].token, aborted[0].result), (5, Err(IoError::Aborted)));
        assert_eq!(model.allocations(), 0);
        model.assert_clean();
    });
}

/// Lets a transfer wait for room, puts other limits into force, and sees it end.
fn limits_change(change: impl FnOnce(&mut Limits), discard: bool) {
    let config = ModelConfig {
        queue_size_max: 4,
        size_max: 512,
        seg_max: 1,
        discard: RangeLimits {
            max_sectors: 2,
            ..RangeLimits::default()
        },
        ..ModelConfig::modern()
            .withdraw(feature::INDIRECT_DESC)
            .offer(feature::SIZE_MAX)
    };
    let model = Model::new(config);
    let mut dma = model.dma();
    let (device, mut queue) = start_queue::<4>(&model);
    let request = if discard {
        Request::discard(range(0, 16), 7)
    } else {
        Request::read(Sector(0), Scatter::new(&mut dma, &[16 * 512]), 7)
    };
    queue.submit(request).unwrap();
    queue.notify();
    let mut limits = *queue.limits();
    change(&mut limits);
    queue.set_limits(limits);
    let mut done = Vec::new();
    for _ in 0..100 {
        model.process(usize::MAX);
        queue.poll(|completion| done.push(completion)).unwrap();
    }
    assert_eq!(done.len(), 1, "it ends");
    let completion = done.remove(0);
    assert_eq!((completion.token, completion.result), (7, Err(IoError::Aborted)));
    assert!(completion.bytes > 0 && completion.bytes < 16 * 512);
    release(&mut dma, completion.buffer);
    assert_eq!((queue.in_flight(), queue.ring_state().free), (0, 4));
    shut_down(&model, device, [queue]);
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}

#[test]
fn limits_that_leave_no_way_on_end_what_was_waiting() {
    limits_change(|limits| limits.capacity = Sector(8), false);
    limits_change(|limits| limits.capacity = Sector(0), false);
    limits_change(|limits| limits.max_segments = 0, false);
    limits_change(|limits| limits.max_segment_bytes = 511, false);
    limits_change(|limits| limits.max_segment_bytes = 0, false);
    limits_change(|limits| limits.max_request_bytes = 0, false);
    limits_change(|limits| limits.block_bytes = 0, false);
    limits_change(|limits| limits.block_bytes = 1 << 31, false);
    limits_change(|limits| limits.capacity = Sector(8), true);
    limits_change(|limits| limits.block_bytes = 0, true);
    let nothing_at_once = |limits: &mut Limits| {
        if let Some(discard) = &mut limits.discard {
            discard.max_sectors = 0;
        }
    };
    limits_change(nothing_at_once, true);
    // Without limits there is no discard any more, not one without limits.
    limits_change(|limits| limits.discard = None, true);
}

#[test]
fn queue_control_half_and_device_on_a_thread_each() {
    const REQUESTS: u32 = 400;
    every_ring(|config| {
        let model = Model::new(config);
        let (mut device, mut queue) = start_queue::<32>(&model);
        let over = AtomicBool::new(false);
        let wakeups = AtomicU64::new(0);
        let (served, queue) = thread::scope(|scope| {
            // The device works whenever there is something to do.
            let served = scope.spawn(|| {
                let mut served = 0;
                while !over.load(Ordering::Acquire) {
                    model.wait_for_request(Duration::from_millis(1));
                    served += model.process(3);
                }
                served
            });
            // The device half looks after the interrupt line, and wakes the queue.
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    if model.interrupt_line() {
                        let causes = device.interrupt_causes(LINE);
                        device.acknowledge_interrupt(LINE, causes);
                        wakeups.fetch_add(1, Ordering::Release);
                    }
                    thread::yield_now();
                }
            });
            // The queue submits, and sleeps while it can do nothing else.
            let queue = scope.spawn(|| {
                let _bell = Bell(&over);
                let (mut dma, deadline) = (model.dma(), Deadline::new());
                let (mut next, mut waiting) = (0, BTreeSet::new());
                while next < REQUESTS || !waiting.is_empty() {
                    while next < REQUESTS {
                        let mut buffer = Scatter::new(&mut dma, &[200, 312]);
                        buffer.fill(&pattern(u64::from(next), 512));
                        match queue.submit(Request::write(Sector(u64::from(next)), buffer, next)) {
                            Ok(()) => {
                                waiting.insert(next);
                                next += 1;
                            }
                            Err(rejected) => {
                                assert_eq!(rejected.error, SubmitError::QueueFull);
                                release(&mut dma, rejected.request.into_parts().0);
                                break;
                            }
                        }
                    }
                    queue.notify();
                    let before = wakeups.load(Ordering::Acquire);
                    let count = queue
                        .drain(|completion| {
                            assert!(completion.result.is_ok());
                            assert!(waiting.remove(&completion.token), "exactly once");
                            release(&mut dma, completion.buffer);
                        })
                        .unwrap();
                    if count == 0 && !waiting.is_empty() {
                        // Nothing yet: only an interrupt brings it on.
                        while wakeups.load(Ordering::Acquire) == before {
                            deadline.wait();
                        }
                    }
                }
                queue
            });
            let queue = queue.join().unwrap();
            (served.join().unwrap(), queue)
        });
        assert_eq!(served, REQUESTS as usize);
        for n in 0..REQUESTS {
            assert_eq!(model.read_disk(u64::from(n), 1), pattern(u64::from(n), 512));
        }
        assert_eq!(shut_down(&model, device, [queue]).0.len(), 0);
        assert_eq!(model.allocations(), 0);
        model.assert_clean();
    });
}

#[test]
fn a_reset_in_time_takes_only_so_many_reads() {
    let config = ModelConfig {
        reset_reads: 3,
        ..ModelConfig::modern()
    };
    let model = Model::new(config);
    let transport = virtio_mmio::probe(Hooked::new(model.registers())).device().unwrap();
    let disk = TestDisk::<16>::start(transport, &mut model.dma(), &DiskOptions::default(), &mut PollLimit(3)).unwrap();
    assert!(
        disk.shut_down(&mut model.dma(), &mut PollLimit(3), |_| unreachable!())
            .is_ok()
    );
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}
