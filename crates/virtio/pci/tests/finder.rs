//! Walks over a bus.

mod common;

use common::{Machine, Place, Plugged};
use virtio_pci::pci_types::PciAddress;
use virtio_pci::{Finder, FoundFunction};

/// Everything found from bus `first` on.
fn walk(machine: &Machine, buses: std::ops::RangeInclusive<u8>) -> Vec<(Place, FoundFunction)> {
    // SAFETY: a machine in software.
    let finder = unsafe { Finder::new(machine, 0, buses) };
    let place = |address: PciAddress| (address.bus(), address.device(), address.function());
    finder.map(|found| (place(found.address), found)).collect()
}

fn places(machine: &Machine) -> Vec<Place> {
    walk(machine, 0..=255).into_iter().map(|(place, _)| place).collect()
}

#[test]
fn an_empty_bus_has_no_functions() {
    let machine = Machine::default();
    assert_eq!(places(&machine), []);
    assert_eq!(machine.accesses(), 32, "one look for each device");
}

#[test]
fn functions_are_told_with_their_ids() {
    let machine = Machine::default();
    machine.endpoint((0, 0, 0), 0x1B36, 8);
    machine.endpoint((0, 1, 0), 0x1AF4, 0x1042);
    machine.endpoint((0, 2, 0), 0x1AF4, 0x1001);
    let found = walk(&machine, 0..=255);
    let virtio = |i: usize| found[i].1.virtio.map(|id| (id.device_type.0, id.transitional));
    assert_eq!(found.len(), 3);
    assert_eq!((found[0].1.vendor, found[0].1.device, virtio(0)), (0x1B36, 8, None));
    assert_eq!(virtio(1), Some((2, false)));
    assert_eq!(virtio(2), Some((2, true)));
    assert_eq!(found[1].1.class, (1, 0));
}

#[test]
fn more_functions_are_looked_for_only_where_there_are_several() {
    let machine = Machine::default();
    for function in [0, 3] {
        machine.endpoint((0, 4, function), 0x8086, 1);
        machine.endpoint((0, 5, function), 0x8086, 1);
    }
    // No function 0, no device.
    machine.endpoint((0, 6, 1), 0x8086, 1);
    machine.several((0, 5, 0));
    assert_eq!(places(&machine), [(0, 4, 0), (0, 5, 0), (0, 5, 3)]);
}

#[test]
fn bridges_are_followed_by_their_bus_numbers() {
    let machine = Machine::default();
    machine.bridge((0, 1, 0), 1, 3);
    machine.bridge((1, 0, 0), 3, 3);
    machine.endpoint((3, 2, 0), 0x1AF4, 0x1042);
    machine.endpoint((2, 0, 0), 0x1AF4, 0x1042);
    assert_eq!(places(&machine), [(0, 1, 0), (1, 0, 0), (3, 2, 0)]);
    let bridge = walk(&machine, 0..=255)[0].1.bridge.unwrap();
    assert_eq!((bridge.primary, bridge.secondary, bridge.subordinate), (0, 1, 3));
}

#[test]
fn a_bridge_without_a_number_is_told_and_not_followed() {
    let machine = Machine::default();
    machine.bridge((0, 1, 0), 0, 0);
    assert_eq!(places(&machine), [(0, 1, 0)]);
}

#[test]
fn buses_outside_the_range_are_not_looked_at() {
    let machine = Machine::default();
    machine.bridge((4, 1, 0), 5, 5);
    machine.bridge((4, 2, 0), 9, 9);
    machine.bridge((4, 3, 0), 3, 3);
    machine.endpoint((5, 0, 0), 1, 1);
    machine.endpoint((9, 0, 0), 1, 1);
    machine.endpoint((3, 0, 0), 1, 1);
    let found = walk(&machine, 4..=8);
    let places: Vec<_> = found.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [(4, 1, 0), (4, 2, 0), (4, 3, 0), (5, 0, 0)]);
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
    let none = walk(&machine, 8..=4);
    assert!(none.is_empty());
}

#[test]
fn bridges_in_a_circle_are_walked_once() {
    let machine = Machine::default();
    // Miri is slow.
    let last = if cfg!(miri) { 3 } else { 255 };
    for bus in 0..=last {
        machine.bridge((bus, 0, 0), if bus == last { 0 } else { bus + 1 }, last);
        machine.bridge((bus, 1, 0), bus, last);
        machine.bridge((bus, 2, 0), last, last);
    }
    let buses = u64::from(last) + 1;
    assert_eq!(places(&machine).len() as u64, 3 * buses);
    assert!(machine.accesses() < buses * 32 * 10);
}

#[test]
fn a_bridge_is_no_virtio_device() {
    let machine = Machine::default();
    machine.bridge((0, 1, 0), 1, 1);
    machine.poke((0, 1, 0), 0, &[0xF4, 0x1A, 0x42, 0x10]);
    assert_eq!(walk(&machine, 0..=255)[0].1.virtio, None);
}

#[test]
fn a_walk_changes_nothing() {
    let plugged = Plugged::modern();
    let bytes = |plugged: &Plugged| {
        (0..=252)
            .step_by(4)
            .map(|at| plugged.handle().read(at))
            .collect::<Vec<_>>()
    };
    let before = bytes(&plugged);
    // SAFETY: a model.
    let found: Vec<_> = unsafe { Finder::new(plugged.function.clone(), 0, 0..=0) }.collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].address, plugged.function.address());
    assert_eq!(bytes(&plugged), before);
    plugged.model.assert_clean();
}
