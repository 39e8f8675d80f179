//! Interrupt causes: noise stays out in both directions.

mod common;

use common::{Script, Seen::*};
use virtio_core::{InterruptCauses, InterruptSource, Transport};

// Shows MMIO-D-20, MMIO-D-29.
#[test]
fn undefined_status_bits_are_ignored() {
    for version in [1, 2] {
        let device = Script::block(version).answer(0x060, &[0xFFFF_FFFC, 0xFFFF_FFFD, 0xFFFF_FFFE, 3, 0]);
        let mut transport = device.transport();
        assert_eq!(
            transport.interrupt_causes(InterruptSource::Line),
            InterruptCauses::empty()
        );
        assert_eq!(
            transport.interrupt_causes(InterruptSource::Line),
            InterruptCauses::USED_BUFFER
        );
        assert_eq!(
            transport.interrupt_causes(InterruptSource::Line),
            InterruptCauses::CONFIG_CHANGE
        );
        assert_eq!(
            transport.interrupt_causes(InterruptSource::Line),
            InterruptCauses::all()
        );
        assert_eq!(
            transport.interrupt_causes(InterruptSource::Line),
            InterruptCauses::empty()
        );
        assert_eq!(device.log(), [Read32(0x060); 5]);
    }
}

// Shows MMIO-D-21, MMIO-D-22.
#[test]
fn only_defined_bits_are_acknowledged() {
    let device = Script::block(2);
    let mut transport = device.transport();
    let mut acknowledge = |causes| transport.acknowledge_interrupt(InterruptSource::Line, causes);
    // What came in between is lost where there was something to acknowledge.
    assert!(acknowledge(InterruptCauses::USED_BUFFER));
    assert!(acknowledge(InterruptCauses::from_bits_retain(0xFFFF_FFFE)));
    assert!(!acknowledge(InterruptCauses::empty()));
    assert!(!acknowledge(InterruptCauses::from_bits_retain(0x8000_0000)));
    assert_eq!(device.log(), [Write32(0x064, 1), Write32(0x064, 2)]);
}
