//! Features, status, doorbells and dumps: the exact register traffic of both versions.

mod common;

use common::{Script, Seen::*};
use virtio_core::{DeviceStatus, Features, PollLimit, QueueIndex, QueueNotifier, ResetError, Transport};
use virtio_mmio::MmioTransport;

// Shows INIT-D-10, MMIO-D-14, MMIO-D-15.
#[test]
fn feature_words_go_through_their_selectors() {
    let device = Script::block(2).answer(0x010, &[0x3000_6E54, 0x0000_0101]);
    let mut transport = device.transport();
    let offered = transport.offered_features().unwrap();
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
fn a_legacy_device_has_one_feature_word() {
    let device = Script::block(1).answer(0x010, &[0x3100_6ED4]);
    let mut transport = device.transport();
    assert_eq!(transport.offered_features(), Ok(Features::from_low(0x3100_6ED4)));
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
}

// Shows FEAT-D-06, FEAT-D-20.
#[test]
fn only_features_of_mmio_are_supported() {
    let modern = Features::ACCESS_PLATFORM | Features::ORDER_PLATFORM | Features::NOTIFICATION_DATA;
    for (version, supported) in [(1, Features::empty()), (2, modern)] {
        assert_eq!(Script::block(version).transport().supported_features(), supported);
    }
}

#[test]
fn the_status_is_one_byte_of_a_32_bit_register() {
    let device = Script::block(2).answer(0x070, &[0xABCD_EF0B]);
    let mut transport = device.transport();
    assert_eq!(transport.status().unwrap().bits(), 0x0B);
    transport.write_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    assert_eq!(device.log(), [Read32(0x070), Write32(0x070, 3)]);
}

// Shows INIT-D-05.
#[test]
fn a_reset_waits_for_zero_within_the_limit() {
    for (statuses, result) in [(&[15, 15, 0], Ok(())), (&[15, 15, 15], Err(ResetError::TimedOut))] {
        let device = Script::block(2).answer(0x070, statuses);
        assert_eq!(device.transport().reset(&mut PollLimit(2)), result);
        let look = Read32(0x070);
        assert_eq!(device.log(), [Write32(0x070, 0), look, look, look]);
    }
}

#[test]
fn the_doorbell_carries_the_position_only_if_agreed() {
    let (without, with) = (Features::VERSION_1, Features::NOTIFICATION_DATA);
    for (version, accepted, value) in [(2, without, 5), (2, with, 0x8001_0005), (1, with, 5)] {
        let device = Script::block(version);
        let mut transport = device.transport();
        transport.notifier(QueueIndex(5), accepted).notify(0x8001).unwrap();
        assert_eq!(device.log(), [Write32(0x050, value)]);
    }
}

#[test]
fn a_doorbell_for_real_hardware_can_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<virtio_mmio::MmioNotifier<virtio_mmio::MmioDoorbell>>();
    is_send::<MmioTransport<virtio_mmio::MmioWindow>>();
}

#[test]
fn a_dump_reads_only_registers_without_side_effects() {
    for (version, name, own) in [(1, "QueuePFN", &[0x040][..]), (2, "QueueReady", &[0x034, 0x044, 0x0FC])] {
        let device = Script::block(version);
        let mut names = Vec::new();
        device.transport().visit_registers(&mut |name, _| names.push(name));
        assert!(names.contains(&name) && names.contains(&"Status"));
        let expected = [0x000, 0x004, 0x008, 0x00C, 0x060, 0x070].iter().chain(own);
        assert_eq!(device.log(), expected.map(|&at| Read32(at)).collect::<Vec<_>>());
    }
}
