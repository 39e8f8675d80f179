//! The driver on a device that is a function of a PCI bus.

mod common;

use common::{Rig, TestPci, every_ring, pattern, pci_transport};
use virtio_blk::proto::Sector;
use virtio_blk::{Answer, DeviceControl, DiskOptions, InitError, IoError, Request, RequestQueue, Vectors};
use virtio_blk_model::{Model, ModelBar, ModelConfig, ModelFunction, PciForm, RingReset, feature};
use virtio_core::{
    EitherTransport, InterruptSource, InterruptVector, PollLimit, QueueSetupError, QueueSize, Transport,
};
use virtio_pci::{MsiMessage, MsixTable, VectorPlan};

/// As many descriptors as a legacy device has, and no fewer.
const N: usize = 256;

// Shows PCI-D-05, PCI-D-06, PCI-D-07, PCI-D-16, PCI-D-21, PCI-D-22.
#[test]
fn a_disk_works_in_every_form() {
    every_ring(|config| {
        let (mut rig, _) = Rig::<N, TestPci>::on_pci(config);
        rig.works();
        rig.good(Request::flush);
        assert!(matches!(rig.good(Request::identify), Answer::Id(_)));
        rig.finish();
    });
}

#[test]
fn a_modern_device_works_without_its_legacy_ports() {
    let model = Model::new(ModelConfig::modern());
    let function = model.on_pci(PciForm::Modern, 0);
    let options = DiskOptions::default();
    let mut rig = Rig::<16, TestPci>::on_transport(model, pci_transport(&function), &options).unwrap();
    rig.works();
    rig.finish();
}

#[test]
fn completions_come_by_the_line() {
    every_ring(|config| {
        let (mut rig, function) = Rig::<N, TestPci>::on_pci(config);
        rig.drain().unwrap();
        let token = rig.submit_read(3, &[512]);
        rig.serve();
        assert!(function.line());
        let (seen, outcomes) = rig.interrupt().unwrap();
        assert_eq!((seen.completions, outcomes[0].token), (1, token));
        assert!(!function.line());
        assert_eq!(rig.finish().interrupts.spurious, 0);
    });
}

#[test]
fn the_interrupt_of_another_device_on_the_line_is_told_apart() {
    every_ring(|config| {
        let (mut rig, _) = Rig::<N, TestPci>::on_pci(config);
        let (seen, outcomes) = rig.interrupt().unwrap();
        assert!(seen.config.is_none() && outcomes.is_empty());
        assert_eq!(rig.finish().interrupts.spurious, 1);
    });
}

#[test]
fn a_resize_comes_by_the_line() {
    every_ring(|config| {
        let (mut rig, function) = Rig::<N, TestPci>::on_pci(config);
        rig.model.resize(77);
        assert!(function.line());
        let change = rig.interrupt().unwrap().0.config.unwrap();
        assert_eq!(change.limits.capacity, Sector(77));
        rig.finish();
    });
}

// Shows LEG-D-07.
#[test]
fn a_legacy_device_needs_a_queue_of_its_size() {
    let start = |options: &DiskOptions| {
        let model = Model::new(ModelConfig::legacy());
        let function = model.on_pci(PciForm::Legacy, 0);
        let started = Rig::<N, TestPci>::on_transport(model, pci_transport(&function), options);
        started.map(Rig::finish).map_err(|failed| failed.error)
    };
    assert!(start(&DiskOptions::default()).is_ok());
    let small = DiskOptions {
        max_queue_size: QueueSize::new(128).unwrap(),
        ..DiskOptions::default()
    };
    let error = start(&small).map(|_| ()).unwrap_err();
    assert_eq!(error, InitError::Queue(QueueSetupError::SizeFixed));
}

#[test]
fn one_type_serves_both_buses() {
    for over_pci in [false, true] {
        let model = Model::new(ModelConfig::modern());
        let transport = if over_pci {
            EitherTransport::Second(pci_transport(&model.on_pci(PciForm::Modern, 0)))
        } else {
            EitherTransport::First(virtio_mmio::probe(model.registers()).device().unwrap())
        };
        let mut dma = model.dma();
        let options = DiskOptions::default();
        let mut disk = virtio_blk::Disk::<_, common::Scatter, u32, 16>::start(
            transport,
            &mut dma,
            &options,
            &mut PollLimit::default(),
        )
        .unwrap();
        disk.submit(Request::flush(7)).unwrap();
        disk.notify();
        model.process(usize::MAX);
        let mut tokens = Vec::new();
        let polled = disk.poll(|completion| tokens.push((completion.token, completion.result)));
        assert_eq!(polled, Ok(1));
        assert_eq!(tokens, [(7, Ok(Answer::Done))]);
        let ended = disk.shut_down(&mut dma, &mut PollLimit::default(), |_| ());
        assert!(ended.is_ok());
        model.assert_clean();
    }
}

/// Two requests are in flight when the function goes after `accesses` accesses; the driver then polls and shuts down. Whether all
/// of it came to its end before.
fn removed_after(config: &ModelConfig, accesses: u64) -> bool {
    let model = Model::new(config.clone());
    let function = model.on_pci(
        if config.interface == virtio_core::Interface::Legacy {
            PciForm::Legacy
        } else {
            PciForm::Modern
        },
        3,
    );
    let transport = pci_transport(&function);
    model.go_away_after(accesses);
    let mut rig = match Rig::<N, TestPci>::on_transport(model.clone(), transport, &DiskOptions::default()) {
        Ok(rig) => rig,
        Err(failed) => {
            assert_eq!(failed.error, InitError::Gone, "after {accesses}");
            assert_eq!(model.allocations(), 0, "memory was lost after {accesses}");
            return false;
        }
    };
    let content = pattern(accesses, 1024);
    rig.submit_write(8, &content, &[1024]);
    rig.submit_read(20, &[512]);
    rig.disk.notify();
    model.process(1);
    let mut done = rig.poll().map_or(0, |outcomes| outcomes.len());
    let _ = rig.interrupt().map(|(_, outcomes)| done += outcomes.len());
    // Counts that each request comes back once, and that all memory does.
    let (transport, _, aborted) = rig.abandon();
    assert_eq!(done + aborted.len(), 2);
    let aborted_only = |result| result == Err(IoError::Aborted);
    assert!(
        aborted.iter().all(|outcome| aborted_only(outcome.result)),
        "{aborted:?}"
    );
    !model.is_gone() && transport.status().is_ok()
}

#[test]
fn a_function_that_goes_at_any_access_loses_no_request_and_no_memory() {
    for config in [ModelConfig::modern(), ModelConfig::legacy()] {
        let mut accesses = 0;
        while !removed_after(&config, accesses) {
            accesses += 1;
            assert!(accesses < 2000, "the run has an end");
        }
        assert!(accesses > 50, "{accesses}");
    }
}

/// A device with two queues, on these vectors of its own, and the table that makes them fire.
fn with_vectors(vectors: u16) -> (Model, ModelFunction, TestPci, Option<MsixTable<ModelBar>>, VectorPlan) {
    let model = Model::new(ModelConfig {
        queues: 2,
        ..ModelConfig::modern().offer(feature::MQ)
    });
    let function = model.on_pci(PciForm::Modern, vectors);
    let mut transport = pci_transport(&function);
    let mut table = transport.open_msix(&mut function.clone()).ok();
    let plan = VectorPlan::new(transport.vectors(), 2);
    for vector in 0..plan.vectors() {
        // SAFETY: the model writes messages nowhere.
        let message = unsafe { MsiMessage::new(0x2800_0000, 100 + u32::from(vector)) };
        let table = table.as_mut().expect("a plan has vectors only if the device does");
        table.set(InterruptVector(vector), message).unwrap();
    }
    (model, function, transport, table, plan)
}

#[test]
fn each_queue_interrupts_by_its_vector_and_fewer_are_shared() {
    // The vectors of the device, and the messages of queue 0, of queue 1 and of the configuration.
    for (vectors, messages) in [
        (3, [101, 102, 100]),
        (8, [101, 102, 100]),
        (2, [101, 101, 100]),
        (1, [100, 100, 100]),
    ] {
        let (model, function, transport, _table, plan) = with_vectors(vectors);
        let mut places = [const { None }; 2];
        let mut control = DeviceControl::start(
            transport,
            &mut model.dma(),
            &DiskOptions::default(),
            Vectors {
                config: plan.config(),
                queue: &|queue| plan.queue(queue),
            },
            &mut PollLimit::default(),
            &mut places,
        )
        .unwrap();
        let mut queues: Vec<RequestQueue<_, common::Scatter, u32, 16>> = places.into_iter().flatten().collect();
        for (queue, expected) in queues.iter_mut().zip(messages) {
            queue.drain(|_| ()).unwrap();
            queue.submit(Request::flush(5)).unwrap();
            queue.notify();
            model.process(usize::MAX);
            assert_eq!(function.take_messages(), [(0x2800_0000, expected)]);
            let mut tokens = Vec::new();
            queue.poll(|completion| tokens.push(completion.token)).unwrap();
            assert_eq!(tokens, [5]);
        }
        model.resize(4096);
        assert_eq!(function.take_messages(), [(0x2800_0000, messages[2])]);
        let source = InterruptSource::Vector(plan.config().unwrap());
        let change = control.on_interrupt(source, || false).config.unwrap();
        assert_eq!(change.limits.capacity, Sector(4096));
        assert!(!function.line(), "the line is not used");
        let (rest, _) = common::shut_down(&model, control, queues);
        assert!(rest.is_empty());
        model.assert_clean();
    }
}

#[test]
fn a_refused_vector_is_answered_with_fewer() {
    let (model, function, mut transport, mut table, mut plan) = with_vectors(3);
    // The second vector is all that works.
    function.refuse_vectors(&[0, 2]);
    let mut tries = Vec::new();
    let control = loop {
        let vectors = Vectors {
            config: plan.config(),
            queue: &|queue| plan.queue(queue),
        };
        let mut places: [Option<RequestQueue<_, common::Scatter, u32, 16>>; 1] = [None];
        let (dma, wait) = (&mut model.dma(), &mut PollLimit::default());
        match DeviceControl::start(transport, dma, &DiskOptions::default(), vectors, wait, &mut places) {
            Ok(control) => break (control, places),
            Err(failed) => {
                tries.push((plan.vectors(), failed.error));
                transport = failed.transport;
                plan = plan.fewer().expect("without vectors it starts");
                if let Some(table) = table.take_if(|_| plan.vectors() == 0) {
                    transport.close_msix(table).expect("the table of this device");
                }
            }
        }
    };
    let refused = InitError::Queue(QueueSetupError::VectorRefused);
    assert_eq!(tries, [3, 2, 1].map(|vectors| (vectors, refused)));
    assert_eq!(plan, VectorPlan::without_vectors());
    let (mut control, [place]) = control;
    let mut queue = place.unwrap();
    queue.drain(|_| ()).unwrap();
    queue.submit(Request::flush(5)).unwrap();
    queue.notify();
    model.process(usize::MAX);
    assert!(function.line(), "interrupts come by the line");
    let mut tokens = Vec::new();
    let seen = control.on_interrupt(InterruptSource::Line, || {
        queue.drain(|completion| tokens.push(completion.token)).unwrap() > 0
    });
    assert!(seen.config.is_none() && !function.line());
    assert_eq!(tokens, [5]);
    common::shut_down(&model, control, [queue]);
    model.assert_clean();
}

#[test]
fn one_queue_is_reset_over_pci() {
    let model = Model::new(ModelConfig {
        queues: 2,
        ring_reset: RingReset::After(2),
        ..ModelConfig::modern().offer(feature::MQ)
    });
    let function = model.on_pci(PciForm::Modern, 0);
    let options = DiskOptions {
        ring_reset: true,
        ..DiskOptions::default()
    };
    let (mut places, transport) = ([const { None }; 2], pci_transport(&function));
    let (dma, wait) = (&mut model.dma(), &mut PollLimit(9));
    let mut control = DeviceControl::start(transport, dma, &options, Vectors::NONE, wait, &mut places).unwrap();
    let [Some(mut stuck), Some(mut other)]: [Option<RequestQueue<_, common::Scatter, u32, 16>>; 2] = places else {
        panic!("two queues");
    };
    for queue in [&mut stuck, &mut other] {
        for token in 0..3 {
            queue.submit(Request::flush(token)).unwrap();
        }
        queue.notify();
    }
    let mut back = Vec::new();
    let mut stuck = control
        .reset_queue(stuck, wait, |completion| {
            assert_eq!(completion.result, Err(IoError::Aborted));
            back.push(completion.into_request());
        })
        .unwrap();
    assert_eq!((back.len(), model.counters().queue_resets), (3, 1));
    for request in back {
        stuck.submit(request).unwrap();
    }
    stuck.notify();
    model.process(usize::MAX);
    for queue in [&mut stuck, &mut other] {
        let mut tokens = Vec::new();
        queue.poll(|completion| tokens.push(completion.token)).unwrap();
        assert_eq!(tokens, [0, 1, 2]);
    }
    common::shut_down(&model, control, [stuck, other]);
    model.assert_clean();
}
