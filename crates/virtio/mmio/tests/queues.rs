//! How a queue is set up and taken away: the exact register traffic of both versions.

mod common;

use common::{Script, Seen, Seen::*, queue_of_eight};
use virtio_core::{
    DeviceAddr, InterruptVector, PollLimit, QueueIndex, QueueSetup, QueueSetupError, QueueSize, Transport,
};

const BASE: u64 = 0x8020_0000;
const PAGE: u32 = 0x8_0200;

#[test]
fn a_legacy_queue_is_set_up_in_order() {
    let device = Script::block(1).answer(0x040, &[0, PAGE]).answer(0x034, &[1024]);
    let log = vec![
        Write32(0x028, 4096),
        Write32(0x030, 1),
        Read32(0x040),
        Read32(0x034),
        Write32(0x038, 8),
        Write32(0x03C, 4096),
        Write32(0x040, PAGE),
        Read32(0x040),
    ];
    assert_eq!(device.enable(1, &queue_of_eight(BASE)), (Ok(()), log));
}

#[test]
fn a_modern_queue_gets_both_address_halves_in_order() {
    // A high half is written even if it is zero.
    for high in [0, 1] {
        let device = Script::block(2).answer(0x044, &[0, 1]).answer(0x034, &[1024]);
        let setup = QueueSetup {
            device_area: DeviceAddr(0x9_0000_4000),
            ..queue_of_eight(u64::from(high) << 32 | BASE)
        };
        let log = vec![
            Write32(0x030, 3),
            Read32(0x044),
            Read32(0x034),
            Write32(0x038, 8),
            Write32(0x080, 0x8020_0000),
            Write32(0x084, high),
            Write32(0x090, 0x8020_0080),
            Write32(0x094, high),
            Write32(0x0A0, 0x4000),
            Write32(0x0A4, 9),
            Write32(0x044, 1),
            Read32(0x044),
        ];
        assert_eq!(device.enable(3, &setup), (Ok(()), log));
    }
}

/// The accesses before the size of a queue is looked at, on a device of this version.
fn first_accesses(version: u32) -> Vec<common::Seen> {
    match version {
        1 => vec![Write32(0x028, 4096), Write32(0x030, 0), Read32(0x040)],
        _ => vec![Write32(0x030, 0), Read32(0x044)],
    }
}

/// The last look after a refusal: the device might be gone.
const IS_THERE: Seen = Read32(0x000);

// Shows MMIO-D-17.
#[test]
fn a_queue_in_use_is_left_alone() {
    for (version, register) in [(1, 0x040), (2, 0x044)] {
        let device = Script::block(version).answer(register, &[1]).answer(0x034, &[1024]);
        let in_use = Err(QueueSetupError::InUse);
        assert_eq!(
            device.enable(0, &queue_of_eight(BASE)),
            (in_use, [first_accesses(version), vec![IS_THERE]].concat())
        );
    }
}

// Shows MMIO-D-16.
#[test]
fn a_queue_that_is_missing_or_too_small_is_refused() {
    for version in [1, 2] {
        for (max, error) in [(0, QueueSetupError::NoSuchQueue), (4, QueueSetupError::TooLarge)] {
            let device = Script::block(version).answer(0x034, &[max]);
            let log = [first_accesses(version), vec![Read32(0x034), IS_THERE]].concat();
            assert_eq!(device.enable(0, &queue_of_eight(BASE)), (Err(error), log));
        }
    }
}

#[test]
fn the_size_of_a_legacy_queue_is_read_only_while_it_is_free() {
    let device = Script::block(1).answer(0x034, &[1024]).answer(0x040, &[0, PAGE]);
    let mut transport = device.transport();
    assert_eq!(transport.max_queue_size(QueueIndex(0)), Ok(1024));
    assert_eq!(device.log(), [Write32(0x030, 0), Read32(0x040), Read32(0x034)]);
    assert_eq!(transport.max_queue_size(QueueIndex(0)), Ok(0));
    assert_eq!(device.log(), [Write32(0x030, 0), Read32(0x040)]);

    let device = Script::block(2).answer(0x034, &[1024]);
    assert_eq!(device.transport().max_queue_size(QueueIndex(7)), Ok(1024));
    assert_eq!(device.log(), [Write32(0x030, 7), Read32(0x034)]);
}

#[test]
fn a_queue_that_is_not_taken_is_taken_back() {
    for (version, register, value) in [(1, 0x040, PAGE), (2, 0x044, 1)] {
        let device = Script::block(version).answer(register, &[0]).answer(0x034, &[8]);
        let (refused, log) = device.enable(0, &queue_of_eight(BASE));
        assert_eq!(refused, Err(QueueSetupError::NotReady));
        let end = [
            Write32(register, value),
            Read32(register),
            Write32(register, 0),
            IS_THERE,
        ];
        assert_eq!(log[log.len() - 4..], end);
    }
}

#[test]
fn bad_addresses_and_vectors_are_refused_before_any_access() {
    let good = queue_of_eight(BASE);
    let descriptors_at = |base| QueueSetup {
        descriptor_table: DeviceAddr(base),
        ..good
    };
    let driver_area_at = |base| QueueSetup {
        driver_area: DeviceAddr(base),
        ..good
    };
    let device_area_at = |base, legacy_align| QueueSetup {
        device_area: DeviceAddr(base),
        legacy_align,
        ..good
    };
    let bad_modern = vec![
        descriptors_at(BASE + 8),
        driver_area_at(BASE + 0x81),
        device_area_at(BASE + 0x1002, 4096),
    ];
    let bad_legacy = vec![
        // Not at a page boundary.
        queue_of_eight(BASE + 0x800),
        // Page 0 means "not in use".
        queue_of_eight(0),
        // The page number has 33 bits.
        queue_of_eight(1 << 44),
        // Parts elsewhere than the device will look.
        driver_area_at(BASE + 0x90),
        device_area_at(BASE + 0x2000, 4096),
        // Alignments that are none, that do not fit the layout, or that the start does not have.
        device_area_at(BASE + 4096, 0),
        device_area_at(BASE + 4096, 4095),
        device_area_at(BASE + 4096, 64),
        device_area_at(BASE + 150, 2),
        device_area_at(0x8040_0000, 0x40_0000),
    ];
    for (version, bad) in [(1, bad_legacy), (2, bad_modern)] {
        let device = Script::block(version).answer(0x034, &[8]);
        for setup in bad {
            let refused = (Err(QueueSetupError::BadAddress), vec![]);
            assert_eq!(device.enable(0, &setup), refused, "{setup:?}");
        }
        let vector = InterruptVector(0);
        let with_vector = QueueSetup {
            vector: Some(vector),
            ..good
        };
        let refused = Err(QueueSetupError::VectorRefused);
        assert_eq!(device.enable(0, &with_vector), (refused, vec![]));
        assert_eq!(device.transport().set_config_vector(Some(vector)), refused);
        assert_eq!(device.log(), []);
    }
}

// Shows LEG-D-08.
#[test]
fn legacy_layouts_reach_the_limits_of_the_interface() {
    let base = u64::from(PAGE) * 4096;
    let largest = QueueSetup {
        size: QueueSize::MAX,
        driver_area: DeviceAddr(base + 524_288),
        device_area: DeviceAddr(base + 593_920),
        ..queue_of_eight(base)
    };
    // The driver area of eight descriptors ends at byte 150, its event word included.
    let aligned = |legacy_align, device_area| QueueSetup {
        legacy_align,
        device_area: DeviceAddr(base + device_area),
        ..queue_of_eight(base)
    };
    let last_page = queue_of_eight((1 << 44) - 4096);
    for (setup, page) in [
        (largest, PAGE),
        (aligned(64, 192), PAGE),
        (aligned(4, 152), PAGE),
        (last_page, u32::MAX),
    ] {
        let device = Script::block(1).answer(0x040, &[0, page]).answer(0x034, &[32768]);
        let (enabled, log) = device.enable(0, &setup);
        assert_eq!(enabled, Ok(()));
        assert!(log.contains(&Write32(0x03C, setup.legacy_align)));
        assert!(log.contains(&Write32(0x040, page)));
    }
}

// Shows MMIO-D-18, MMIO-D-19.
#[test]
fn a_queue_is_disabled_by_zero_and_a_look() {
    for (ready, result) in [(0, Ok(())), (1, Err(QueueSetupError::NotReady))] {
        let device = Script::block(2).answer(0x044, &[ready]);
        assert_eq!(
            device.transport().disable_queue(QueueIndex(2), &mut PollLimit(0)),
            result
        );
        assert_eq!(device.log(), [Write32(0x030, 2), Write32(0x044, 0), Read32(0x044)]);
    }
    // On a legacy interface that might reset the device.
    let device = Script::block(1);
    let refused = Err(QueueSetupError::NotReady);
    assert_eq!(
        device.transport().disable_queue(QueueIndex(0), &mut PollLimit(9)),
        refused
    );
    assert_eq!(device.log(), []);
}
