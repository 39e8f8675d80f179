//! Zoned devices: reports, write pointers, limits.

mod common;

use common::*;
use virtio_blk_model::{ModelConfig, feature};

/// Zone 0 is conventional; zones of 64 sectors, two open and three active at most.
fn zoned() -> Driver {
    let config = ModelConfig::modern().offer(feature::ZONED);
    Driver::up(config, USUAL & !feature::DISCARD | feature::ZONED)
}

const APPEND: u32 = 15;
const REPORT: u32 = 16;
const OPEN: u32 = 18;
const CLOSE: u32 = 20;
const FINISH: u32 = 22;
const RESET: u32 = 24;
const RESET_ALL: u32 = 26;

/// Write pointer and state of the zone at `sector`.
fn zone(driver: &mut Driver, sector: u64) -> (u64, u8) {
    let (status, report, _) = driver.request(REPORT, sector, &[], 128);
    assert_eq!(status, 0);
    assert_eq!(report[..8], 1u64.to_le_bytes());
    let pointer = u64::from_le_bytes(report[64 + 16..64 + 24].try_into().unwrap());
    (pointer, report[64 + 25])
}

#[test]
fn a_report_starts_at_the_zone_asked_for() {
    let mut driver = zoned();
    let (status, report, len) = driver.request(REPORT, 70, &[], 64 + 2 * 64 + 63);
    assert_eq!((status, len), (0, 64 + 2 * 64 + 1));
    assert_eq!(report[..8], 2u64.to_le_bytes());
    let zone = &report[64..128];
    assert_eq!(zone[0..8], 64u64.to_le_bytes());
    assert_eq!(zone[8..16], 64u64.to_le_bytes());
    assert_eq!((zone[24], zone[25]), (2, 1));
    driver.model.assert_clean();
}

#[test]
fn sequential_zones_are_written_at_their_pointer() {
    let mut driver = zoned();
    assert_eq!(driver.request(OUT, 66, &content(1, 0), 0).0, 4);
    assert_eq!(driver.request(OUT, 64, &content(2, 0), 0).0, 0);
    assert_eq!(zone(&mut driver, 64), (66, 2));
    assert_eq!(
        driver.request(APPEND, 64, &content(1, 5), 8),
        (0, 66u64.to_le_bytes().to_vec(), 9)
    );
    assert_eq!(driver.model.read_disk(66, 1), content(1, 5));
    // The conventional zone takes anything.
    assert_eq!(driver.request(OUT, 9, &content(1, 0), 0).0, 0);
    driver.model.assert_clean();
}

#[test]
fn zones_go_through_their_states() {
    let mut driver = zoned();
    for (kind, state) in [(OPEN, 3), (CLOSE, 1), (OPEN, 3), (FINISH, 14), (RESET, 1)] {
        assert_eq!(driver.request(kind, 64, &[], 0).0, 0, "{kind}");
        assert_eq!(zone(&mut driver, 64).1, state, "after {kind}");
    }
    driver.request(OUT, 64, &content(1, 0), 0);
    assert_eq!(driver.request(CLOSE, 64, &[], 0).0, 0);
    assert_eq!(zone(&mut driver, 64), (65, 4));
    assert_eq!(driver.request(OPEN, 0, &[], 0).0, 3, "a conventional zone");
    assert_eq!(driver.request(RESET_ALL, 0, &[], 0).0, 0);
    assert_eq!(zone(&mut driver, 64), (64, 1));
    driver.model.assert_clean();
}

#[test]
fn limits_are_kept() {
    let mut driver = zoned();
    assert_eq!(driver.request(OPEN, 64, &[], 0).0, 0);
    assert_eq!(driver.request(OPEN, 128, &[], 0).0, 0);
    assert_eq!(driver.request(OPEN, 192, &[], 0).0, 5, "no third open zone");
    driver.request(OUT, 64, &content(1, 0), 0);
    driver.request(CLOSE, 64, &[], 0);
    assert_eq!(driver.request(OPEN, 192, &[], 0).0, 0);
    assert_eq!(
        driver.request(OUT, 256, &content(1, 0), 0).0,
        6,
        "no fourth active zone"
    );
    driver.model.assert_clean();
}

#[test]
fn a_full_zone_takes_no_more() {
    let mut driver = zoned();
    assert_eq!(driver.request(OUT, 64, &content(64, 0), 0).0, 0);
    assert_eq!(zone(&mut driver, 64).1, 14);
    assert_eq!(driver.request(OUT, 64, &content(1, 0), 0).0, 3);
    assert_eq!(driver.request(APPEND, 64, &content(1, 0), 8).0, 3);
    driver.model.assert_clean();
}
