//! The options that make the model behave as other devices do.

mod common;

use common::*;
use virtio_blk_model::{AtDriverOk, ModelConfig, UsedLength, feature};
use virtio_mmio::RegisterAccess;

#[test]
fn used_lengths_are_as_the_option_says() {
    for (used_length, read, write) in [
        (UsedLength::Exact, 513, 1),
        (UsedLength::None, 0, 0),
        (UsedLength::One, 1, 1),
        (UsedLength::DataOnly, 512, 0),
        (UsedLength::TooMuch, 513 + 512 + 1024, 1 + 512 + 1024),
    ] {
        let config = ModelConfig {
            used_length,
            ..ModelConfig::modern()
        };
        let mut driver = Driver::up(config, USUAL);
        assert_eq!(driver.request(OUT, 0, &content(1, 7), 0), (0, vec![], write));
        assert_eq!(driver.request(IN, 0, &[], 512), (0, content(1, 7), read));
        driver.model.assert_clean();
    }
}

/// A device that takes one data descriptor.
fn one_data_descriptor() -> Driver {
    Driver::up(
        ModelConfig::modern().with_one_data_descriptor(),
        USUAL & !feature::SEG_MAX,
    )
}

#[test]
fn requests_with_one_data_descriptor_are_served() {
    let mut driver = one_data_descriptor();
    assert_eq!(driver.request(OUT, 3, &content(2, 1), 0), (0, vec![], 1));
    assert_eq!(driver.request(IN, 3, &[], 1024), (0, content(2, 1), 1025));
    assert_eq!(driver.request(FLUSH, 0, &[], 0), (0, vec![], 1));
    assert_eq!(driver.request(GET_ID, 0, &[], 20).0, 0);
    driver.model.assert_clean();
}

#[test]
fn the_second_piece_of_a_read_is_taken_for_the_status() {
    let mut driver = one_data_descriptor();
    driver.model.write_disk(0, &content(2, 9));
    let header = driver.header(IN, 0);
    let (first, second, status) = (driver.allocate(512), driver.allocate(512), driver.allocate(1));
    driver.put(second, &[0xAA; 512]);
    driver.put(status, &[0xFF]);
    driver.desc(0, header, 16, NEXT, 1);
    driver.desc(1, first, 512, NEXT | WRITE, 2);
    driver.desc(2, second, 512, NEXT | WRITE, 3);
    driver.desc(3, status, 1, WRITE, 0);
    driver.serve(0);
    assert_eq!(driver.used(), Some((0, 513)));
    assert_eq!(driver.get(first, 512), content(2, 9)[..512]);
    assert_eq!(driver.get(second, 2), [0, 0xAA], "the status");
    assert_eq!(driver.get(status, 1), [0xFF]);
}

#[test]
fn what_does_not_fit_comes_back_without_a_status() {
    let mut driver = one_data_descriptor();
    // The second piece of a write cannot be the status.
    let header = driver.header(OUT, 0);
    let (data, status) = (driver.allocate(1024), driver.allocate(1));
    driver.put(status, &[0xFF]);
    driver.desc(0, header, 16, NEXT, 1);
    driver.desc(1, data, 512, NEXT, 2);
    driver.desc(2, data + 512, 512, NEXT, 3);
    driver.desc(3, status, 1, WRITE, 0);
    driver.serve(0);
    assert_eq!((driver.used(), driver.get(status, 1)), (Some((0, 0)), vec![0xFF]));
    // A read without data.
    assert_eq!(driver.request(IN, 0, &[], 0), (0xFF, vec![], 0));
    assert_eq!(driver.request(IN, 0, &[], 512).0, 0, "it goes on");
}

#[test]
fn a_device_may_not_go_live() {
    for (at_driver_ok, status, interrupt) in [
        (AtDriverOk::Live, 0x0F, 0),
        (AtDriverOk::NeedsReset, 0x4F, 2),
        (AtDriverOk::Failed, 0x8F, 0),
        (AtDriverOk::Refused, 0x0B, 0),
    ] {
        let config = ModelConfig {
            at_driver_ok,
            ..ModelConfig::modern()
        };
        let driver = Driver::up(config, USUAL);
        assert_eq!(driver.regs.read_u32(0x070), status, "{at_driver_ok:?}");
        assert_eq!(driver.regs.read_u32(0x060), interrupt);
        driver.status(0);
        assert_eq!(driver.regs.read_u32(0x070), 0);
        driver.model.assert_clean();
    }
}
