//! The class of a request and the barrier bit, in the header for a legacy device.

mod common;

use std::sync::{Arc, Mutex};

use common::{Rig, TestRequest, every_legacy, every_modern, narrow, pattern, start_queue};
use virtio_blk::proto::Sector;
use virtio_blk::{Class, Request, SubmitError};
use virtio_blk_model::faults::{Fault, RequestInfo, Verdict};
use virtio_blk_model::{CompletionOrder, Model, ModelConfig, feature};

/// Notes sector, priority and barrier of each request in the order in which they are carried out.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<(u64, u32, bool)>>>);

impl Notes {
    fn of(model: &Model) -> Self {
        let notes = Self::default();
        model.set_fault(notes.clone());
        notes
    }

    fn take(&self) -> Vec<(u64, u32, bool)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Fault for Notes {
    fn before_service(&mut self, request: &RequestInfo) -> Verdict {
        let note = (request.sector, request.priority, request.barrier);
        self.0.lock().unwrap().push(note);
        Verdict::Serve
    }
}

/// Reads of one sector each, by [`RequestQueue::submit_as`], for several rounds, so that chains are used again.
fn priorities(config: ModelConfig) -> Vec<(u64, u32, bool)> {
    let model = Model::new(config);
    let notes = Notes::of(&model);
    let (control, mut queue) = start_queue::<16>(&model);
    let mut dma = model.dma();
    for round in 0..4 {
        for (sector, class) in [(0, Class::Foreground), (1, Class::Background), (2, Class::Foreground)] {
            let buffer = common::Scatter::new(&mut dma, &[512]);
            let request: TestRequest = Request::read(Sector(10 * round + sector), buffer, 0);
            queue.submit_as(class, request).unwrap();
        }
        queue.notify();
        model.process(usize::MAX);
        let done = queue.poll(|completion| {
            assert!(completion.result.is_ok());
            completion.buffer.unwrap().release(&mut model.dma());
        });
        assert_eq!(done, Ok(3));
    }
    common::shut_down(&model, control, [queue]);
    model.assert_clean();
    notes.take()
}

#[test]
fn the_priority_of_a_legacy_request_is_its_class() {
    let expected = |urgent| -> Vec<_> {
        let sectors = (0..4u64).flat_map(|round| [0, 1, 2].map(|sector| 10 * round + sector));
        let priority = |sector| if sector % 10 == 1 { 0 } else { urgent };
        sectors.map(|sector| (sector, priority(sector), false)).collect()
    };
    every_legacy(|config| assert_eq!(priorities(config), expected(1)));
    every_modern(|config| assert_eq!(priorities(config), expected(0)));
}

#[test]
fn every_part_of_a_transfer_has_its_class() {
    let model = Model::new(narrow(ModelConfig::legacy()));
    let notes = Notes::of(&model);
    let (control, mut queue) = start_queue::<4>(&model);
    let buffer = common::Scatter::new(&mut model.dma(), &[8 * 512]);
    queue
        .submit_as(Class::Background, Request::read(Sector(0), buffer, 0))
        .unwrap();
    queue.notify();
    while queue.in_flight() > 0 {
        model.process(usize::MAX);
        queue
            .poll(|completion| completion.buffer.unwrap().release(&mut model.dma()))
            .unwrap();
    }
    let parts: Vec<_> = (0..8).map(|sector| (sector, 0, false)).collect();
    assert_eq!(notes.take(), parts);
    common::shut_down(&model, control, [queue]);
    model.assert_clean();
}

#[test]
fn nothing_overtakes_a_barrier() {
    every_legacy(|config| {
        let mut rig = Rig::<16>::new(ModelConfig {
            order: CompletionOrder::Reverse,
            ..config.offer(feature::BARRIER)
        });
        assert!(rig.disk.limits().barrier);
        let notes = Notes::of(&rig.model);
        let content = pattern(1, 512);
        for sector in 0..5 {
            let request = rig.write_request(sector, &content, &[512]);
            if sector == 2 {
                rig.submit_barrier(request);
            } else {
                rig.submit(request);
            }
        }
        rig.settle();
        let order = [1, 0, 2, 4, 3].map(|sector| (sector, 1, sector == 2));
        assert_eq!(notes.take(), order);
        // The chain of the barrier is not used for a plain request.
        rig.write(2, &content);
        assert_eq!(notes.take(), [(2, 1, false)]);
        rig.finish();
    });
}

#[test]
fn a_barrier_is_refused_by_a_device_without_them() {
    for config in [ModelConfig::legacy(), ModelConfig::modern().offer(feature::BARRIER)] {
        let model = Model::new(config);
        let (control, mut queue) = start_queue::<16>(&model);
        assert!(!queue.limits().barrier);
        assert_eq!(model.accepted().low() & feature::BARRIER, 0);
        let rejected = queue.submit_barrier(Request::flush(1)).unwrap_err();
        assert_eq!(rejected.error, SubmitError::Unsupported);
        common::shut_down(&model, control, [queue]);
        model.assert_clean();
    }
}
