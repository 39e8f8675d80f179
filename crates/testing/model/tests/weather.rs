//! The options that make a device misbehave at starts, at resets and when the power fails.

mod common;

use common::*;
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_blk_model::{AtDriverOk, ModelConfig, StartFault};
use virtio_core::DeviceStatus;
use virtio_mmio::RegisterAccess;

const STATUS: u32 = 0x070;
const QUEUE_SIZE_MAX: u32 = 0x034;
const GENERATION: u32 = 0x0FC;

#[test]
fn start_faults_happen_once_each_and_in_order() {
    let mut driver = Driver::usual();
    driver.model.set_start_faults([
        StartFault::NoQueue,
        StartFault::FeaturesRefused,
        StartFault::AtDriverOk(AtDriverOk::NeedsReset),
    ]);
    driver.greet();
    assert!(driver.accept(USUAL));
    assert_eq!(driver.regs.read_u32(QUEUE_SIZE_MAX), 0);
    assert_eq!(driver.regs.read_u32(QUEUE_SIZE_MAX), 256);

    driver.greet();
    assert!(!driver.accept(USUAL));
    driver.greet();
    assert!(driver.accept(USUAL));
    driver.place_queue(8);
    driver.enable_queue();
    driver.live();
    assert!(driver.model.status().contains(DeviceStatus::DEVICE_NEEDS_RESET));

    driver.greet();
    assert!(driver.accept(USUAL));
    driver.place_queue(8);
    driver.enable_queue();
    driver.live();
    assert!(!driver.model.status().contains(DeviceStatus::DEVICE_NEEDS_RESET));
    assert_eq!(driver.request(OUT, 0, &content(1, 7), 0).0, 0);
    driver.model.assert_clean();
}

#[test]
fn the_used_index_moves_at_a_start_and_nothing_was_used() {
    let mut driver = Driver::usual();
    driver.model.set_start_faults([StartFault::UsedIndex(300)]);
    driver.greet();
    assert!(driver.accept(USUAL));
    driver.place_queue(8);
    driver.enable_queue();
    driver.live();
    assert_eq!(driver.get16(driver.used + 2), 300);
}

#[test]
fn a_reset_that_is_held_does_not_begin_and_the_device_works_on() {
    let mut driver = Driver::usual();
    let (data, _) = driver.chain(0, IN, 0, &[], 512);
    driver.model.write_disk(0, &content(1, 9));
    driver.publish(0);
    driver.notify();
    driver.model.hold_resets(true);
    driver.status(0);
    assert_ne!(driver.regs.read_u32(STATUS), 0);
    assert!(driver.model.exposes(data, 512));
    driver.model.process(1);
    assert_eq!(driver.get(data, 512), content(1, 9));
    // It begins when it is asked for again.
    driver.model.hold_resets(false);
    assert_ne!(driver.regs.read_u32(STATUS), 0);
    driver.status(0);
    assert_eq!(driver.regs.read_u32(STATUS), 0);
    assert!(!driver.model.exposes(data, 512));
    driver.model.assert_clean();
}

#[test]
fn a_restless_configuration_has_another_generation_at_each_look() {
    let driver = Driver::usual();
    let look = || driver.regs.read_u32(GENERATION);
    assert_eq!(look(), look());
    driver.model.set_restless(true);
    assert_ne!(look(), look());
    driver.model.set_restless(false);
    assert_eq!(look(), look());
}

#[test]
fn a_disk_comes_back_read_only_after_a_reset() {
    let mut driver = Driver::usual();
    driver.model.set_read_only_after_reset(true);
    assert_eq!(driver.request(OUT, 0, &content(1, 7), 0).0, 0);
    driver.greet();
    driver.regs.write_u32(0x014, 0);
    assert_ne!(driver.regs.read_u32(0x010) & 1 << 5, 0);
    driver.model.assert_clean();
}

#[test]
fn half_of_a_write_is_on_the_disk_and_a_swallowed_one_is_never_returned() {
    let mut driver = Driver::usual();
    let faults = FaultScript::new().at(0, FaultKind::Half(1)).at(1, FaultKind::Swallowed);
    driver.model.set_fault(faults);
    assert_eq!(driver.request(OUT, 0, &content(2, 7), 0).0, 1);
    let (_, first) = (driver.chain(0, OUT, 4, &content(1, 8), 0), driver.model.read_disk(0, 2));
    assert_eq!((&first[..512], &first[512..]), (&content(2, 7)[..512], &[0; 512][..]));
    driver.serve(0);
    assert_eq!(driver.used(), None);
    assert_eq!(driver.model.read_disk(4, 1), content(1, 8));
    assert_eq!(driver.model.complete_held(), 0);
}

#[test]
fn a_failed_flush_forgets_what_it_could_not_write() {
    for (forgets, left) in [(false, 0), (true, 1)] {
        let config = ModelConfig {
            failed_flush_forgets: forgets,
            ..ModelConfig::modern()
        };
        let mut driver = Driver::up(config, USUAL);
        driver.model.set_fault(FaultScript::new().at(1, FaultKind::Status(1)));
        assert_eq!(driver.request(OUT, 0, &content(1, 7), 0).0, 0);
        assert_eq!(driver.request(FLUSH, 0, &[], 0).0, 1);
        assert_eq!(driver.request(FLUSH, 0, &[], 0).0, 0);
        assert_eq!(driver.model.unflushed_sectors(), left);
        let mut seen = Vec::new();
        driver
            .model
            .visit_unflushed(|sector, contents| seen.push((sector, contents.len())));
        assert_eq!(seen.len(), left);
        driver.model.power_cut_with(|_, count| count - 1);
        assert_eq!(driver.model.read_disk(0, 1), content(1, 7));
    }
}
