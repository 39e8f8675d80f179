//! The results of a probe, and the registers that it reads.

mod common;

use common::{MAGIC, Script, Seen};
use virtio_core::{DeviceType, Interface, Transport};
use virtio_mmio::{Probe, probe};

fn reads(offsets: &[u32]) -> Vec<Seen> {
    offsets.iter().map(|&offset| Seen::Read32(offset)).collect()
}

// Shows MMIO-D-08, MMIO-D-09.
#[test]
fn a_wrong_magic_value_ends_it() {
    let window = Script::default()
        .answer(0, &[0x1234_5678])
        .answer(4, &[2])
        .answer(8, &[2]);
    assert!(matches!(probe(window.clone()), Probe::WrongMagic(0x1234_5678)));
    assert_eq!(window.log(), reads(&[0]));
}

// Shows MMIO-D-10, MMIO-D-11.
#[test]
fn an_unknown_version_ends_it() {
    for version in [0, 3, u32::MAX] {
        let window = Script::block(version);
        assert!(matches!(probe(window.clone()), Probe::UnknownVersion(v) if v == version));
        assert_eq!(window.log(), reads(&[0, 4]));
    }
}

// Shows MMIO-D-12, MMIO-D-13, MMIO-D-32, MMIO-D-33.
#[test]
fn an_empty_window_is_touched_no_further() {
    for (version, interface) in [(1, Interface::Legacy), (2, Interface::Modern)] {
        let window = Script::default().answer(0, &[MAGIC]).answer(4, &[version]);
        assert!(matches!(probe(window.clone()), Probe::Empty(i) if i == interface));
        assert_eq!(window.log(), reads(&[0, 4, 8]));
        assert!(probe(window).device().is_none());
    }
}

// Shows MMIO-D-27, MMIO-D-28.
#[test]
fn a_device_is_found_by_three_reads() {
    for (version, interface) in [(1, Interface::Legacy), (2, Interface::Modern)] {
        let window = Script::block(version).answer(0x00C, &[0x554D_4551]);
        let Probe::Device(transport) = probe(window.clone()) else {
            panic!("there is a device");
        };
        assert_eq!(window.log(), reads(&[0, 4, 8]));
        assert_eq!(transport.interface(), interface);
        assert_eq!(transport.device_type(), DeviceType::BLOCK);
        assert_eq!(transport.vendor(), 0x554D_4551);
        assert_eq!(window.log(), reads(&[0x00C]));
    }
}
