//! Version 1: the exact register traffic.

mod common;

use common::{Script, Seen::*, queue_of_eight};
use virtio_core::{DeviceAddr, Features, QueueIndex, QueueNotifier, QueueSetup, QueueSetupError, QueueSize, Transport};
use virtio_mmio::MmioTransport;

fn enable(transport: &mut MmioTransport<Script>, queue: u16, setup: &QueueSetup) -> Result<(), QueueSetupError> {
    // SAFETY: the device is a script and touches no memory.
    unsafe { transport.enable_queue(QueueIndex(queue), setup) }
}

#[test]
fn a_queue_is_set_up_in_order() {
    let device = Script::block(1).answer(0x040, &[0, 0x8_0200]).answer(0x034, &[1024]);
    let mut transport = device.transport();
    assert_eq!(enable(&mut transport, 1, &queue_of_eight(0x8020_0000)), Ok(()));
    assert_eq!(
        device.log(),
        [
            Write32(0x028, 4096),
            Write32(0x030, 1),
            Read32(0x040),
            Read32(0x034),
            Write32(0x038, 8),
            Write32(0x03C, 4096),
            Write32(0x040, 0x8_0200),
            Read32(0x040),
        ]
    );
}

#[test]
fn the_largest_queue_has_the_layout_of_the_tables() {
    let pfn = 0x8_0200;
    let device = Script::block(1).answer(0x040, &[0, pfn]).answer(0x034, &[32768]);
    let base = u64::from(pfn) * 4096;
    let setup = QueueSetup {
        size: QueueSize::MAX,
        descriptor_table: DeviceAddr(base),
        driver_area: DeviceAddr(base + 524_288),
        device_area: DeviceAddr(base + 593_920),
        legacy_align: 4096,
        vector: None,
    };
    assert_eq!(enable(&mut device.transport(), 0, &setup), Ok(()));
}

#[test]
fn a_queue_in_use_is_left_alone_and_its_size_not_asked() {
    let device = Script::block(1).answer(0x040, &[0x8_0200]).answer(0x034, &[1024]);
    let mut transport = device.transport();
    assert_eq!(
        enable(&mut transport, 0, &queue_of_eight(0x8020_0000)),
        Err(QueueSetupError::InUse)
    );
    assert_eq!(device.log(), [Write32(0x028, 4096), Write32(0x030, 0), Read32(0x040)]);
    assert_eq!(transport.max_queue_size(QueueIndex(0)), 0);
    assert_eq!(device.log(), [Write32(0x030, 0), Read32(0x040)]);
}

#[test]
fn the_size_of_a_free_queue_is_asked() {
    let device = Script::block(1).answer(0x034, &[1024]);
    let mut transport = device.transport();
    assert_eq!(transport.max_queue_size(QueueIndex(0)), 1024);
    assert_eq!(device.log(), [Write32(0x030, 0), Read32(0x040), Read32(0x034)]);
}

#[test]
fn a_queue_that_is_missing_or_too_small_is_refused() {
    for (max, error) in [(0, QueueSetupError::NoSuchQueue), (4, QueueSetupError::TooLarge)] {
        let device = Script::block(1).answer(0x034, &[max]);
        assert_eq!(
            enable(&mut device.transport(), 0, &queue_of_eight(0x8020_0000)),
            Err(error)
        );
        assert!(
            !device
                .log()
                .iter()
                .any(|seen| matches!(seen, Write32(0x038 | 0x03C | 0x040, _)))
        );
    }
}

#[test]
fn a_device_that_does_not_take_the_queue_is_told_to_forget_it() {
    let device = Script::block(1).answer(0x040, &[0]).answer(0x034, &[8]);
    let mut transport = device.transport();
    assert_eq!(
        enable(&mut transport, 0, &queue_of_eight(0x8020_0000)),
        Err(QueueSetupError::NotReady)
    );
    assert_eq!(device.log().last(), Some(&Write32(0x040, 0)));
}

#[test]
fn what_the_device_could_not_work_out_is_refused_before_any_access() {
    let device = Script::block(1).answer(0x034, &[8]);
    let mut transport = device.transport();
    let good = queue_of_eight(0x8020_0000);
    let bad = [
        // Not at a page boundary.
        queue_of_eight(0x8020_0800),
        // Page 0 means "not in use".
        queue_of_eight(0),
        // The page number has 33 bits.
        queue_of_eight(1 << 44),
        // Parts elsewhere than the device will look.
        QueueSetup {
            driver_area: DeviceAddr(0x8020_0090),
            ..good
        },
        QueueSetup {
            device_area: DeviceAddr(0x8020_2000),
            ..good
        },
        // Alignments that are none, that do not fit the layout, or that the start does not have.
        QueueSetup {
            legacy_align: 0,
            ..good
        },
        QueueSetup {
            legacy_align: 4095,
            ..good
        },
        QueueSetup {
            legacy_align: 64,
            ..good
        },
        QueueSetup {
            legacy_align: 2,
            device_area: DeviceAddr(0x8020_0000 + 150),
            ..good
        },
        QueueSetup {
            legacy_align: 0x40_0000,
            device_area: DeviceAddr(0x8040_0000),
            ..good
        },
    ];
    for setup in bad {
        assert_eq!(
            enable(&mut transport, 0, &setup),
            Err(QueueSetupError::BadAddress),
            "{setup:?}"
        );
    }
    assert_eq!(device.log(), []);
}

#[test]
fn the_last_page_that_can_be_named_works() {
    let device = Script::block(1).answer(0x040, &[0, u32::MAX]).answer(0x034, &[8]);
    let mut transport = device.transport();
    assert_eq!(enable(&mut transport, 0, &queue_of_eight((1 << 44) - 4096)), Ok(()));
    assert!(device.log().contains(&Write32(0x040, u32::MAX)));
}

#[test]
fn a_smaller_alignment_moves_the_used_ring() {
    // The available ring ends at byte 150, its event word included.
    for (legacy_align, used) in [(64, 192), (4, 152)] {
        let device = Script::block(1).answer(0x040, &[0, 0x8_0200]).answer(0x034, &[8]);
        let setup = QueueSetup {
            legacy_align,
            device_area: DeviceAddr(0x8020_0000 + used),
            ..queue_of_eight(0x8020_0000)
        };
        assert_eq!(enable(&mut device.transport(), 0, &setup), Ok(()));
        assert!(device.log().contains(&Write32(0x03C, legacy_align)));
    }
}

#[test]
fn giving_up_one_queue_is_refused_without_touching_the_device() {
    let device = Script::block(1);
    assert_eq!(
        device.transport().disable_queue(QueueIndex(0)),
        Err(QueueSetupError::NotReady)
    );
    assert_eq!(device.log(), []);
}

#[test]
fn there_is_one_feature_word() {
    let device = Script::block(1).answer(0x010, &[0x3100_6ED4]);
    let mut transport = device.transport();
    assert_eq!(transport.offered_features(), Features::from_low(0x3100_6ED4));
    transport.write_accepted_features(Features::from_low(0x0000_0001_2000_0200));
    assert_eq!(
        device.log(),
        [
            Write32(0x014, 0),
            Read32(0x010),
            Write32(0x024, 0),
            Write32(0x020, 0x2000_0200)
        ]
    );
    assert_eq!(transport.supported_features(), Features::empty());
}

#[test]
fn the_doorbell_knows_the_queue_only() {
    let device = Script::block(1);
    let mut transport = device.transport();
    transport.notifier(QueueIndex(0), Features::NOTIFICATION_DATA).notify(7);
    assert_eq!(device.log(), [Write32(0x050, 0)]);
}

#[test]
fn a_dump_reads_nothing_of_the_other_version() {
    let device = Script::block(1);
    device.transport().visit_registers(&mut |_, _| ());
    let expected = [0x000, 0x004, 0x008, 0x00C, 0x060, 0x070, 0x040].map(Read32);
    assert_eq!(device.log(), expected);
}
