//! Interrupts of several queues, by vectors and over one line.

mod common;

use common::{Capable, Scatter, pattern, shut_down, start_queues};
use virtio_blk::proto::Sector;
use virtio_blk::{DeviceControl, DeviceQueue, DiskOptions, InitError, Request, Vectors};
use virtio_blk_model::{Model, ModelConfig, feature};
use virtio_core::{DeviceStatus, InterruptSource, InterruptVector, PollLimit, QueueIndex, QueueSetupError};

const QUEUES: usize = 3;

type Queue = DeviceQueue<Capable, Scatter, u32, 16>;

fn device() -> Model {
    Model::new(ModelConfig {
        queues: QUEUES as u16,
        ..ModelConfig::modern().offer(feature::MQ)
    })
}

/// Starts a device with vector 0 for the configuration, and the next one for each queue.
fn start(model: &Model, transport: Capable) -> Result<(DeviceControl<Capable>, Vec<Queue>), (InitError, Capable)> {
    let mut places = [const { None }; QUEUES];
    let vectors = Vectors {
        config: Some(InterruptVector(0)),
        queue: &|queue: QueueIndex| Some(InterruptVector(queue.0 + 1)),
    };
    let (options, wait) = (DiskOptions::default(), &mut PollLimit::default());
    let started = DeviceControl::start(transport, &mut model.dma(), &options, vectors, wait, &mut places);
    match started {
        Ok(control) => Ok((control, places.into_iter().flatten().collect())),
        Err(failed) => {
            assert!(places.iter().all(Option::is_none));
            Err((failed.error, failed.transport))
        }
    }
}

#[test]
fn every_queue_and_the_configuration_have_their_vectors() {
    let model = device();
    let transport = Capable::new(&model, 4);
    let routes = transport.routes.clone();
    let (control, queues) = start(&model, transport).map_err(|(error, _)| error).unwrap();
    let vectors: Vec<_> = queues.iter().map(|queue| queue.vector().unwrap().0).collect();
    assert_eq!(vectors, [1, 2, 3]);
    {
        let routes = routes.lock().unwrap();
        assert_eq!(
            (routes.config, &routes.queues[..]),
            (Some(0), &[(0, 1), (1, 2), (2, 3)][..])
        );
    }
    shut_down(&model, control, queues);
    model.assert_clean();
}

#[test]
fn a_vector_that_is_refused_gives_everything_back() {
    for vectors in 0..4 {
        let model = device();
        let (error, transport) = start(&model, Capable::new(&model, vectors)).map(|_| ()).unwrap_err();
        assert_eq!(error, InitError::Queue(QueueSetupError::VectorRefused));
        assert_eq!(model.allocations(), 0, "with {vectors} vectors");
        assert!(model.status().contains(DeviceStatus::FAILED));
        // Another plan works on the same transport.
        transport.routes.lock().unwrap().end = 4;
        let (control, queues) = start(&model, transport).map_err(|(error, _)| error).unwrap();
        shut_down(&model, control, queues);
        assert_eq!(model.allocations(), 0);
        model.assert_clean();
    }
}

#[test]
fn interrupts_are_counted_per_vector() {
    let model = device();
    let (mut control, mut queues) = start(&model, Capable::new(&model, 4))
        .map_err(|(error, _)| error)
        .unwrap();
    let mut dma = model.dma();
    for (n, queue) in (0..).zip(&mut queues) {
        assert_eq!(queue.on_interrupt(|_| unreachable!()), Ok(0), "spurious");
        for sector in 0..n {
            let mut buffer = Scatter::new(&mut dma, &[512]);
            buffer.fill(&pattern(sector, 512));
            queue.submit(Request::write(Sector(sector), buffer, 0)).unwrap();
            queue.notify();
            model.process_queue(queue.index().0, 1);
            let drained = queue.on_interrupt(|completion| completion.buffer.unwrap().release(&mut model.dma()));
            assert_eq!(drained, Ok(1));
        }
        let counted = queue.counters().interrupts;
        assert_eq!((counted.taken, counted.spurious), (n + 1, 1));
    }
    // A vector of a queue says nothing of the configuration, and that of the configuration nothing of a queue.
    model.resize(20_000);
    let by = |vector| InterruptSource::Vector(InterruptVector(vector));
    assert_eq!(control.on_interrupt(by(2), || true).config, None);
    let mut looks = 0;
    let look = || {
        looks += 1;
        false
    };
    let seen = control.on_interrupt(by(0), look);
    assert_eq!(seen.config.unwrap().limits.capacity, Sector(20_000));
    assert_eq!(looks, 1, "a vector loses no cause");
    let counted = control.interrupt_counters();
    assert_eq!((counted.taken, counted.spurious), (2, 0));
    shut_down(&model, control, queues);
    model.assert_clean();
}

// Shows MMIO-D-30.
#[test]
fn one_line_serves_all_queues() {
    let model = device();
    let (mut control, mut queues) = start_queues::<16, QUEUES>(&model);
    for queue in &mut queues {
        assert_eq!((queue.vector(), queue.drain(|_| unreachable!())), (None, Ok(0)));
        queue.submit(Request::flush(u32::from(queue.index().0))).unwrap();
        queue.notify();
    }
    model.process(usize::MAX);
    assert!(model.interrupt_line());
    model.resize(20_000);
    let (mut tokens, mut looks) = (Vec::new(), 0);
    let seen = control.on_interrupt(InterruptSource::Line, || {
        looks += 1;
        // A completion that slips in before the acknowledgement.
        if looks == 1 {
            queues[0].submit(Request::flush(7)).unwrap();
            queues[0].notify();
        }
        let drained = queues
            .iter_mut()
            .map(|queue| queue.drain(|completion| tokens.push(completion.token)).unwrap());
        let any = drained.sum::<u32>() > 0;
        if looks == 1 {
            model.process(usize::MAX);
        }
        any
    });
    assert_eq!(tokens, [0, 1, 2, 7]);
    assert_eq!(looks, 2);
    assert_eq!(seen.config.unwrap().resized_from, Some(Sector(16_384)));
    assert!(!model.interrupt_line());
    control.on_interrupt(InterruptSource::Line, || false);
    let counted = control.interrupt_counters();
    assert_eq!((counted.taken, counted.spurious), (2, 1));
    for queue in &queues {
        assert_eq!(queue.limits().capacity, Sector(20_000), "drained after the change");
    }
    shut_down(&model, control, queues);
    model.assert_clean();
}

#[test]
fn queues_find_out_that_the_device_is_gone() {
    let model = device();
    let transport = Capable::new(&model, 4);
    let registers = transport.registers();
    let (mut control, mut queues) = start(&model, transport).map_err(|(error, _)| error).unwrap();
    for queue in &mut queues {
        queue.submit(Request::flush(u32::from(queue.index().0))).unwrap();
        queue.notify();
    }
    model.process_queue(1, 1);
    registers.hook(|access| matches!(access, common::Access::Read(_)).then_some(u32::MAX));
    assert!(
        control
            .on_interrupt(InterruptSource::Vector(InterruptVector(0)), || false)
            .config
            .is_none()
    );
    // The one that was done is handed over, and then each says so.
    let polls: Vec<_> = queues
        .iter_mut()
        .map(|queue| queue.poll(|completion| assert_eq!(completion.token, 1)))
        .collect();
    assert_eq!(polls, [Ok(0), Ok(1), Ok(0)]);
    for queue in &mut queues {
        let mut polls = [(); 2].map(|()| queue.poll(|_| unreachable!()));
        polls.sort_by_key(Result::is_err);
        assert_eq!(polls[1], Err(virtio_blk::DeviceFault::Gone));
    }
    let (back, _) = shut_down(&model, control, queues);
    assert_eq!(back.len(), 2);
    assert_eq!(model.allocations(), 0);
}
