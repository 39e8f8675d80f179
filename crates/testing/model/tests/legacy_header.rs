//! What only the header of a legacy request has: a priority, and the barrier bit.

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use virtio_blk_model::faults::{Fault, RequestInfo, Verdict};
use virtio_blk_model::{CompletionOrder, ModelConfig, feature};

const BARRIER: u32 = 1 << 31;

/// Notes sector, priority and barrier of each request in the order in which they are carried out.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<(u64, u32, bool)>>>);

impl Fault for Notes {
    fn before_service(&mut self, request: &RequestInfo) -> Verdict {
        let note = (request.sector, request.priority, request.barrier);
        self.0.lock().unwrap().push(note);
        Verdict::Serve
    }
}

#[test]
fn nothing_overtakes_a_barrier() {
    let config = ModelConfig {
        order: CompletionOrder::Reverse,
        ..ModelConfig::legacy().offer(feature::BARRIER)
    };
    let mut driver = Driver::up(config, feature::BARRIER);
    let notes = Notes::default();
    driver.model.set_fault(notes.clone());
    for (n, kind) in [IN, IN, IN | BARRIER, IN, IN].into_iter().enumerate() {
        driver.chain(3 * n as u16, kind, n as u64, &[], 512);
        driver.publish(3 * n as u16);
    }
    driver.notify();
    driver.model.process(usize::MAX);
    let order = [1, 0, 2, 4, 3].map(|sector| (sector, 0, sector == 2));
    assert_eq!(*notes.0.lock().unwrap(), order);
    driver.model.assert_clean();
}

#[test]
fn a_barrier_needs_the_feature() {
    let mut driver = Driver::up(ModelConfig::legacy().offer(feature::BARRIER), 0);
    driver.request(IN | BARRIER, 0, &[], 512);
    assert_eq!(driver.model.violations()[0].id, "LEG-N-18");
}

#[test]
fn the_priority_is_told_on_a_legacy_device_only() {
    for (config, id) in [(ModelConfig::legacy(), None), (ModelConfig::modern(), Some("BLK-N-07"))] {
        let accepted = if id.is_none() { 0 } else { USUAL };
        let mut driver = Driver::up(config, accepted);
        let notes = Notes::default();
        driver.model.set_fault(notes.clone());
        driver.chain(0, IN, 0, &[], 512);
        let header = u64::from_le_bytes(driver.get(driver.table, 8).try_into().unwrap());
        driver.put(header + 4, &7u32.to_le_bytes());
        driver.serve(0);
        assert_eq!(*notes.0.lock().unwrap(), [(0, 7, false)]);
        let violations = driver.model.violations();
        assert_eq!(violations.first().map(|violation| violation.id), id);
    }
}
