//! The queues of a device as one, for several harts.

mod common;

use std::cell::{Cell, RefCell};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{Access, Capable, Scatter, TestQueue, pattern, register, shut_down, start_queues};
use virtio_blk::proto::Sector;
use virtio_blk::{
    DeviceControl, DiskOptions, OperationKind, QueueLock, QueueSet, Request, RequestQueue, SubmitError, Vectors,
};
use virtio_blk_model::{Model, ModelConfig, RingReset, feature};
use virtio_core::{InterruptVector, PollLimit, QueueIndex};

fn device(queues: u16) -> Model {
    Model::new(ModelConfig {
        queues,
        ..ModelConfig::modern()
            .offer(feature::MQ)
            .withdraw(feature::INDIRECT_DESC)
    })
}

/// The lock of a kernel with several harts.
struct Locked<Q>(Mutex<Q>);

impl<Q> QueueLock for Locked<Q> {
    type Queue = Q;

    fn with<R>(&self, work: impl FnOnce(&mut Q) -> R) -> R {
        work(&mut self.0.lock().unwrap())
    }
}

fn loads<const N: usize>(queues: &[RefCell<TestQueue<N>>]) -> Vec<u16> {
    queues.iter().map(|queue| queue.borrow().in_flight()).collect()
}

#[test]
fn each_hart_has_its_queue_and_spills_to_the_least_loaded() {
    let model = device(3);
    let (control, queues) = start_queues::<8, 3>(&model);
    let queues: Vec<_> = queues.into_iter().map(RefCell::new).collect();
    let hart = Cell::new(0);
    let set = QueueSet::new(&queues, || hart.get(), |_, _| unreachable!("no vectors")).unwrap();
    // A flush has two descriptors, so there is room for four in each queue.
    let mut token = 0;
    let mut submit = |on| {
        hart.set(on);
        token += 1;
        set.submit(Request::flush(token))
            .map_err(|rejected| (rejected.error, rejected.request.into_parts().1))
    };
    for on in [0, 1, 2, 2, 4, 7] {
        submit(on).unwrap();
    }
    assert_eq!(loads(&queues), [1, 3, 2], "harts without a queue of their own share");
    submit(1).unwrap();
    submit(1).unwrap();
    submit(1).unwrap();
    assert_eq!(loads(&queues), [3, 4, 2], "the least loaded one");
    assert_eq!(model.pending(), 3, "which is notified at once, with what was in it");
    while loads(&queues) != [4; 3] {
        submit(1).unwrap();
    }
    assert_eq!(submit(1), Err((SubmitError::QueueFull, 13)));
    assert_eq!(set.in_flight(), 12);

    let mut done = 0;
    for on in 0..3 {
        hart.set(on);
        set.notify();
        model.process_queue(on as u16, usize::MAX);
        assert_eq!(set.poll(|_| done += 1), Ok(4));
    }
    assert_eq!((done, set.in_flight()), (12, 0));
    let counted = set.counters();
    assert_eq!(counted.of(OperationKind::Flush).operations, 12);
    let full: u64 = queues.iter().map(|queue| queue.borrow().counters().queue_full).sum();
    assert_eq!(counted.queue_full, full);
    shut_down(&model, control, queues.into_iter().map(RefCell::into_inner));
    model.assert_clean();
}

#[test]
fn other_refusals_do_not_spill() {
    let model = device(2);
    let (control, queues) = start_queues::<8, 2>(&model);
    let queues: Vec<_> = queues.into_iter().map(RefCell::new).collect();
    let set = QueueSet::new(&queues, || 0, |_, _| ()).unwrap();
    let rejected = set.submit(Request::discard(common::range(1 << 40, 8), 1)).unwrap_err();
    assert!(matches!(rejected.error, SubmitError::OutOfRange { .. }));
    assert_eq!(set.counters().queue_full, 0);
    shut_down(&model, control, queues.into_iter().map(RefCell::into_inner));
}

#[test]
fn there_is_no_set_of_queues_of_several_devices() {
    let models = [(); 2].map(|()| device(2));
    let (controls, queues): (Vec<_>, Vec<_>) = models.iter().map(start_queues::<8, 2>).unzip();
    let mut queues: Vec<Vec<_>> = queues
        .into_iter()
        .map(|queues| queues.into_iter().map(RefCell::new).collect())
        .collect();
    let swap = |queues: &mut Vec<Vec<_>>| {
        let [first, second] = queues.as_mut_slice() else {
            panic!("two devices")
        };
        std::mem::swap(&mut first[1], &mut second[1]);
    };
    swap(&mut queues);
    for mixed in &queues {
        // A request that spills would go to the other disk.
        assert!(QueueSet::new(mixed, || 0, |_, _| ()).is_none());
    }
    swap(&mut queues);
    for ((model, control), queues) in models.iter().zip(controls).zip(queues) {
        assert!(QueueSet::new(&queues, || 0, |_, _| ()).is_some());
        shut_down(model, control, queues.into_iter().map(RefCell::into_inner));
        model.assert_clean();
    }
}

#[test]
fn a_hart_whose_queue_was_not_taken_again_uses_another_one() {
    let model = Model::new(ModelConfig {
        queues: 3,
        ring_reset: RingReset::After(0),
        ..ModelConfig::modern()
            .offer(feature::MQ)
            .withdraw(feature::INDIRECT_DESC)
    });
    let (mut places, transport) = ([const { None }; 3], Capable::new(&model, 0));
    let options = common::options(|it| it.ring_reset = true);
    let wait = &mut PollLimit::default();
    let mut control = DeviceControl::start(transport, &mut model.dma(), &options, Vectors::NONE, wait, &mut places)
        .map_err(|failed| failed.error)
        .unwrap();
    let mut queues: Vec<RequestQueue<_, Scatter, u32, 8>> = places.into_iter().flatten().collect();
    let registers = control.transport().registers();
    registers.hook(|access| (access == Access::Read(register::QUEUE_READY)).then_some(0));
    // Of harts 0 and 2.
    for place in [0, 2] {
        let failed = control.reset_queue(queues.remove(place), wait, |_| unreachable!());
        queues.insert(place, failed.unwrap_err().queue);
    }
    registers.unhook();
    let queues: Vec<_> = queues.into_iter().map(RefCell::new).collect();
    let hart = Cell::new(0);
    let set = QueueSet::new(&queues, || hart.get(), |_, _| unreachable!("no vectors")).unwrap();
    for token in 0..4 {
        set.submit(Request::flush(token)).unwrap();
        hart.set(token as usize % 3);
    }
    assert_eq!(loads(&queues), [0, 4, 0]);
    for on in 0..3 {
        hart.set(on);
        let rejected = set.submit(Request::flush(9)).unwrap_err();
        assert_eq!(rejected.error, SubmitError::QueueFull, "there will be room");
    }
    hart.set(1);
    set.notify();
    assert_eq!(model.process(usize::MAX), 4);
    assert_eq!(set.poll(|_| ()), Ok(4));
    shut_down(&model, control, queues.into_iter().map(RefCell::into_inner));
}

#[test]
fn there_is_no_set_without_queues() {
    let none: [RefCell<TestQueue<16>>; 0] = [];
    assert!(QueueSet::new(&none, || 0, |_, _| ()).is_none());
}

#[test]
fn a_vector_goes_to_its_hart_and_drains_its_queues() {
    // A vector each, and two for three queues.
    for vectors in [3, 2] {
        let model = device(3);
        let mut places = [const { None }; 3];
        let plan = Vectors {
            config: None,
            queue: &|queue: QueueIndex| Some(InterruptVector(queue.0 % vectors)),
        };
        let (options, wait) = (DiskOptions::default(), &mut PollLimit::default());
        let transport = Capable::new(&model, vectors);
        let control = DeviceControl::start(transport, &mut model.dma(), &options, plan, wait, &mut places)
            .map_err(|failed| failed.error)
            .unwrap();
        let queues: Vec<_> = places.into_iter().flatten().map(RefCell::new).collect();
        let mut assigned = Vec::new();
        let set = QueueSet::<RefCell<RequestQueue<_, Scatter, u32, 16>>, _>::new(
            &queues,
            || 1,
            |hart, vector| assigned.push((hart, vector.0)),
        )
        .unwrap();
        assert_eq!(assigned, [0, 1, 2].map(|hart| (hart, hart as u16 % vectors)));
        for (token, queue) in (0..).zip(&queues) {
            queue.borrow_mut().submit(Request::flush(token)).unwrap();
            queue.borrow_mut().notify();
        }
        model.process(usize::MAX);
        for vector in 0..vectors {
            let mut tokens = Vec::new();
            let count = set.on_interrupt(InterruptVector(vector), |completion| tokens.push(completion.token));
            let expected: Vec<_> = (0..3)
                .filter(|token| token % u32::from(vectors) == u32::from(vector))
                .collect();
            assert_eq!((count, tokens), (Ok(expected.len() as u32), expected));
        }
        assert_eq!(set.on_interrupt(InterruptVector(9), |_| unreachable!()), Ok(0));
        let interrupts = set.counters().interrupts;
        assert_eq!((interrupts.taken, interrupts.spurious), (3, 0));
        shut_down(&model, control, queues.into_iter().map(RefCell::into_inner));
    }
}

#[test]
fn more_harts_than_queues_write_every_sector_once() {
    const HARTS: u64 = 4;
    const SHARE: u64 = if cfg!(miri) { 6 } else { 150 };
    let model = device(2);
    let (control, queues) = start_queues::<8, 2>(&model);
    let queues: Vec<_> = queues.into_iter().map(|queue| Locked(Mutex::new(queue))).collect();
    thread_local!(static HART: Cell<usize> = const { Cell::new(0) });
    let set = QueueSet::new(&queues, || HART.get(), |_, _| ()).unwrap();
    let (over, left) = (AtomicBool::new(false), Mutex::new(HARTS * SHARE));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                model.wait_for_request(Duration::from_millis(1));
                model.process(usize::MAX);
            }
        });
        let work = |hart: u64| {
            HART.set(hart as usize);
            let release = |completion: virtio_blk::Completion<Scatter, u32>| {
                assert!(completion.result.is_ok());
                completion.buffer.unwrap().release(&mut model.dma());
                *left.lock().unwrap() -= 1;
            };
            for sector in hart * SHARE..(hart + 1) * SHARE {
                let mut buffer = Scatter::new(&mut model.dma(), &[512]);
                buffer.fill(&pattern(sector, 512));
                let mut request = Request::write(Sector(sector), buffer, 0);
                while let Err(rejected) = set.submit(request) {
                    assert_eq!(rejected.error, SubmitError::QueueFull);
                    request = rejected.request;
                    set.notify();
                    set.poll(release).unwrap();
                    thread::yield_now();
                }
            }
            set.notify();
            while *left.lock().unwrap() > 0 {
                set.poll(release).unwrap();
                thread::yield_now();
            }
        };
        let harts: Vec<_> = (0..HARTS).map(|hart| scope.spawn(move || work(hart))).collect();
        let done: Vec<_> = harts.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Release);
        assert!(done.iter().all(Result::is_ok));
    });
    assert_eq!(set.in_flight(), 0);
    assert_eq!(set.counters().of(OperationKind::Write).operations, HARTS * SHARE);
    for sector in 0..HARTS * SHARE {
        assert_eq!(model.read_disk(sector, 1), pattern(sector, 512));
    }
    shut_down(
        &model,
        control,
        queues.into_iter().map(|queue| queue.0.into_inner().unwrap()),
    );
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}
