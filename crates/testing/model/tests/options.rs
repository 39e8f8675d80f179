//! Options and faults that random tests rely on, so that no test of a driver fails when they have no effect.

mod common;

use common::*;
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_blk_model::{AtDriverOk, ModelConfig, Notifications, Service, StartFault, feature};
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
        StartFault::UsedIndex(300),
    ]);
    driver.greet();
    assert!(driver.accept(USUAL));
    assert_eq!(driver.regs.read_u32(QUEUE_SIZE_MAX), 0);
    assert_eq!(driver.regs.read_u32(QUEUE_SIZE_MAX), 256);
    driver.greet();
    assert!(!driver.accept(USUAL));
    for (broken, used) in [(true, 0), (false, 300), (false, 0)] {
        driver.start();
        let status = driver.model.status();
        assert_eq!(status.contains(DeviceStatus::DEVICE_NEEDS_RESET), broken);
        assert_eq!(driver.get16(driver.used + 2), used);
    }
    assert_eq!(driver.request(OUT, 0, &content(1, 7), 0).0, 0);
    driver.model.assert_clean();
}

#[test]
fn a_held_reset_does_not_begin_and_the_device_works_on() {
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
    // The reset begins when the driver asks again.
    driver.model.hold_resets(false);
    assert_ne!(driver.regs.read_u32(STATUS), 0);
    driver.status(0);
    assert_eq!(driver.regs.read_u32(STATUS), 0);
    assert!(!driver.model.exposes(data, 512));
    driver.model.assert_clean();
}

#[test]
fn a_restless_configuration_changes_its_generation() {
    let driver = Driver::usual();
    let look = || driver.regs.read_u32(GENERATION);
    for restless in [false, true, false] {
        driver.model.set_restless(restless);
        assert_eq!(look() != look(), restless);
    }
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
fn writes_are_done_by_half_or_never_returned() {
    let mut driver = Driver::usual();
    let faults = FaultScript::new().at(0, FaultKind::Half(1)).at(1, FaultKind::Swallowed);
    driver.model.set_fault(faults);
    assert_eq!(driver.request(OUT, 0, &content(2, 7), 0).0, 1);
    let half = driver.model.read_disk(0, 2);
    assert_eq!((&half[..512], &half[512..]), (&content(2, 7)[..512], &[0; 512][..]));
    driver.chain(0, OUT, 4, &content(1, 8), 0);
    driver.serve(0);
    assert_eq!(driver.used(), None);
    assert_eq!(driver.model.read_disk(4, 1), content(1, 8));
    assert_eq!(driver.model.complete_held(), 0);
}

#[test]
fn a_failed_flush_forgets_dirty_sectors() {
    for (forgets, left) in [(false, 0), (true, 1)] {
        let config = ModelConfig {
            failed_flush_forgets: forgets,
            ..ModelConfig::modern()
        };
        let mut driver = Driver::up(config, USUAL);
        driver.model.set_fault(FaultScript::new().at(1, FaultKind::Status(1)));
        for (kind, data, status) in [(OUT, content(1, 7), 0), (FLUSH, vec![], 1), (FLUSH, vec![], 0)] {
            assert_eq!(driver.request(kind, 0, &data, 0).0, status);
        }
        assert_eq!(driver.model.unflushed_sectors(), left);
        let mut seen = Vec::new();
        let visit = |sector, contents: &[&[u8; 512]]| seen.push((sector, contents.len()));
        driver.model.visit_unflushed(visit);
        assert_eq!(seen, [(0, 2)][..left]);
        driver.model.power_cut_with(|_, count| count - 1);
        assert_eq!(driver.model.read_disk(0, 1), content(1, 7));
    }
}

#[test]
fn any_unflushed_content_can_survive_a_power_cut() {
    let mut driver = Driver::usual();
    for seed in 1..=3 {
        driver.request(OUT, 7, &content(1, seed), 0);
    }
    driver.model.power_cut_with(|_, count| count - 2);
    assert_eq!(driver.model.read_disk(7, 1), content(1, 2));
    assert_eq!(driver.model.unflushed_sectors(), 0);
}

#[test]
fn fields_that_the_driver_must_ignore_mislead() {
    let driver = Driver::up(ModelConfig::modern(), USUAL | feature::EVENT_IDX);
    assert_eq!(driver.get16(driver.used) & 1, 1, "a flag that asks for no notification");
    let config = ModelConfig {
        notifications: Notifications::Never,
        ..ModelConfig::modern()
    };
    let driver = Driver::up(config, USUAL);
    assert_eq!(driver.get16(driver.used + 4 + 8 * 16), 0x5A5A, "an event index");
}

#[test]
fn a_device_that_saw_a_request_is_owed_no_notification() {
    let mut driver = Driver::up(ModelConfig::modern(), USUAL | feature::EVENT_IDX);
    driver.chain(0, FLUSH, 0, &[], 0);
    driver.chain(4, FLUSH, 0, &[], 0);
    driver.publish(0);
    driver.notify();
    // The event index asked for the first one only, so the second one goes out without a notification.
    driver.publish(4);
    driver.model.expect_notified();
    for _ in 0..2 {
        assert_eq!(driver.model.process(1), 1);
        driver.model.expect_notified();
    }
    driver.model.assert_clean();
}

#[test]
fn indices_wrap_around() {
    for extra in [0, feature::EVENT_IDX] {
        let mut driver = Driver::up(ModelConfig::modern(), USUAL | extra);
        driver.model.set_service(Service::OnNotify);
        driver.chain(0, FLUSH, 0, &[], 0);
        for _ in 0..70_000u32 {
            driver.publish(0);
            driver.notify();
            assert_eq!(driver.used(), Some((0, 1)));
        }
        assert_eq!(driver.model.counters().unneeded_notifies, 0);
        driver.model.assert_clean();
    }
}
