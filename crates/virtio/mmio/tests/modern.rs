//! Version 2: the exact register traffic.

mod common;

use common::{Script, Seen::*, queue_of_eight};
use virtio_core::{
    DeviceAddr, DeviceStatus, Features, InterruptVector, PollLimit, QueueIndex, QueueNotifier, QueueSetup,
    QueueSetupError, ResetTimeout, Transport,
};
use virtio_mmio::MmioTransport;

fn enable(transport: &mut MmioTransport<Script>, queue: u16, setup: &QueueSetup) -> Result<(), QueueSetupError> {
    // SAFETY: the device is a script and touches no memory.
    unsafe { transport.enable_queue(QueueIndex(queue), setup) }
}

#[test]
fn a_queue_is_set_up_in_order_with_both_address_halves() {
    let device = Script::block(2).answer(0x044, &[0, 1]).answer(0x034, &[1024]);
    let setup = QueueSetup {
        device_area: DeviceAddr(0x9_0000_4000),
        ..queue_of_eight(0x1_8000_0000)
    };
    assert_eq!(enable(&mut device.transport(), 3, &setup), Ok(()));
    assert_eq!(
        device.log(),
        [
            Write32(0x030, 3),
            Read32(0x044),
            Read32(0x034),
            Write32(0x038, 8),
            Write32(0x080, 0x8000_0000),
            Write32(0x084, 1),
            Write32(0x090, 0x8000_0080),
            Write32(0x094, 1),
            Write32(0x0A0, 0x4000),
            Write32(0x0A4, 9),
            Write32(0x044, 1),
            Read32(0x044),
        ]
    );
}

#[test]
fn high_halves_are_written_even_if_zero() {
    let device = Script::block(2).answer(0x044, &[0, 1]).answer(0x034, &[8]);
    let mut transport = device.transport();
    assert_eq!(enable(&mut transport, 0, &queue_of_eight(0x8000_0000)), Ok(()));
    let log = device.log();
    for high in [0x084, 0x094, 0x0A4] {
        assert!(log.contains(&Write32(high, 0)), "{high:#x}");
    }
}

#[test]
fn a_queue_in_use_is_left_alone() {
    let device = Script::block(2).answer(0x044, &[1]).answer(0x034, &[1024]);
    let mut transport = device.transport();
    assert_eq!(
        enable(&mut transport, 0, &queue_of_eight(0x8000_0000)),
        Err(QueueSetupError::InUse)
    );
    assert_eq!(device.log(), [Write32(0x030, 0), Read32(0x044)]);
}

#[test]
fn a_queue_that_is_missing_or_too_small_is_refused() {
    for (max, error) in [(0, QueueSetupError::NoSuchQueue), (4, QueueSetupError::TooLarge)] {
        let device = Script::block(2).answer(0x034, &[max]);
        let mut transport = device.transport();
        assert_eq!(enable(&mut transport, 0, &queue_of_eight(0x8000_0000)), Err(error));
        assert_eq!(device.log(), [Write32(0x030, 0), Read32(0x044), Read32(0x034)]);
        assert_eq!(transport.max_queue_size(QueueIndex(7)), max);
        assert_eq!(device.log(), [Write32(0x030, 7), Read32(0x034)]);
    }
}

#[test]
fn a_device_that_does_not_take_the_queue_is_told_to_forget_it() {
    let device = Script::block(2).answer(0x044, &[0]).answer(0x034, &[8]);
    let mut transport = device.transport();
    assert_eq!(
        enable(&mut transport, 0, &queue_of_eight(0x8000_0000)),
        Err(QueueSetupError::NotReady)
    );
    let log = device.log();
    assert_eq!(
        log[log.len() - 3..],
        [Write32(0x044, 1), Read32(0x044), Write32(0x044, 0)]
    );
}

#[test]
fn misaligned_parts_and_vectors_are_refused_before_any_access() {
    let device = Script::block(2).answer(0x034, &[8]);
    let mut transport = device.transport();
    let good = queue_of_eight(0x8000_0000);
    let bad = [
        QueueSetup {
            descriptor_table: DeviceAddr(0x8000_0008),
            ..good
        },
        QueueSetup {
            driver_area: DeviceAddr(0x8000_0081),
            ..good
        },
        QueueSetup {
            device_area: DeviceAddr(0x8000_1002),
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
    let with_vector = QueueSetup {
        vector: Some(InterruptVector(0)),
        ..good
    };
    assert_eq!(
        enable(&mut transport, 0, &with_vector),
        Err(QueueSetupError::VectorRefused)
    );
    assert_eq!(
        transport.set_config_vector(InterruptVector(0)),
        Err(QueueSetupError::VectorRefused)
    );
    assert_eq!(device.log(), []);
}

#[test]
fn a_queue_is_given_up_by_zero_and_a_look() {
    let device = Script::block(2).answer(0x044, &[0]);
    assert_eq!(device.transport().disable_queue(QueueIndex(2)), Ok(()));
    assert_eq!(device.log(), [Write32(0x030, 2), Write32(0x044, 0), Read32(0x044)]);

    let stubborn = Script::block(2).answer(0x044, &[1]);
    assert_eq!(
        stubborn.transport().disable_queue(QueueIndex(2)),
        Err(QueueSetupError::NotReady)
    );
}

#[test]
fn feature_words_go_through_their_selectors() {
    let device = Script::block(2).answer(0x010, &[0x3000_6E54, 0x0000_0101]);
    let mut transport = device.transport();
    let offered = transport.offered_features();
    assert_eq!(offered, Features::from_low(0x0101_3000_6E54));
    assert_eq!(
        device.log(),
        [Write32(0x014, 0), Read32(0x010), Write32(0x014, 1), Read32(0x010)]
    );

    transport.write_accepted_features(Features::VERSION_1 | Features::INDIRECT_DESC);
    assert_eq!(
        device.log(),
        [
            Write32(0x024, 0),
            Write32(0x020, 1 << 28),
            Write32(0x024, 1),
            Write32(0x020, 1)
        ]
    );
}

#[test]
fn only_features_of_mmio_are_supported() {
    let supported = Script::block(2).transport().supported_features();
    assert_eq!(
        supported,
        Features::ACCESS_PLATFORM | Features::ORDER_PLATFORM | Features::NOTIFICATION_DATA
    );
}

#[test]
fn the_status_is_one_byte_of_a_32_bit_register() {
    let device = Script::block(2).answer(0x070, &[0xABCD_EF0B]);
    let mut transport = device.transport();
    assert_eq!(transport.status().bits(), 0x0B);
    transport.write_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    assert_eq!(device.log(), [Read32(0x070), Write32(0x070, 3)]);
}

#[test]
fn a_reset_waits_for_zero_but_not_for_ever() {
    let device = Script::block(2).answer(0x070, &[15, 15, 0]);
    let mut transport = device.transport();
    assert_eq!(transport.reset(PollLimit(3)), Ok(()));
    assert_eq!(
        device.log(),
        [Write32(0x070, 0), Read32(0x070), Read32(0x070), Read32(0x070)]
    );

    let stuck = Script::block(2).answer(0x070, &[15]);
    assert_eq!(stuck.transport().reset(PollLimit(3)), Err(ResetTimeout));
}

#[test]
fn the_doorbell_carries_the_position_only_if_agreed() {
    let device = Script::block(2);
    let mut transport = device.transport();
    let plain = transport.notifier(QueueIndex(5), Features::VERSION_1);
    let with_data = transport.notifier(QueueIndex(5), Features::VERSION_1 | Features::NOTIFICATION_DATA);
    plain.notify(0x8001);
    with_data.notify(0x8001);
    assert_eq!(device.log(), [Write32(0x050, 5), Write32(0x050, 0x8001_0005)]);
}

#[test]
fn a_doorbell_for_real_hardware_can_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<virtio_mmio::MmioNotifier<virtio_mmio::MmioDoorbell>>();
    is_send::<MmioTransport<virtio_mmio::MmioWindow>>();
}

#[test]
fn a_dump_reads_nothing_that_matters_and_nothing_of_the_other_version() {
    let device = Script::block(2);
    let transport = device.transport();
    let mut names = Vec::new();
    transport.visit_registers(&mut |name, _| names.push(name));
    assert!(names.contains(&"QueueReady") && names.contains(&"Status"));
    let expected = [0x000, 0x004, 0x008, 0x00C, 0x060, 0x070, 0x034, 0x044, 0x0FC].map(Read32);
    assert_eq!(device.log(), expected);
}
