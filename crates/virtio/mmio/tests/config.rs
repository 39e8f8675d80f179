//! Configuration by declared width, and without torn values.

mod common;

use common::{Script, Seen::*};
use virtio_core::{ConfigError, ConfigReader, PollLimit, Transport, read_consistent};

fn capacity<T: Transport>(reader: &ConfigReader<'_, T>) -> u64 {
    u64::from(reader.read_u32(0)) | u64::from(reader.read_u32(4)) << 32
}

// Shows MMIO-D-05, MMIO-D-06, MMIO-D-07.
#[test]
fn every_field_is_accessed_by_its_own_width() {
    for version in [1, 2] {
        let device = Script::block(version)
            .answer(0x120, &[0xAB])
            .answer(0x122, &[0x1234])
            .answer(0x108, &[0x8765_4321]);
        let mut transport = device.transport();
        assert_eq!(transport.read_config_u8(32), Ok(0xAB));
        assert_eq!(transport.read_config_u16(34), Ok(0x1234));
        assert_eq!(transport.read_config_u32(8), Ok(0x8765_4321));
        transport.write_config_u8(32, 1);
        assert_eq!(
            device.log(),
            [Read8(0x120), Read16(0x122), Read32(0x108), Write8(0x120, 1)]
        );
    }
}

#[test]
fn the_last_offset_there_is_does_not_wrap() {
    let device = Script::block(2);
    device.transport().read_config_u8(u16::MAX).unwrap();
    assert_eq!(device.log(), [Read8(0x1_00FF)]);
}

// Shows CFG-D-01.
#[test]
fn a_capacity_that_changes_between_its_halves_is_read_again() {
    // 0x0_FFFF_FFFF becomes 0x1_0000_0000 after the low half was read.
    let device = Script::block(2)
        .answer(0x0FC, &[4, 5])
        .answer(0x100, &[0xFFFF_FFFF, 0])
        .answer(0x104, &[1]);
    assert_eq!(
        read_consistent(&device.transport(), &mut PollLimit(20), capacity),
        Ok(0x1_0000_0000)
    );
    let round = [Read32(0x100), Read32(0x104), Read32(0x0FC)];
    // All ones, so the device might be gone.
    let first = [Read32(0x100), Read32(0), Read32(0x104), Read32(0x0FC)];
    assert_eq!(device.log(), [&[Read32(0x0FC)], &first[..], &round[..]].concat());
}

// Shows LEG-D-06.
#[test]
fn without_a_generation_two_readings_must_agree() {
    let device = Script::block(1).answer(0x100, &[0xFFFF_FFFF, 0]).answer(0x104, &[1]);
    assert_eq!(device.transport().config_generation(), Ok(None));
    device.log();
    assert_eq!(
        read_consistent(&device.transport(), &mut PollLimit(20), capacity),
        Ok(0x1_0000_0000)
    );
    let round = [Read32(0x100), Read32(0x104)];
    let first = [Read32(0x100), Read32(0), Read32(0x104)];
    // Torn, right, and right once more.
    assert_eq!(device.log(), [&first[..], &round, &round].concat());
}

#[test]
fn a_configuration_that_never_stands_still_is_given_up() {
    let generations: Vec<u32> = (0..100).collect();
    let device = Script::block(2).answer(0x0FC, &generations);
    assert_eq!(
        read_consistent(&device.transport(), &mut PollLimit(9), capacity),
        Err(ConfigError::Unstable)
    );
}
