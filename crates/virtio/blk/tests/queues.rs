//! Several queues: how many, what each has of its own, and what comes back of them.

mod common;

use std::sync::{Arc, Mutex};

use common::{
    Access, Rig, Scatter, Stingy, TestControl, TestQueue, TestTransport, every_ring, pattern, register, shut_down,
    start_queue, start_queues,
};
use virtio_blk::proto::Sector;
use virtio_blk::{
    DeviceControl, DeviceFault, DeviceQueue, DiskOptions, InitError, IoError, Liveness, OperationKind, Request,
    StartError, SubmitError, Vectors, WriteCache, WriteCacheError,
};
use virtio_blk_model::faults::{Fault, RequestInfo, Verdict};
use virtio_blk_model::{Model, ModelConfig, feature};
use virtio_core::{ConfigError, DeviceStatus, Dma, DmaError, PollLimit, QueueIndex, QueueSetupError};

/// A device with so many queues.
fn with_queues(queues: u16, config: ModelConfig) -> ModelConfig {
    ModelConfig {
        queues,
        ..config.offer(feature::MQ)
    }
}

/// Notes the queue and the sector of each request.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<(u16, u64)>>>);

impl Fault for Notes {
    fn before_service(&mut self, request: &RequestInfo) -> Verdict {
        self.0.lock().unwrap().push((request.queue, request.sector));
        Verdict::Serve
    }
}

type Places<const Q: usize> = [Option<DeviceQueue<TestTransport, Scatter, u32, 16>>; Q];

fn start<const Q: usize>(
    transport: TestTransport,
    dma: &mut impl Dma,
    places: &mut Places<Q>,
) -> Result<TestControl, StartError<TestTransport>> {
    DeviceControl::start(
        transport,
        dma,
        &DiskOptions::default(),
        Vectors::NONE,
        &mut PollLimit::default(),
        places,
    )
}

fn write(model: &Model, sector: u64) -> Request<Scatter, u32> {
    let mut buffer = Scatter::new(&mut model.dma(), &[512]);
    buffer.fill(&pattern(sector, 512));
    Request::write(Sector(sector), buffer, sector as u32)
}

fn release(model: &Model, buffer: Option<Scatter>) {
    if let Some(buffer) = buffer {
        buffer.release(&mut model.dma());
    }
}

/// Writes a sector by a queue, from beginning to end.
fn works(model: &Model, queue: &mut TestQueue<16>, sector: u64) {
    queue.submit(write(model, sector)).unwrap();
    queue.notify();
    model.process_queue(queue.index().0, usize::MAX);
    let polled = queue.poll(|completion| {
        assert!(completion.result.is_ok());
        release(model, completion.buffer);
    });
    assert_eq!(polled, Ok(1));
    assert_eq!(model.read_disk(sector, 1), pattern(sector, 512));
}

#[test]
fn as_many_queues_start_as_are_wanted_and_the_device_has() {
    every_ring(|config| {
        for (has, expected) in [(1, 1), (2, 2), (3, 3), (4, 3), (300, 3)] {
            let model = Model::new(with_queues(has, config.clone()));
            let (control, queues) = start_queues::<16, 3>(&model);
            assert_eq!((queues.len(), control.queues()), (expected, expected as u16));
            let indices: Vec<_> = queues.iter().map(TestQueue::index).collect();
            assert_eq!(indices, (0..expected as u16).map(QueueIndex).collect::<Vec<_>>());
            assert_eq!(control.accepted_features().low() & feature::MQ, feature::MQ);
            shut_down(&model, control, queues);
            assert_eq!(model.allocations(), 0);
            model.assert_clean();
        }
    });
}

#[test]
fn mq_is_accepted_for_several_queues_only() {
    let model = Model::new(with_queues(4, ModelConfig::modern()));
    let (control, queue) = start_queue::<16>(&model);
    assert_eq!(model.accepted().low() & feature::MQ, 0);
    shut_down(&model, control, [queue]);
    let rig = Rig::<16>::on(model.clone(), Rig::<16>::probe(&model), &DiskOptions::default()).unwrap();
    assert_eq!(model.accepted().low() & feature::MQ, 0);
    rig.finish();

    // A device without it has one queue, and so has one that claims to have none.
    for (queues, offered) in [(4, 0), (0, feature::MQ)] {
        let model = Model::new(ModelConfig {
            queues,
            ..ModelConfig::modern().offer(offered)
        });
        let transport = Rig::<16>::probe(&model);
        let mut places = [const { None }; 3];
        match start(transport, &mut model.dma(), &mut places) {
            Ok(control) => {
                assert_eq!((control.queues(), offered), (1, 0));
                shut_down(&model, control, places.into_iter().flatten());
            }
            Err(failed) => assert_eq!((failed.error, offered), (InitError::NoQueue, feature::MQ)),
        }
        assert_eq!(model.allocations(), 0);
        model.assert_clean();
    }
}

#[test]
fn no_place_for_a_queue_is_an_error() {
    let model = Model::new(ModelConfig::modern());
    let failed = start(Rig::<16>::probe(&model), &mut model.dma(), &mut []).unwrap_err();
    assert_eq!(failed.error, InitError::NoQueue);
    assert_eq!(model.allocations(), 0);
}

#[test]
fn each_queue_has_its_own_ring_doorbell_and_counters() {
    every_ring(|config| {
        let model = Model::new(with_queues(4, config));
        let notes = Notes::default();
        model.set_fault(notes.clone());
        let (control, mut queues) = start_queues::<16, 4>(&model);
        for (n, queue) in (0..).zip(&mut queues) {
            for sector in 0..=n {
                queue.submit(write(&model, 10 * n + sector)).unwrap();
            }
            assert!(queue.notify());
        }
        for n in (0..4).rev() {
            model.process_queue(n, usize::MAX);
        }
        let expected = (0..4u16)
            .rev()
            .flat_map(|n| (0..=u64::from(n)).map(move |sector| (n, 10 * u64::from(n) + sector)));
        assert_eq!(*notes.0.lock().unwrap(), expected.collect::<Vec<_>>());
        for (n, queue) in (0..).zip(&mut queues) {
            let polled = queue.poll(|completion| {
                assert_eq!(completion.token / 10, n);
                release(&model, completion.buffer);
            });
            assert_eq!(polled, Ok(n + 1));
            let counted = queue.counters();
            assert_eq!(counted.of(OperationKind::Write).operations, u64::from(n) + 1);
            assert_eq!(counted.notifies, 1);
        }
        assert_eq!(shut_down(&model, control, queues).0.len(), 0);
        model.assert_clean();
    });
}

/// A start that fails keeps nothing, and the next one succeeds.
fn fails<const Q: usize>(model: &Model, failed: StartError<TestTransport>, mut places: Places<Q>) {
    assert!(places.iter().all(Option::is_none), "no queue is left behind");
    assert_eq!(model.allocations(), 0, "{}", failed.error);
    assert!(model.status().contains(DeviceStatus::FAILED));
    failed.transport.access().unhook();
    let control = start(failed.transport, &mut model.dma(), &mut places).unwrap();
    let mut queues: Vec<_> = places.into_iter().flatten().collect();
    assert_eq!(queues.len(), Q);
    for (sector, queue) in (0..).zip(&mut queues) {
        works(model, queue, sector);
    }
    shut_down(model, control, queues);
    assert_eq!(model.allocations(), 0);
}

#[test]
fn memory_that_runs_out_in_the_middle_of_a_start_comes_back() {
    every_ring(|config| {
        // The shared configuration, and rings and slots of three queues.
        for left in 0..7 {
            let model = Model::new(with_queues(3, config.clone()));
            let mut places = [const { None }; 3];
            let mut dma = Stingy { dma: model.dma(), left };
            let failed = start(Rig::<16>::probe(&model), &mut dma, &mut places).unwrap_err();
            assert_eq!(failed.error, InitError::Dma(DmaError::OutOfMemory));
            fails(&model, failed, places);
            model.assert_clean();
        }
    });
}

#[test]
fn a_queue_that_is_refused_in_the_middle_of_a_start_ends_it() {
    for (config, register) in [
        (ModelConfig::modern(), register::QUEUE_READY),
        (ModelConfig::legacy(), register::QUEUE_PFN),
    ] {
        for refused in 0..3 {
            let model = Model::new(with_queues(3, config.clone()));
            let transport = Rig::<16>::probe(&model);
            let mut selected = 0;
            transport.access().hook(move |access| match access {
                Access::Write(0x030, queue) => {
                    selected = queue;
                    None
                }
                Access::Read(at) => (at == register && selected == refused).then_some(0),
                Access::Write(..) => None,
            });
            let mut places = [const { None }; 3];
            let failed = start(transport, &mut model.dma(), &mut places).unwrap_err();
            assert_eq!(failed.error, InitError::Queue(QueueSetupError::NotReady));
            fails(&model, failed, places);
        }
    }
}

#[test]
fn a_queue_that_is_too_small_ends_a_start() {
    let model = Model::new(with_queues(3, ModelConfig::modern()));
    for (size, error) in [(0, InitError::NoQueue), (2, InitError::QueueTooSmall { size: 2 })] {
        let transport = Rig::<16>::probe(&model);
        let mut selected = 0;
        transport.access().hook(move |access| match access {
            Access::Write(0x030, queue) => {
                selected = queue;
                None
            }
            Access::Read(0x034) => (selected == 2).then_some(size),
            _ => None,
        });
        let mut places = [const { None }; 3];
        let failed = start(transport, &mut model.dma(), &mut places).unwrap_err();
        assert_eq!(failed.error, error);
        fails(&model, failed, places);
    }
}

#[test]
fn a_start_that_cannot_be_taken_back_leaks_the_memory_and_no_queue() {
    let model = Model::new(with_queues(2, ModelConfig::modern()));
    let transport = Rig::<16>::probe(&model);
    let mut stuck = false;
    transport.access().hook(move |access| match access {
        Access::Write(register::STATUS, value) => {
            stuck |= value & 4 != 0;
            None
        }
        Access::Read(register::STATUS) if stuck => Some(0x4F),
        _ => None,
    });
    let mut places = [const { None }; 2];
    let failed = start(transport, &mut model.dma(), &mut places).unwrap_err();
    assert!(matches!(failed.error, InitError::Stuck { .. }), "{}", failed.error);
    assert!(places.iter().all(Option::is_none));
    assert_eq!(model.allocations(), 5, "all of it");
}

#[test]
fn every_queue_gives_its_requests_back_once_and_in_order() {
    every_ring(|config| {
        let model = Model::new(with_queues(3, config));
        let (control, mut queues) = start_queues::<16, 3>(&model);
        for (n, queue) in (0..).zip(&mut queues) {
            for sector in 0..4 {
                queue.submit(write(&model, 10 * n + sector)).unwrap();
            }
            queue.notify();
            // Finished, but not polled.
            model.process_queue(n as u16, 1);
        }
        // In another order than that of the start.
        queues.rotate_left(1);
        let (back, counters) = shut_down(&model, control, queues);
        let tokens: Vec<u32> = back.iter().map(|completion| completion.token).collect();
        assert_eq!(tokens, [10, 11, 12, 13, 20, 21, 22, 23, 0, 1, 2, 3]);
        for completion in back {
            let aborted = completion.result == Err(IoError::Aborted);
            assert_eq!(aborted, completion.token % 10 > 0);
            release(&model, completion.buffer);
        }
        for counted in counters {
            let writes = counted.of(OperationKind::Write);
            assert_eq!((writes.operations, writes.errors), (4, 3));
        }
        assert_eq!(model.allocations(), 0);
        model.assert_clean();
    });
}

#[test]
fn a_foreign_queue_is_given_back_untouched() {
    let devices = [(); 2].map(|()| Model::new(with_queues(2, ModelConfig::modern())));
    let (control, queues) = start_queues::<16, 2>(&devices[0]);
    let (other, mut others) = start_queues::<16, 2>(&devices[1]);
    let mut foreign = others.remove(0);
    foreign.submit(Request::flush(7)).unwrap();
    foreign.notify();

    let mut reset = control.shut_down(&mut PollLimit::default()).unwrap();
    let answer = reset.release(foreign, &mut devices[0].dma(), |_| unreachable!());
    let mut foreign = answer.unwrap_err().0;
    assert_eq!((reset.missing(), foreign.in_flight()), (2, 1));
    devices[1].process(1);
    assert_eq!(foreign.poll(|completion| assert_eq!(completion.token, 7)), Ok(1));

    // A queue that is missing is an error, and nothing is lost.
    let mut queues = queues.into_iter();
    let last = queues.next().unwrap();
    for queue in queues {
        reset.release(queue, &mut devices[0].dma(), |_| unreachable!()).unwrap();
    }
    let missing = reset.finish(&mut devices[0].dma()).err().unwrap();
    assert_eq!(missing.to_string(), "1 queues are not back");
    let mut reset = missing.device;
    reset.release(last, &mut devices[0].dma(), |_| unreachable!()).unwrap();
    let (transport, _) = reset.finish(&mut devices[0].dma()).unwrap();
    assert_eq!(devices[0].allocations(), 0);

    shut_down(&devices[1], other, others.into_iter().chain([foreign]));
    assert_eq!(devices[1].allocations(), 0);
    drop(transport);
    devices.iter().for_each(Model::assert_clean);
}

#[test]
fn a_device_goes_on_without_a_queue_that_was_dropped() {
    let model = Model::new(with_queues(3, ModelConfig::modern()));
    let (control, mut queues) = start_queues::<16, 3>(&model);
    let mut late = queues.pop().unwrap();
    late.submit(write(&model, 9)).unwrap();
    queues[1].submit(write(&model, 8)).unwrap();
    drop(queues.pop());
    let mut reset = control.shut_down(&mut PollLimit::default()).unwrap();
    for queue in queues {
        reset.release(queue, &mut model.dma(), |_| unreachable!()).unwrap();
    }
    assert_eq!(reset.missing(), 2);
    let (transport, _) = reset.abandon();
    // Rings, slots and the buffer of two queues, and what they look at.
    assert_eq!(model.allocations(), 7);
    // The queue that is late is of no use, and does no harm.
    late.refresh_limits();
    assert_eq!(late.poll(|_| unreachable!()), Ok(0));

    let mut places = [const { None }; 3];
    let control = start(transport, &mut model.dma(), &mut places).unwrap();
    let mut queues: Vec<_> = places.into_iter().flatten().collect();
    works(&model, &mut queues[2], 4);
    let mut reset = control.shut_down(&mut PollLimit::default()).unwrap();
    let late = reset.release(late, &mut model.dma(), |_| unreachable!()).unwrap_err().0;
    assert_eq!(late.in_flight(), 1);
    for queue in queues {
        reset.release(queue, &mut model.dma(), |_| unreachable!()).unwrap();
    }
    reset.finish(&mut model.dma()).unwrap();
    assert_eq!(model.allocations(), 7);
}

#[test]
fn a_reset_that_does_not_end_keeps_the_device() {
    let model = Model::new(with_queues(2, ModelConfig::modern()));
    let transport = Rig::<16>::probe(&model);
    let registers = transport.access().clone();
    let mut places = [const { None }; 2];
    let control = start(transport, &mut model.dma(), &mut places).unwrap();
    let held = model.allocations();
    registers.hook(|access| (access == Access::Read(register::STATUS)).then_some(4));
    let (_, control) = control.shut_down(&mut PollLimit::default()).map(|_| ()).unwrap_err();
    assert_eq!(model.allocations(), held);
    registers.unhook();
    shut_down(&model, control, places.into_iter().flatten());
    assert_eq!(model.allocations(), 0);
}

#[test]
fn queues_share_no_cache_line() {
    assert_eq!(align_of::<TestQueue<16>>(), 64);
    assert_eq!(align_of::<Option<TestQueue<16>>>(), 64);
    assert_eq!(size_of::<Option<TestQueue<16>>>() % 64, 0);

    /// Hands memory out without a gap, as a platform may, and notes where.
    struct Dense {
        model: Model,
        asked: Vec<std::alloc::Layout>,
    }
    impl Dma for Dense {
        fn allocate(&mut self, layout: std::alloc::Layout) -> Result<virtio_core::DmaRegion, DmaError> {
            self.asked.push(layout);
            self.model.dma().allocate(layout)
        }
        fn release(&mut self, region: virtio_core::DmaRegion) {
            self.model.dma().release(region);
        }
    }
    every_ring(|config| {
        let model = Model::new(with_queues(3, config));
        let mut dma = Dense {
            model: model.clone(),
            asked: Vec::new(),
        };
        let mut places = [const { None }; 3];
        let control = start(Rig::<16>::probe(&model), &mut dma, &mut places).unwrap();
        // Each begins with a line, so none ends in the line of another.
        assert_eq!(dma.asked.len(), 7);
        assert!(dma.asked.iter().all(|layout| layout.align() >= 64));
        shut_down(&model, control, places.into_iter().flatten());
    });
}

#[test]
fn a_larger_disk_is_seen_by_every_queue() {
    every_ring(|config| {
        let model = Model::new(with_queues(2, config));
        let (mut control, mut queues) = start_queues::<16, 2>(&model);
        model.resize(20_000);
        let beyond = |queue: &mut TestQueue<16>| match queue.submit(write(&model, 18_000)) {
            Ok(()) => Ok(()),
            Err(rejected) => {
                release(&model, rejected.request.into_parts().0);
                Err(rejected.error)
            }
        };
        let error = SubmitError::OutOfRange {
            capacity: Sector(16_384),
        };
        assert_eq!(beyond(&mut queues[0]), Err(error), "it is not known yet");
        control.refresh_config().unwrap();
        for queue in &mut queues {
            assert_eq!(queue.limits().capacity, Sector(16_384));
            assert_eq!(beyond(queue), Ok(()), "it looks before it refuses");
            assert_eq!(queue.limits().capacity, Sector(20_000));
            assert!(!queue.refresh_limits(), "once");
        }
        let (back, _) = shut_down(&model, control, queues);
        back.into_iter()
            .for_each(|completion| release(&model, completion.buffer));
        assert_eq!(model.allocations(), 0);
    });
}

#[test]
fn a_smaller_disk_is_seen_at_the_first_request_that_fails() {
    let model = Model::new(with_queues(3, ModelConfig::modern()));
    let (mut control, mut queues) = start_queues::<16, 3>(&model);
    model.resize(100);
    control.refresh_config().unwrap();
    let failing = &mut queues[0];
    failing.submit(write(&model, 200)).unwrap();
    failing.notify();
    model.process(usize::MAX);
    let polled = failing.poll(|completion| {
        assert!(matches!(completion.result, Err(IoError::Device(_))));
        release(&model, completion.buffer);
    });
    assert_eq!(polled, Ok(1));
    // Or when the queue asks for an interrupt, or is asked to look.
    assert_eq!(queues[1].drain(|_| unreachable!()), Ok(0));
    assert!(queues[2].refresh_limits());
    for queue in &mut queues {
        let rejected = queue.submit(write(&model, 200)).unwrap_err();
        assert_eq!(rejected.error, SubmitError::OutOfRange { capacity: Sector(100) });
        release(&model, rejected.request.into_parts().0);
    }
    shut_down(&model, control, queues);
    assert_eq!(model.allocations(), 0);
    assert!(
        model.take_violations().iter().all(|v| v.id == "BLK-D-12"),
        "the disk became smaller"
    );
}

#[test]
fn every_queue_learns_of_a_device_that_the_control_half_has_missed() {
    for find in [
        |control: &mut TestControl| control.refresh_config().err() == Some(ConfigError::Gone),
        |control: &mut TestControl| {
            control.set_write_cache(WriteCache::WriteThrough).err() == Some(WriteCacheError::Gone)
        },
        |control: &mut TestControl| control.write_cache().is_err(),
        |control: &mut TestControl| control.liveness() == Liveness::Gone,
    ] {
        let model = Model::new(with_queues(2, ModelConfig::modern()));
        let (mut control, mut queues) = start_queues::<16, 2>(&model);
        model.go_away_after(0);
        for queue in &mut queues {
            assert_eq!(queue.poll(|_| unreachable!()), Ok(0), "its ring tells nothing");
        }
        assert!(find(&mut control));
        for queue in &mut queues {
            let polled = (0..2).map(|_| queue.poll(|_| unreachable!())).last();
            assert_eq!(polled, Some(Err(DeviceFault::Gone)));
        }
        shut_down(&model, control, queues);
        assert_eq!(model.allocations(), 0);
    }
}
