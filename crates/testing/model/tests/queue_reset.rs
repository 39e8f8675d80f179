//! The reset of one queue, as VirtIO 1.2 and later have it.

mod common;

use common::*;
use virtio_blk_model::{ModelConfig, RingReset, feature};
use virtio_mmio::RegisterAccess;

const QUEUE_READY: u32 = 0x044;
const QUEUE_RESET: u32 = 0x0C0;

/// A live device with the register for the reset of a queue.
fn resettable(ring_reset: RingReset) -> Driver {
    let config = ModelConfig {
        ring_reset,
        ..ModelConfig::modern()
    };
    Driver::up(config, USUAL | feature::RING_RESET)
}

#[test]
fn a_queue_that_was_reset_is_forgotten_and_can_be_set_up_anew() {
    let mut driver = resettable(RingReset::After(2));
    driver.chain(0, GET_ID, 0, &[], 20);
    driver.publish(0);
    driver.notify();
    assert_eq!(driver.model.pending(), 1);
    driver.regs.write_u32(QUEUE_RESET, 1);
    assert!(driver.model.exposes(driver.table, 16), "not before it is over");
    let reads = [1, 1, 0, 0];
    assert_eq!(reads.map(|_| driver.regs.read_u32(QUEUE_RESET)), reads);
    assert_eq!((driver.model.pending(), driver.model.process(9)), (0, 0));
    assert!(!driver.model.exposes(driver.table, 16));
    assert_eq!(driver.regs.read_u32(QUEUE_READY), 0);
    assert_eq!(driver.model.counters().queue_resets, 1);

    driver.place_queue(16);
    driver.enable_queue();
    assert_eq!(driver.request(GET_ID, 0, &[], 20).0, 0);
    driver.model.assert_clean();
}

#[test]
fn a_device_without_the_register_refuses_the_feature() {
    let driver = Driver::probe(ModelConfig::modern());
    driver.greet();
    assert!(!driver.accept(USUAL | feature::RING_RESET));
}

#[test]
fn a_driver_that_does_not_wait_for_the_end_is_caught() {
    let driver = resettable(RingReset::After(1));
    driver.regs.write_u32(QUEUE_RESET, 1);
    driver.regs.write_u32(0x038, 16);
    assert!(driver.model.violations().iter().any(|v| v.id == "VQR-D-01"));
}

#[test]
fn a_driver_that_does_not_repeat_the_set_up_is_caught() {
    let driver = resettable(RingReset::After(0));
    driver.regs.write_u32(QUEUE_RESET, 1);
    assert_eq!(driver.regs.read_u32(QUEUE_RESET), 0);
    driver.regs.write_u32(0x038, 16);
    driver.regs.write_u32(QUEUE_READY, 1);
    assert_eq!(driver.model.violations()[0].id, "MMIO-N-05");
}
