//! All ones: the end of the device if the magic value reads so, too, and a value like any other if not.

mod common;

use common::{MAGIC, Script, Seen::*, queue_of_eight};
use virtio_core::{
    DeviceGone, DeviceStatus, Features, InterruptCauses, InterruptSource, PollLimit, QueueIndex, QueueSetupError,
    ResetError, Transport,
};
use virtio_mmio::{MmioTransport, Probe, probe};

const ONES: u32 = u32::MAX;
const QUEUE: QueueIndex = QueueIndex(0);
const BASE: u64 = 0x8020_0000;

/// A device that is there when it is found, and whose registers at `offsets` read as all ones.
fn ones(version: u32, offsets: &[u32]) -> Script {
    offsets
        .iter()
        .fold(Script::block(version), |device, &offset| device.answer(offset, &[ONES]))
}

/// The same, and gone once it was found.
fn gone(version: u32, offsets: &[u32]) -> Script {
    ones(version, offsets).answer(0x000, &[MAGIC, ONES])
}

/// What `ask` answers about a device whose registers at `offsets` are all ones: one that is there, and one that is gone.
fn answers<V>(version: u32, offsets: &[u32], mut ask: impl FnMut(&mut MmioTransport<Script>) -> V) -> [V; 2] {
    [ones(version, offsets), gone(version, offsets)].map(|device| ask(&mut device.transport()))
}

#[test]
fn all_ones_are_a_value_while_the_magic_value_answers() {
    for version in [1, 2] {
        let status = answers(version, &[0x070], |it| it.status());
        assert_eq!(status, [Ok(DeviceStatus::all()), Err(DeviceGone)]);
        let features = answers(version, &[0x010], Transport::offered_features);
        let offered = if version == 1 {
            Features::LEGACY
        } else {
            Features::all()
        };
        assert_eq!(features, [Ok(offered), Err(DeviceGone)]);
        let size = answers(version, &[0x034], |it| it.max_queue_size(QUEUE));
        assert_eq!(size, [Ok(ONES), Err(DeviceGone)]);
        let field = answers(version, &[0x120], |it| it.read_config_u8(32));
        assert_eq!(field, [Ok(0xFF), Err(DeviceGone)]);
        let field = answers(version, &[0x120], |it| it.read_config_u16(32));
        assert_eq!(field, [Ok(0xFFFF), Err(DeviceGone)]);
        let field = answers(version, &[0x120], |it| it.read_config_u32(32));
        assert_eq!(field, [Ok(ONES), Err(DeviceGone)]);
        let reset = answers(version, &[0x070], |it| it.reset(&mut PollLimit(5)));
        assert_eq!(reset, [Err(ResetError::TimedOut), Err(ResetError::Gone)]);
    }
    let generation = answers(2, &[0x0FC], |it| it.config_generation());
    assert_eq!(generation, [Ok(Some(ONES)), Err(DeviceGone)]);
    let size = answers(1, &[0x040], |it| it.max_queue_size(QUEUE));
    assert_eq!(size, [Ok(0), Err(DeviceGone)], "a queue in use");
    let disabled = answers(2, &[0x044], |it| it.disable_queue(QUEUE, &mut PollLimit(5)));
    assert_eq!(disabled, [Err(QueueSetupError::NotReady), Err(QueueSetupError::Gone)]);
}

#[test]
fn a_value_that_is_not_all_ones_costs_no_other_read() {
    let device = gone(2, &[]).answer(0x070, &[0x0F]).answer(0x100, &[ONES - 1]);
    let transport = device.transport();
    assert_eq!(transport.status(), Ok(DeviceStatus::from_bits_retain(0x0F)));
    assert_eq!(transport.read_config_u32(0), Ok(ONES - 1));
    assert_eq!(device.log(), [Read32(0x070), Read32(0x100)]);
    let device = gone(2, &[0x070]);
    assert_eq!(device.transport().status(), Err(DeviceGone));
    assert_eq!(device.log(), [Read32(0x070), Read32(0x000)]);
}

#[test]
fn a_queue_is_not_taken_by_a_device_that_is_gone() {
    // Before the first look, at the size, and after the last store.
    let lives =
        |version, register, values: &[u32], max: &[u32]| gone(version, &[]).answer(register, values).answer(0x034, max);
    for (version, register) in [(1, 0x040), (2, 0x044)] {
        for device in [
            lives(version, register, &[ONES], &[8]),
            lives(version, register, &[0], &[ONES]),
            lives(version, register, &[0, ONES], &[8]),
        ] {
            let (enabled, _) = device.enable(0, &queue_of_eight(BASE));
            assert_eq!(enabled, Err(QueueSetupError::Gone));
        }
    }
}

#[test]
fn an_interrupt_of_a_device_that_is_gone_has_every_cause() {
    let device = gone(2, &[0x060]);
    let causes = device.transport().interrupt_causes(InterruptSource::Line);
    assert_eq!(causes, InterruptCauses::all());
}

#[test]
fn a_device_that_goes_away_in_a_probe_is_no_device() {
    let device = Script::default().answer(0x000, &[ONES]);
    assert!(matches!(probe(device), Probe::WrongMagic(ONES)));
    let device = Script::default().answer(0x000, &[MAGIC]).answer(0x004, &[ONES]);
    assert!(matches!(probe(device), Probe::UnknownVersion(ONES)));
    let device = Script::block(2).answer(0x000, &[MAGIC, ONES]).answer(0x008, &[ONES]);
    assert!(matches!(probe(device), Probe::WrongMagic(ONES)));
}
