//! Two classes of requests on one queue, and neighbours that go as one.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use common::{Hooked, Scatter, TestTransport, pattern};
use proptest::prelude::*;
use virtio_blk::proto::Sector;
use virtio_blk::{
    Answer, Class, Completion, DeviceControl, DiskOptions, IoError, QueueBelow, Request, ScheduledQueue,
    SchedulerOptions, SubmitError, Vectors,
};
use virtio_blk_model::faults::{Fault, RequestInfo, Verdict};
use virtio_blk_model::{CompletionOrder, Model, ModelConfig, feature};
use virtio_core::{PollLimit, Transport};

type Below = QueueBelow<<TestTransport as Transport>::Notifier, Scatter, u32, 8, 4>;
type Queue = ScheduledQueue<<TestTransport as Transport>::Notifier, Scatter, u32, 8, 4, 16>;

/// Notes first sector and length of each device request, and fails those that reach a bad sector.
#[derive(Clone, Default)]
struct Notes {
    seen: Arc<Mutex<Vec<(u64, u64)>>>,
    bad: Option<u64>,
}

impl Fault for Notes {
    fn before_service(&mut self, request: &RequestInfo) -> Verdict {
        let sectors = request.data_bytes / 512;
        self.seen.lock().unwrap().push((request.sector, sectors));
        match self.bad {
            Some(bad) if (request.sector..request.sector + sectors).contains(&bad) => Verdict::Answer(1),
            _ => Verdict::Serve,
        }
    }
}

struct Bench {
    model: Model,
    control: DeviceControl<TestTransport>,
    queue: Queue,
    notes: Notes,
    done: Vec<(u32, Result<Answer, IoError>, u64)>,
}

impl Bench {
    fn new(config: ModelConfig, options: SchedulerOptions, bad: Option<u64>) -> Self {
        let model = Model::new(config);
        let notes = Notes {
            bad,
            ..Notes::default()
        };
        model.set_fault(notes.clone());
        let mut place: [Option<Below>; 1] = [None];
        let (disk, wait) = (DiskOptions::default(), &mut PollLimit::default());
        let transport = virtio_mmio::probe(Hooked::new(model.registers())).device().unwrap();
        let control = DeviceControl::start(transport, &mut model.dma(), &disk, Vectors::NONE, wait, &mut place);
        let queue = ScheduledQueue::new(place[0].take().unwrap(), options);
        Self {
            control: control.map_err(|failed| failed.error).unwrap(),
            model,
            queue,
            notes,
            done: Vec::new(),
        }
    }

    fn submit(&mut self, class: Class, request: Request<Scatter, u32>) -> Result<(), SubmitError> {
        self.queue.submit(class, request).map_err(|rejected| {
            if let (Some(buffer), _) = rejected.request.into_parts() {
                buffer.release(&mut self.model.dma());
            }
            rejected.error
        })
    }

    /// A read whose token is its first sector.
    fn read(&mut self, class: Class, sector: u32, sectors: usize) -> Result<(), SubmitError> {
        let buffer = Scatter::new(&mut self.model.dma(), &[sectors * 512]);
        self.submit(class, Request::read(Sector(sector.into()), buffer, sector))
    }

    fn write(&mut self, class: Class, sector: u32) -> Result<(), SubmitError> {
        let mut buffer = Scatter::new(&mut self.model.dma(), &[512]);
        buffer.fill(&pattern(sector.into(), 512));
        self.submit(class, Request::write(Sector(sector.into()), buffer, sector))
    }

    fn settle(
        done: &mut Vec<(u32, Result<Answer, IoError>, u64)>,
        model: &Model,
        completion: Completion<Scatter, u32>,
    ) {
        if let Some(buffer) = completion.buffer {
            buffer.release(&mut model.dma());
        }
        done.push((completion.token, completion.result, completion.bytes));
    }

    fn poll(&mut self) {
        let (done, model) = (&mut self.done, &self.model);
        let before = done.len();
        let count = self
            .queue
            .poll(|completion| Self::settle(done, model, completion))
            .unwrap();
        assert_eq!(self.done.len() - before, count as usize);
    }

    /// Lets the device work until nothing is left.
    fn run(&mut self) {
        self.queue.notify();
        for _ in 0..200 {
            self.model.process(usize::MAX);
            self.poll();
        }
    }

    fn tokens(&self) -> Vec<u32> {
        self.done.iter().map(|&(token, ..)| token).collect()
    }

    fn seen(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.notes.seen.lock().unwrap())
    }

    fn finish(self) -> Vec<(u32, Result<Answer, IoError>, u64)> {
        let Self {
            model,
            control,
            queue,
            mut done,
            ..
        } = self;
        let mut reset = control
            .shut_down(&mut PollLimit::default())
            .map_err(|(error, _)| error)
            .unwrap();
        queue
            .release(&mut reset, &mut model.dma(), |completion| {
                Self::settle(&mut done, &model, completion);
            })
            .unwrap();
        reset.finish(&mut model.dma()).unwrap();
        assert_eq!(model.allocations(), 0);
        model.assert_clean();
        done
    }
}

/// A ring in which two reads fill the queue.
fn narrow() -> ModelConfig {
    ModelConfig {
        queue_size_max: 8,
        ..ModelConfig::modern().withdraw(feature::INDIRECT_DESC)
    }
}

#[test]
fn the_foreground_goes_ahead_and_the_background_has_its_turn() {
    for bound in [1, 2, 3] {
        let options = SchedulerOptions {
            foreground_in_a_row: bound,
            background_in_flight: 4,
        };
        let mut bench = Bench::new(narrow(), options, None);
        for n in 0..6 {
            // Not neighbours of each other.
            bench.read(Class::Background, 1000 + 10 * n, 1).unwrap();
            bench.read(Class::Foreground, 10 * n, 1).unwrap();
        }
        bench.run();
        let classes: Vec<bool> = bench.tokens().iter().map(|&token| token >= 1000).collect();
        let mut expected = Vec::new();
        for n in 1..=6 {
            expected.push(false);
            if n % bound == 0 {
                expected.push(true);
            }
        }
        expected.resize(12, true);
        assert_eq!(classes, expected, "one after {bound}");
        bench.finish();
    }
}

#[test]
fn the_background_leaves_room_in_the_device() {
    let options = SchedulerOptions {
        foreground_in_a_row: 16,
        background_in_flight: 1,
    };
    let mut bench = Bench::new(ModelConfig::modern(), options, None);
    for n in 0..4 {
        bench.read(Class::Background, 1000 + 10 * n, 1).unwrap();
    }
    bench.queue.notify();
    assert_eq!(bench.queue.queue().in_flight(), 1);
    bench.read(Class::Foreground, 5, 1).unwrap();
    bench.queue.notify();
    assert_eq!(bench.queue.queue().in_flight(), 2, "at once");
    bench.run();
    assert_eq!(bench.tokens(), [1000, 5, 1010, 1020, 1030]);
    bench.finish();
}

#[test]
fn neighbours_go_as_one_device_request() {
    let mut bench = Bench::new(ModelConfig::modern(), SchedulerOptions::default(), None);
    for sector in [10, 11, 12, 13, 14, 15, 30, 40, 41] {
        bench.write(Class::Foreground, sector).unwrap();
    }
    // A neighbour of another direction, and a command.
    bench.read(Class::Foreground, 42, 1).unwrap();
    bench.submit(Class::Foreground, Request::flush(99)).unwrap();
    bench.read(Class::Foreground, 43, 2).unwrap();
    bench.run();
    assert_eq!(
        bench.seen(),
        [(10, 4), (14, 2), (30, 1), (40, 2), (42, 1), (0, 0), (43, 2)]
    );
    assert_eq!(bench.tokens(), [10, 11, 12, 13, 14, 15, 30, 40, 41, 42, 99, 43]);
    assert!(bench.done.iter().all(|&(_, result, _)| result == Ok(Answer::Done)));
    let bytes: Vec<u64> = bench.done.iter().map(|&(.., bytes)| bytes / 512).collect();
    assert_eq!(bytes, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2]);
    assert_eq!(bench.queue.joined(), 8);
    for sector in [10, 11, 12, 13, 14, 15, 30, 40, 41] {
        assert_eq!(bench.model.read_disk(sector, 1), pattern(sector, 512));
    }
    bench.finish();
}

#[test]
fn the_limits_of_the_device_hold_for_what_goes_together() {
    let config = ModelConfig {
        seg_max: 2,
        size_max: 1024,
        ..ModelConfig::modern().offer(feature::SIZE_MAX)
    };
    let mut bench = Bench::new(config, SchedulerOptions::default(), None);
    for (sector, sectors) in [(0, 1), (1, 1), (2, 1), (3, 8), (11, 1)] {
        bench.read(Class::Foreground, sector, sectors).unwrap();
    }
    bench.run();
    assert_eq!(
        bench.tokens().into_iter().collect::<BTreeSet<_>>(),
        [0, 1, 2, 3, 11].into()
    );
    assert_eq!(bench.seen()[..2], [(0, 2), (2, 1)]);
    bench.finish();
}

#[test]
fn a_request_fails_for_itself_only() {
    let mut bench = Bench::new(ModelConfig::modern(), SchedulerOptions::default(), Some(12));
    for sector in 10..14 {
        bench.read(Class::Background, sector, 1).unwrap();
    }
    bench.run();
    let ends: BTreeMap<u32, bool> = bench
        .done
        .iter()
        .map(|&(token, result, _)| (token, result.is_ok()))
        .collect();
    assert_eq!(ends, [(10, true), (11, true), (12, false), (13, true)].into());
    assert_eq!(bench.done.len(), 4, "once each");
    assert_eq!(bench.seen().len(), 5);
    bench.finish();
}

#[test]
fn a_line_that_is_full_refuses() {
    let mut bench = Bench::new(ModelConfig::modern(), SchedulerOptions::default(), Some(3));
    for sector in 0..16 {
        bench.read(Class::Foreground, sector, 1).unwrap();
    }
    assert_eq!(bench.read(Class::Foreground, 90, 1), Err(SubmitError::QueueFull));
    bench.read(Class::Background, 90, 1).unwrap();
    bench.queue.notify();
    // The places of those that may come back are kept.
    assert_eq!(bench.read(Class::Foreground, 91, 1), Err(SubmitError::QueueFull));
    bench.run();
    assert_eq!(bench.done.len(), 17);
    assert_eq!(
        bench.read(Class::Foreground, 1 << 30, 1),
        Err(SubmitError::OutOfRange {
            capacity: Sector(16_384)
        })
    );
    bench.finish();
}

#[test]
fn a_shutdown_gives_back_what_waits_and_what_is_in_flight() {
    let mut bench = Bench::new(narrow(), SchedulerOptions::default(), None);
    for sector in 0..16 {
        bench.read(Class::Foreground, 10 * sector, 1).unwrap();
        bench.read(Class::Background, 1000 + sector, 1).unwrap();
    }
    bench.queue.notify();
    bench.model.process(1);
    let done = bench.finish();
    let tokens: BTreeSet<u32> = done.iter().map(|&(token, ..)| token).collect();
    assert_eq!((done.len(), tokens.len()), (32, 32), "once each");
    let aborted = done
        .iter()
        .filter(|&&(_, result, _)| result == Err(IoError::Aborted))
        .count();
    assert_eq!(aborted, 31);
}

#[test]
fn what_a_smaller_disk_does_not_take_is_aborted() {
    let mut bench = Bench::new(narrow(), SchedulerOptions::default(), None);
    for sector in (0..16).map(|n| 8000 + n) {
        bench.read(Class::Foreground, sector, 1).unwrap();
    }
    bench.model.resize(8002);
    bench.control.refresh_config().unwrap();
    bench.run();
    let good: BTreeSet<u32> = bench.done.iter().filter(|end| end.1.is_ok()).map(|end| end.0).collect();
    assert_eq!((bench.done.len(), good), (16, [8000, 8001].into()));
    bench.model.take_violations();
    bench.finish();
}

#[test]
fn the_foreground_has_its_turn_whatever_the_bound() {
    let options = SchedulerOptions {
        foreground_in_a_row: 0,
        background_in_flight: u16::MAX,
    };
    let mut bench = Bench::new(narrow(), options, None);
    for n in 0..6 {
        bench.read(Class::Background, 1000 + 10 * n, 1).unwrap();
        bench.read(Class::Foreground, 10 * n, 1).unwrap();
    }
    bench.run();
    let classes: Vec<bool> = bench.tokens().iter().map(|&token| token >= 1000).collect();
    assert_eq!(classes, [false, true].repeat(6));
    bench.finish();
}

#[test]
fn a_shutdown_blames_no_request_for_its_neighbour() {
    let mut bench = Bench::new(ModelConfig::modern(), SchedulerOptions::default(), Some(12));
    for sector in [10, 11, 12, 13, 30] {
        bench.read(Class::Foreground, sector, 1).unwrap();
    }
    bench.read(Class::Background, 12, 1).unwrap();
    bench.queue.notify();
    // The device is done with all, and no poll has taken them.
    assert_eq!(bench.model.process(usize::MAX), 3);
    let done = bench.finish();
    let aborted = |token| (token, Err(IoError::Aborted), 0);
    assert_eq!(done[..4], [10, 11, 12, 13].map(aborted), "none was tried alone");
    assert_eq!(done[4], (30, Ok(Answer::Done), 512));
    assert!(matches!(done[5], (12, Err(IoError::Device(_)), 0)), "it was alone");
}

#[test]
fn a_refusal_without_a_completion_to_come_asks_for_a_poll() {
    let mut bench = Bench::new(ModelConfig::modern(), SchedulerOptions::default(), None);
    assert!(!bench.queue.needs_poll());
    bench.read(Class::Foreground, 8000, 1).unwrap();
    bench.submit(Class::Foreground, Request::flush(1)).unwrap();
    bench.model.resize(4000);
    bench.control.refresh_config().unwrap();
    let capacity = Sector(4000);
    let refused = bench.read(Class::Foreground, 1 << 30, 1);
    assert_eq!(refused, Err(SubmitError::OutOfRange { capacity }), "the queue knows");
    assert!(!bench.queue.notify());
    // No completion comes, and no interrupt.
    assert_eq!(bench.model.process(usize::MAX), 0);
    assert!(bench.queue.needs_poll());
    bench.poll();
    assert_eq!(bench.done, [(8000, Err(IoError::Aborted), 0)]);
    assert!(!bench.queue.needs_poll());
    assert_eq!(bench.model.process(usize::MAX), 1);
    assert!(bench.queue.needs_poll());
    bench.poll();
    assert_eq!(bench.tokens(), [8000, 1]);
    bench.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 150 }) })]

    /// Whatever is submitted, fails or is cut off, and however small the disk gets: every request that was taken comes back once.
    #[test]
    fn every_request_comes_back_once(
        seed in any::<u64>(),
        bad in prop::option::of(0u64..40),
        in_a_row in 0u16..4,
        in_flight in 0u16..4,
        steps in prop::collection::vec(
            (any::<bool>(), 0u32..40, 0usize..3, prop::bool::weighted(0.3), prop::option::weighted(0.1, 10u64..40)),
            1..80,
        ),
    ) {
        let config = ModelConfig { order: CompletionOrder::Shuffled(seed), ..narrow() };
        let options = SchedulerOptions { foreground_in_a_row: in_a_row, background_in_flight: in_flight };
        let mut bench = Bench::new(config, options, bad);
        let mut taken = Vec::new();
        for (n, (urgent, sector, serve, poll, capacity)) in (0..).zip(steps) {
            if let Some(capacity) = capacity {
                bench.model.resize(capacity);
                bench.control.refresh_config().unwrap();
            }
            let class = if urgent { Class::Foreground } else { Class::Background };
            let mut buffer = Scatter::new(&mut bench.model.dma(), &[512]);
            buffer.fill(&pattern(1, 512));
            if bench.submit(class, Request::write(Sector(sector.into()), buffer, n)).is_ok() {
                taken.push(n);
            }
            bench.queue.notify();
            bench.model.process(serve);
            if poll {
                bench.poll();
            }
        }
        // Those of old limits.
        bench.model.take_violations();
        let done = bench.finish();
        let mut tokens: Vec<u32> = done.iter().map(|end| end.0).collect();
        tokens.sort_unstable();
        prop_assert_eq!(tokens, taken);
    }
}
