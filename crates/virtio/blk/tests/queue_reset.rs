//! One queue is reset, and the others go on.

mod common;

use common::{Access, Capable, Scatter, pattern, register, shut_down, start_queues};
use virtio_blk::proto::Sector;
use virtio_blk::{
    Answer, DeviceControl, DeviceQueue, DiskOptions, IoError, OperationKind, QueueResetError, Request, SubmitError,
    Vectors,
};
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_blk_model::{Model, ModelConfig, RingReset, feature};
use virtio_core::{InterruptVector, PollLimit, QueueIndex, QueueSetupError};

type Queue = DeviceQueue<Capable, Scatter, u32, 16>;

fn device(ring_reset: RingReset) -> Model {
    Model::new(ModelConfig {
        queues: 2,
        ring_reset,
        ..ModelConfig::modern().offer(feature::MQ)
    })
}

fn start(model: &Model, ring_reset: bool) -> (DeviceControl<Capable>, Vec<Queue>) {
    let options = DiskOptions {
        ring_reset,
        ..DiskOptions::default()
    };
    let vectors = Vectors {
        config: None,
        queue: &|queue: QueueIndex| Some(InterruptVector(queue.0)),
    };
    let (mut places, transport) = ([const { None }; 2], Capable::new(model, 2));
    let wait = &mut PollLimit::default();
    let control = DeviceControl::start(transport, &mut model.dma(), &options, vectors, wait, &mut places);
    let control = control.map_err(|failed| failed.error).unwrap();
    (control, places.into_iter().flatten().collect())
}

fn write(model: &Model, token: u32) -> Request<Scatter, u32> {
    let mut buffer = Scatter::new(&mut model.dma(), &[512]);
    buffer.fill(&pattern(token.into(), 512));
    Request::write(Sector(token.into()), buffer, token)
}

/// Polls; the tokens of what went well.
fn poll(model: &Model, queue: &mut Queue) -> Vec<u32> {
    let mut tokens = Vec::new();
    let polled = queue.poll(|completion| {
        assert_eq!(completion.result, Ok(Answer::Done));
        tokens.push(completion.token);
        completion.buffer.unwrap().release(&mut model.dma());
    });
    assert_eq!(polled, Ok(tokens.len() as u32));
    tokens
}

// Shows VQR-D-02.
#[test]
fn a_stuck_queue_is_reset_and_its_requests_are_sent_again() {
    for reads in [0, 5] {
        let model = device(RingReset::After(reads));
        let (mut control, queues) = start(&model, true);
        let Ok([mut stuck, mut other]) = <[Queue; 2]>::try_from(queues) else {
            panic!("two queues");
        };
        // Of five, the device is done with the first, has lost two, and has not seen the others.
        model.set_fault(FaultScript::new().at(1, FaultKind::Lost).at(2, FaultKind::Lost));
        for token in 0..5 {
            stuck.submit(write(&model, token)).unwrap();
        }
        stuck.notify();
        assert_eq!(model.process_queue(0, 3), 3);
        for token in 10..13 {
            other.submit(write(&model, token)).unwrap();
        }
        other.notify();

        let mut back = Vec::new();
        let mut stuck = control
            .reset_queue(stuck, &mut PollLimit(reads), |completion| back.push(completion))
            .unwrap();
        let ends: Vec<_> = back
            .iter()
            .map(|completion| (completion.token, completion.result))
            .collect();
        let aborted = |token| (token, Err(IoError::Aborted));
        assert_eq!(
            ends,
            [(0, Ok(Answer::Done)), aborted(1), aborted(2), aborted(3), aborted(4)]
        );
        assert_eq!((stuck.in_flight(), stuck.vector()), (0, Some(InterruptVector(0))));
        assert_eq!(model.counters().queue_resets, 1);

        // The other one goes on, and so does this one.
        for completion in back {
            if completion.result.is_ok() {
                completion.buffer.unwrap().release(&mut model.dma());
            } else {
                stuck.submit(completion.into_request()).unwrap();
            }
        }
        stuck.notify();
        model.process(usize::MAX);
        assert_eq!(poll(&model, &mut other), [10, 11, 12]);
        assert_eq!(poll(&model, &mut stuck), [1, 2, 3, 4]);
        for token in [0, 1, 2, 3, 4, 10, 11, 12] {
            assert_eq!(model.read_disk(token, 1), pattern(token, 512));
        }
        let counted = stuck.counters();
        let writes = counted.of(OperationKind::Write);
        assert_eq!((writes.operations, writes.errors, counted.device_requests), (9, 4, 9));
        assert_eq!(stuck.returned(), 5);
        shut_down(&model, control, [stuck, other]);
        assert_eq!(model.allocations(), 0);
        model.assert_clean();
    }
}

// Shows VQR-D-03.
#[test]
fn a_queue_is_reset_again_and_again() {
    let model = device(RingReset::After(1));
    let (mut control, mut queues) = start(&model, true);
    for round in 0..5 {
        let mut queue = queues.remove(0);
        for token in 0..round {
            queue.submit(write(&model, token)).unwrap();
            queue.notify();
        }
        let mut back = 0;
        let release = |completion: virtio_blk::Completion<Scatter, u32>| {
            back += 1;
            completion.buffer.unwrap().release(&mut model.dma());
        };
        let mut queue = control.reset_queue(queue, &mut PollLimit(1), release).unwrap();
        assert_eq!(back, round);
        // Interrupts are asked for anew.
        queue.submit(write(&model, 7)).unwrap();
        queue.notify();
        model.process(usize::MAX);
        assert!(!model.interrupt_line());
        assert_eq!(poll(&model, &mut queue), [7]);
        queues.push(queue);
    }
    shut_down(&model, control, queues);
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}

#[test]
fn without_being_asked_for_the_feature_is_not_accepted() {
    let model = device(RingReset::After(0));
    let (mut control, mut queues) = start(&model, false);
    assert_eq!(model.accepted().low() & feature::RING_RESET, 0);
    let failed = control
        .reset_queue(queues.remove(0), &mut PollLimit(9), |_| unreachable!())
        .unwrap_err();
    assert_eq!(failed.error, QueueResetError::Unsupported);
    queues.push(failed.queue);
    shut_down(&model, control, queues);
    model.assert_clean();
}

#[test]
fn over_mmio_the_feature_is_never_accepted() {
    let model = device(RingReset::After(0));
    let options = common::options(|it| it.ring_reset = true);
    let rig = common::Rig::<16>::with(ModelConfig::modern(), &options);
    assert_eq!(rig.model.accepted().low() & feature::RING_RESET, 0);
    rig.finish();
    let (control, queues) = start_queues::<16, 2>(&model);
    assert_eq!(model.accepted().low() & feature::RING_RESET, 0);
    shut_down(&model, control, queues);
    model.assert_clean();
}

// Shows VQR-D-01.
#[test]
fn a_reset_that_does_not_end_gives_nothing_back() {
    let model = device(RingReset::Stuck);
    let (mut control, mut queues) = start(&model, true);
    let mut queue = queues.remove(0);
    queue.submit(write(&model, 1)).unwrap();
    queue.notify();
    let held = model.allocations();
    let failed = control
        .reset_queue(queue, &mut PollLimit(9), |_| panic!("the device may be at it"))
        .unwrap_err();
    assert_eq!(failed.error, QueueResetError::NotReset(QueueSetupError::NotReady));
    assert_eq!((model.allocations(), failed.queue.in_flight()), (held, 1));
    // The device may finish the reset at any time, and carry nothing out from then on.
    let mut queue = failed.queue;
    let rejected = queue.submit(Request::flush(2)).unwrap_err();
    assert_eq!(rejected.error, SubmitError::Stopped);
    assert!(!queue.notify());
    let mut queue = control
        .reset_queue(queue, &mut PollLimit(9), |_| panic!("the device may be at it"))
        .unwrap_err()
        .queue;
    assert!(poll(&model, &mut queue).is_empty());
    // The reset of the device does end.
    queues.push(queue);
    let (back, _) = shut_down(&model, control, queues);
    assert_eq!((back.len(), back[0].result), (1, Err(IoError::Aborted)));
    for completion in back {
        completion.buffer.unwrap().release(&mut model.dma());
    }
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}

#[test]
fn a_transfer_in_parts_is_not_continued_into_a_queue_that_is_being_reset() {
    let model = device(RingReset::Stuck);
    let (mut control, mut queues) = start(&model, true);
    let mut queue = queues.remove(0);
    // More parts than there is room for.
    queue
        .submit(Request::read(
            Sector(0),
            Scatter::new(&mut model.dma(), &[64; 8 * 20]),
            1,
        ))
        .unwrap();
    queue.notify();
    let sent = queue.counters().device_requests;
    let mut queue = control
        .reset_queue(queue, &mut PollLimit(9), |_| panic!("the device may be at it"))
        .unwrap_err()
        .queue;
    assert!(model.process_queue(0, usize::MAX) > 0);
    assert!(poll(&model, &mut queue).is_empty());
    assert_eq!(queue.counters().device_requests, sent);
    queues.insert(0, queue);
    let (back, _) = shut_down(&model, control, queues);
    assert_eq!((back.len(), back[0].result), (1, Err(IoError::Aborted)));
    for completion in back {
        completion.buffer.unwrap().release(&mut model.dma());
    }
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}

#[test]
fn a_queue_that_is_not_taken_again_takes_no_requests() {
    let model = device(RingReset::After(0));
    let (mut control, mut queues) = start(&model, true);
    let registers = control.transport().registers();
    let mut queue = queues.remove(0);
    queue.submit(write(&model, 1)).unwrap();
    queue.notify();
    registers.hook(|access| (access == Access::Read(register::QUEUE_READY)).then_some(0));
    let mut back = Vec::new();
    let failed = control
        .reset_queue(queue, &mut PollLimit(9), |completion| back.push(completion))
        .unwrap_err();
    registers.unhook();
    assert_eq!(failed.error, QueueResetError::NotEnabled(QueueSetupError::NotReady));
    assert_eq!(back.len(), 1);
    let mut queue = failed.queue;
    for request in [write(&model, 2), Request::flush(3)] {
        let rejected = queue.submit(request).unwrap_err();
        assert_eq!(rejected.error, SubmitError::Stopped);
        if let (Some(buffer), _) = rejected.request.into_parts() {
            buffer.release(&mut model.dma());
        }
    }
    assert!(!queue.notify());
    queues[0].submit(write(&model, 4)).unwrap();
    queues[0].notify();
    model.process(usize::MAX);
    assert_eq!(poll(&model, &mut queues[0]), [4], "the other one goes on");
    for completion in back {
        completion.buffer.unwrap().release(&mut model.dma());
    }
    queues.insert(0, queue);
    shut_down(&model, control, queues);
    assert_eq!(model.allocations(), 0);
}

#[test]
fn a_foreign_queue_is_not_reset() {
    let devices = [(); 2].map(|()| device(RingReset::After(0)));
    let (mut control, queues) = start(&devices[0], true);
    let (other, mut others) = start(&devices[1], true);
    others[0].submit(write(&devices[1], 1)).unwrap();
    let failed = control
        .reset_queue(others.remove(0), &mut PollLimit(9), |_| unreachable!())
        .unwrap_err();
    assert_eq!((failed.error, failed.queue.in_flight()), (QueueResetError::Foreign, 1));
    assert_eq!(devices.each_ref().map(|model| model.counters().queue_resets), [0, 0]);
    others.push(failed.queue);
    shut_down(&devices[0], control, queues);
    shut_down(&devices[1], other, others)
        .0
        .into_iter()
        .for_each(|completion| {
            completion.buffer.unwrap().release(&mut devices[1].dma());
        });
    devices.iter().for_each(Model::assert_clean);
}
