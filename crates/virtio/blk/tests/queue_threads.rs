//! Queues on a thread each.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Capable, Scatter, TestControl, TestQueue, pattern, shut_down, start_queues};
use virtio_blk::proto::Sector;
use virtio_blk::{
    Completion, DeviceControl, DeviceQueue, DiskOptions, IoError, OperationKind, Request, SubmitError, Vectors,
};
use virtio_blk_model::{CompletionOrder, Model, ModelConfig, ModelDma, RingReset, feature};
use virtio_core::PollLimit;

type Queue = DeviceQueue<Capable, Scatter, u32, 16>;

const QUEUES: usize = 4;

/// Sectors of a queue, written once each.
const SHARE: u64 = if cfg!(miri) { 12 } else { 300 };

fn device() -> Model {
    Model::new(ModelConfig {
        queues: QUEUES as u16,
        order: CompletionOrder::Shuffled(5),
        ..ModelConfig::modern().offer(feature::MQ)
    })
}

/// How often a queue is reset under load, at most.
const RESETS: u64 = if cfg!(miri) { 3 } else { 40 };

/// Fails instead of hanging. No test depends on how long anything takes.
struct Deadline(Instant);

impl Deadline {
    fn new() -> Self {
        Self(Instant::now() + Duration::from_secs(if cfg!(miri) { 3600 } else { 60 }))
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

fn release(dma: &mut ModelDma, buffer: Option<Scatter>) {
    if let Some(buffer) = buffer {
        buffer.release(dma);
    }
}

/// Writes every sector of the queue's share, until all is done or `stop` is set. Returns the queue and the sectors that are in
/// flight.
fn write_share(dma: &mut ModelDma, mut queue: TestQueue<16>, stop: &AtomicBool) -> (TestQueue<16>, BTreeSet<u32>) {
    let first = u64::from(queue.index().0) * SHARE;
    let (mut next, mut waiting, deadline) = (first, BTreeSet::new(), Deadline::new());
    while (next < first + SHARE || !waiting.is_empty()) && !stop.load(Ordering::Acquire) {
        while next < first + SHARE {
            let mut buffer = Scatter::new(dma, &[512]);
            buffer.fill(&pattern(next, 512));
            match queue.submit(Request::write(Sector(next), buffer, next as u32)) {
                Ok(()) => assert!(waiting.insert(next as u32)),
                Err(rejected) => {
                    assert_eq!(rejected.error, SubmitError::QueueFull);
                    release(dma, rejected.request.into_parts().0);
                    break;
                }
            }
            next += 1;
        }
        queue.notify();
        let count = queue.poll(|completion| {
            assert!(completion.result.is_ok());
            assert!(waiting.remove(&completion.token), "exactly once");
            release(dma, completion.buffer);
        });
        if count == Ok(0) {
            deadline.wait();
        }
    }
    (queue, waiting)
}

/// Runs the queues on a thread each and the device on one more, until they are done or `stop` says so.
fn run(
    model: &Model,
    queues: Vec<TestQueue<16>>,
    stop: impl Fn() -> bool + Sync,
) -> Vec<(TestQueue<16>, BTreeSet<u32>)> {
    let (over, stopped) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                model.wait_for_request(Duration::from_millis(1));
                model.process(3);
                stopped.fetch_or(stop(), Ordering::Release);
            }
        });
        let _bell = Bell(&over);
        let start = |queue| scope.spawn(|| write_share(&mut model.dma(), queue, &stopped));
        let threads: Vec<_> = queues.into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_queue_can_be_sent_to_another_thread() {
    fn sendable<T: Send>() {}
    sendable::<TestQueue<16>>();
    sendable::<TestControl>();
}

#[test]
fn queues_on_threads_write_every_sector_once() {
    let model = device();
    let (control, queues) = start_queues::<16, QUEUES>(&model);
    let queues = run(&model, queues, || false);
    assert!(queues.iter().all(|(_, waiting)| waiting.is_empty()));
    let all = QUEUES as u64 * SHARE;
    for sector in 0..all {
        assert_eq!(model.read_disk(sector, 1), pattern(sector, 512));
    }
    assert_eq!(model.counters().requests_of(1), all);
    let (back, counters) = shut_down(&model, control, queues.into_iter().map(|(queue, _)| queue));
    assert!(back.is_empty());
    let writes = counters
        .iter()
        .map(|counted| counted.of(OperationKind::Write).operations);
    assert_eq!(writes.collect::<Vec<_>>(), [SHARE; QUEUES]);
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}

#[test]
fn a_shutdown_under_load_answers_every_request_once() {
    let model = device();
    let (control, queues) = start_queues::<16, QUEUES>(&model);
    let served = |model: &Model| model.counters().requests_of(1);
    let queues = run(&model, queues, || served(&model) > 2 * SHARE);
    let (mut queues, waiting): (Vec<_>, Vec<_>) = queues.into_iter().unzip();
    let mut waiting: BTreeSet<u32> = waiting.into_iter().flatten().collect();
    queues.reverse();
    let (back, _) = shut_down(&model, control, queues);
    for completion in back {
        assert!(waiting.remove(&completion.token), "exactly once");
        if completion.result.is_ok() {
            let sector = u64::from(completion.token);
            assert_eq!(model.read_disk(sector, 1), pattern(sector, 512));
        } else {
            assert_eq!(completion.result, Err(IoError::Aborted));
        }
        release(&mut model.dma(), completion.buffer);
    }
    assert!(waiting.is_empty(), "none is lost");
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}

#[test]
fn a_larger_disk_reaches_queues_on_other_threads() {
    let model = device();
    let (mut control, queues) = start_queues::<16, QUEUES>(&model);
    let refused = AtomicU64::new(0);
    let queues = thread::scope(|scope| {
        let start = |mut queue: TestQueue<16>| {
            let (model, refused) = (&model, &refused);
            scope.spawn(move || {
                let deadline = Deadline::new();
                let mut request = Request::discard(common::range(16_384, 8), 1);
                while let Err(rejected) = queue.submit(request) {
                    assert!(matches!(rejected.error, SubmitError::OutOfRange { .. }));
                    refused.fetch_add(1, Ordering::Relaxed);
                    request = rejected.request;
                    deadline.wait();
                }
                assert_eq!(queue.limits().capacity, Sector(20_000));
                queue.notify();
                model.process_queue(queue.index().0, 1);
                assert_eq!(queue.poll(|completion| assert!(completion.result.is_ok())), Ok(1));
                queue
            })
        };
        let threads: Vec<_> = queues.into_iter().map(start).collect();
        let deadline = Deadline::new();
        while refused.load(Ordering::Relaxed) < 2 * QUEUES as u64 {
            deadline.wait();
        }
        model.resize(20_000);
        control.refresh_config().unwrap();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    shut_down(&model, control, queues);
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}

/// Resets the first queue again and again, each time with requests in flight, while the other queues are at work. Returns it.
fn reset_under_load(model: &Model, control: &mut DeviceControl<Capable>, mut queue: Queue) -> Queue {
    let mut dma = model.dma();
    let mut written = BTreeSet::new();
    let mut resets = 0;
    let deadline = Deadline::new();
    let mut requests: Vec<_> = (0..SHARE)
        .rev()
        .map(|sector| {
            let mut buffer = Scatter::new(&mut dma, &[512]);
            buffer.fill(&pattern(sector, 512));
            Request::write(Sector(sector), buffer, sector as u32)
        })
        .collect();
    while !(requests.is_empty() && queue.in_flight() == 0) {
        while let Some(request) = requests.pop() {
            if let Err(rejected) = queue.submit(request) {
                requests.push(rejected.request);
                break;
            }
        }
        queue.notify();
        deadline.wait();
        let mut finish = |completion: Completion<Scatter, u32>| match completion.result {
            Ok(_) => {
                assert!(written.insert(completion.token), "exactly once");
                release(&mut model.dma(), completion.buffer);
            }
            Err(error) => {
                assert_eq!(error, IoError::Aborted);
                requests.push(completion.into_request());
            }
        };
        if resets < RESETS {
            resets += 1;
            let before = queue.in_flight();
            let mut back = 0;
            queue = control
                .reset_queue(queue, &mut PollLimit(100), |completion| {
                    back += 1;
                    finish(completion);
                })
                .unwrap();
            assert_eq!((back, queue.in_flight()), (before, 0), "each comes back once");
        } else {
            queue.poll(finish).unwrap();
        }
    }
    assert_eq!(written.len() as u64, SHARE);
    assert_eq!(model.counters().queue_resets, resets);
    assert!(resets > 0);
    queue
}

#[test]
fn a_queue_is_reset_while_others_are_at_work() {
    let model = Model::new(ModelConfig {
        queues: QUEUES as u16,
        order: CompletionOrder::Shuffled(5),
        ring_reset: RingReset::After(2),
        ..ModelConfig::modern().offer(feature::MQ)
    });
    let options = DiskOptions {
        ring_reset: true,
        ..DiskOptions::default()
    };
    let mut places = [const { None }; QUEUES];
    let transport = Capable::new(&model, 0);
    let (dma, wait) = (&mut model.dma(), &mut PollLimit::default());
    let mut control = DeviceControl::start(transport, dma, &options, Vectors::NONE, wait, &mut places)
        .map_err(|failed| failed.error)
        .unwrap();
    let mut others: Vec<Queue> = places.into_iter().flatten().collect();
    let stuck = others.remove(0);
    let over = AtomicBool::new(false);
    let queues = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                model.wait_for_request(Duration::from_millis(1));
                model.process(3);
            }
        });
        let _bell = Bell(&over);
        let start = |queue| scope.spawn(|| write_share(&mut model.dma(), queue, &over));
        let threads: Vec<_> = others.into_iter().map(start).collect();
        let mut queues = vec![reset_under_load(&model, &mut control, stuck)];
        queues.extend(threads.into_iter().map(|thread| {
            let (queue, waiting) = thread.join().unwrap();
            assert!(waiting.is_empty(), "the others go on to their end");
            queue
        }));
        queues
    });
    for sector in 0..QUEUES as u64 * SHARE {
        assert_eq!(model.read_disk(sector, 1), pattern(sector, 512));
    }
    let (back, _) = shut_down(&model, control, queues);
    assert!(back.is_empty());
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}
