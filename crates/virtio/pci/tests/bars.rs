//! Base address registers and their sizes.

mod common;

use common::{Machine, Place, Plugged, forms};
use virtio_blk_model::PciForm;
use virtio_pci::pci_types::PciAddress;
use virtio_pci::{Bar, BarSpace, Bars, PciFunction};

const PLACE: Place = (0, 0, 0);

fn read(machine: &Machine) -> Bars {
    // SAFETY: a machine in software.
    let mut function = unsafe { PciFunction::new(machine, PciAddress::new(0, 0, 0, 0)) };
    Bars::read(&mut function)
}

fn machine(bars: &[(usize, u32, u32)]) -> Machine {
    let machine = Machine::default();
    machine.endpoint(PLACE, 0x1AF4, 0x1042);
    for &(index, value, writable) in bars {
        machine.bar(PLACE, index, value, writable);
    }
    machine
}

#[test]
fn the_forms_have_the_bars_of_qemu() {
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let bars = Bars::read(&mut plugged.handle());
        let ports = Bar {
            space: BarSpace::Ports,
            address: 0x1000,
            bytes: 0x80,
            wide: false,
            prefetchable: false,
        };
        let vectors = Bar {
            space: BarSpace::Memory,
            address: 0x4000_0000,
            bytes: 0x1000,
            ..ports
        };
        let structures = Bar {
            address: 0x4_0000_0000,
            bytes: 0x4000,
            wide: true,
            prefetchable: true,
            ..vectors
        };
        let found: Vec<_> = bars.iter().map(|(index, bar)| (index, *bar)).collect();
        let expected = match form {
            PciForm::Transitional => vec![(0, ports), (1, vectors), (4, structures)],
            PciForm::Modern => vec![(1, vectors), (4, structures)],
            PciForm::Legacy => vec![(0, ports), (1, vectors)],
        };
        assert_eq!(found, expected);
        plugged.model.assert_clean();
    }
}

#[test]
fn registers_are_as_before() {
    let machine = machine(&[
        (0, 0x1001, !0x7F),
        (1, 0x4000_0000, !0xFFF),
        (4, 0xC, !0x3FFF),
        (5, 4, !0),
    ]);
    machine.poke(PLACE, 4, &[3]);
    let before = machine.bytes(PLACE);
    read(&machine);
    assert_eq!(machine.bytes(PLACE), before);
}

#[test]
fn a_bar_of_a_reserved_type_is_none() {
    for reserved in [0x2, 0x6] {
        let bars = read(&machine(&[
            (0, 0x4000_0000 | reserved, !0xFFF),
            (1, 0x5000_0000, !0xFFF),
        ]));
        let indices: Vec<_> = bars.iter().map(|(index, _)| index).collect();
        assert_eq!(indices, [1]);
    }
}

#[test]
fn the_last_bar_cannot_have_64_bits() {
    let bars = read(&machine(&[(5, 0x4000_0004, !0xFFF)]));
    assert_eq!(bars.iter().count(), 0);
}

#[test]
fn a_bar_of_more_than_four_gigabytes_has_its_size() {
    let bars = read(&machine(&[(0, 0xC, 0), (1, 0x80, !0x1)]));
    let bar = bars.get(0).unwrap();
    assert_eq!((bar.address, bar.bytes), (0x80_0000_0000, 0x2_0000_0000));
    assert_eq!(bars.get(1), None, "the upper half is not one of its own");
    assert_eq!(bars.get(6), None);
}

#[test]
fn ports_with_a_16_bit_decoder_have_their_size() {
    let bars = read(&machine(&[(0, 0xC001, 0xFF80)]));
    let bar = bars.get(0).unwrap();
    assert_eq!((bar.space, bar.address, bar.bytes), (BarSpace::Ports, 0xC000, 0x80));
}

#[test]
fn a_function_that_is_gone_has_answers_without_a_panic() {
    let machine = Machine::default();
    let bars = read(&machine);
    assert!(bars.iter().all(|(_, bar)| bar.bytes > 0));
}
