//! The capability list: what is taken, what is skipped, and what is refused.

mod common;

use common::{ModelTransport, Plugged, forms};
use virtio_blk_model::{ModelConfig, PciForm};
use virtio_core::{DeviceType, Features, Interface, PollLimit, Transport};
use virtio_pci::{BarError, ListError, ProbeError, Structure, StructureError};

// Where the capabilities of the model are.
const MSIX: u8 = 0x98;
const CFG: u8 = 0x84;
const NOTIFY: u8 = 0x70;
const DEVICE: u8 = 0x60;
const ISR: u8 = 0x50;
const COMMON: u8 = 0x40;

/// Free room for more.
const ROOM: u8 = 0xA4;

/// The answer of a modern device after these bytes were put into configuration space.
fn poked(pokes: &[(u8, &[u8])]) -> Result<ModelTransport, ProbeError> {
    let plugged = Plugged::modern();
    for &(at, bytes) in pokes {
        plugged.function.poke(at, bytes);
    }
    plugged.probe()
}

#[track_caller]
fn refused(pokes: &[(u8, &[u8])]) -> ProbeError {
    poked(pokes).map(|_| ()).expect_err("the function is refused")
}

#[track_caller]
fn works(pokes: &[(u8, &[u8])]) {
    let mut transport = poked(pokes).expect("the function is a device");
    assert_eq!(transport.reset(&mut PollLimit(1)), Ok(()));
    let offered = transport.offered_features().unwrap();
    assert!(offered.contains(Features::VERSION_1));
    assert_eq!(transport.read_config_u32(0), Ok(16384));
}

// Shows PCI-D-02, LEG-D-13.
#[test]
fn every_form_is_driven_by_its_newest_interface() {
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let transport = plugged.transport();
        let legacy = form == PciForm::Legacy;
        let interface = if legacy { Interface::Legacy } else { Interface::Modern };
        assert_eq!(
            (transport.interface(), transport.device_type()),
            (interface, DeviceType::BLOCK)
        );
        assert_eq!((transport.vendor(), transport.vectors()), (0x1AF4, 3));
        assert!(!plugged.function.masters_the_bus(), "not before a queue is enabled");
        plugged.model.assert_clean();
    }
}

// Shows PCI-D-03, PCI-D-04.
#[test]
fn revision_and_subsystem_do_not_matter() {
    works(&[(0x08, &[0]), (0x2C, &[0xEF, 0xBE, 0xAD, 0xDE])]);
    works(&[(0x08, &[7])]);
}

#[test]
fn a_function_has_one_of_four_pins_or_none() {
    for (register, pin) in [
        (0, None),
        (1, Some(1)),
        (2, Some(2)),
        (4, Some(4)),
        (5, None),
        (0xFF, None),
    ] {
        let plugged = Plugged::modern();
        plugged.function.poke(0x3D, &[register]);
        assert_eq!(plugged.handle().interrupt_pin(), pin, "{register}");
    }
}

// Shows PCI-D-09, PCI-D-43.
#[test]
fn capabilities_of_reserved_types_are_skipped() {
    for kind in [0, 6, 7, 8, 9, 10, 0xFF] {
        works(&[(0x34, &[ROOM]), (ROOM, &[9, MSIX, 16, kind, 4])]);
    }
}

#[test]
fn capabilities_of_other_ids_are_skipped() {
    works(&[(0x34, &[ROOM]), (ROOM, &[5, MSIX, 16, 1, 4])]);
}

// Shows PCI-D-10, PCI-D-12.
#[test]
fn the_first_usable_one_of_a_kind_is_taken() {
    // In ports that do not exist, in a reserved BAR, past the end, too short, misaligned.
    let unusable: [&[u8]; 5] = [
        &[9, MSIX, 16, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x38, 0, 0, 0],
        &[9, MSIX, 16, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0x38, 0, 0, 0],
        &[9, MSIX, 16, 1, 4, 0, 0, 0, 0xF0, 0x3F, 0, 0, 0x38, 0, 0, 0],
        &[9, MSIX, 16, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0x37, 0, 0, 0],
        &[9, MSIX, 16, 1, 4, 0, 0, 0, 2, 0, 0, 0, 0x38, 0, 0, 0],
    ];
    for capability in unusable {
        works(&[(0x34, &[ROOM]), (ROOM, capability)]);
    }
}

// Shows PCI-D-10.
#[test]
fn a_usable_one_is_not_passed_over() {
    // This one leads to the interrupt status, which is no configuration.
    let plugged = Plugged::modern();
    plugged.function.poke(0x34, &[ROOM]);
    plugged
        .function
        .poke(ROOM, &[9, MSIX, 16, 4, 4, 0, 0, 0, 0, 0x10, 0, 0, 4, 0, 0, 0]);
    let _ = plugged.transport().read_config_u32(0);
    assert_eq!(plugged.model.violations()[0].id, "PCI-D-05");
}

// Shows PCI-D-11.
#[test]
fn capabilities_may_be_longer_than_specified() {
    works(&[(COMMON + 2, &[0xFF - COMMON]), (NOTIFY + 2, &[0x40])]);
}

// Shows CFG-D-05, PCI-D-14.
#[test]
fn structures_may_be_longer_than_their_bar() {
    works(&[
        (COMMON + 12, &[0xFF; 4]),
        (ISR + 12, &[0xFF; 4]),
        (DEVICE + 12, &[0xFF; 4]),
        (NOTIFY + 12, &[0xFF; 4]),
    ]);
}

// Shows CFG-D-06, PCI-D-15.
#[test]
fn an_unusable_structure_is_named_with_its_cause() {
    let refuses = |pokes: &[(u8, &[u8])], structure, cause| {
        assert_eq!(refused(pokes), ProbeError::Structure(structure, cause));
    };
    let bar = |cause| StructureError::Bar(cause);
    refuses(
        &[(COMMON + 2, &[15])],
        Structure::Common,
        StructureError::CapabilityTooShort,
    );
    refuses(
        &[(NOTIFY + 2, &[16])],
        Structure::Notify,
        StructureError::CapabilityTooShort,
    );
    refuses(&[(ISR + 3, &[0])], Structure::Isr, StructureError::Missing);
    refuses(&[(DEVICE + 3, &[0])], Structure::Device, StructureError::Missing);
    refuses(
        &[(COMMON + 12, &[0x37, 0])],
        Structure::Common,
        StructureError::TooShort,
    );
    refuses(&[(NOTIFY + 12, &[1, 0])], Structure::Notify, StructureError::TooShort);
    refuses(&[(ISR + 12, &[0, 0])], Structure::Isr, StructureError::TooShort);
    refuses(&[(COMMON + 8, &[2])], Structure::Common, StructureError::Misaligned);
    refuses(&[(DEVICE + 8, &[1])], Structure::Device, StructureError::Misaligned);
    refuses(&[(NOTIFY + 8, &[1])], Structure::Notify, StructureError::Misaligned);
    for none in [0, 2, 3, 5, 6, 0xFF] {
        refuses(&[(ISR + 4, &[none])], Structure::Isr, bar(BarError::NoSuchBar));
    }
    refuses(&[(ISR + 8, &[0, 0x40])], Structure::Isr, bar(BarError::PastTheEnd));
    refuses(&[(ISR + 8, &[0xFF; 4])], Structure::Isr, bar(BarError::PastTheEnd));
    refuses(
        &[(COMMON + 8, &[0xCC, 0x3F])],
        Structure::Common,
        bar(BarError::PastTheEnd),
    );
    refuses(&[(0x24, &[0; 4])], Structure::Common, bar(BarError::Unassigned));
}

#[test]
fn a_list_that_cannot_be_followed_is_refused() {
    assert_eq!(refused(&[(CFG + 1, &[CFG])]), ProbeError::List(ListError::Endless));
    let common = ProbeError::Structure(Structure::Common, StructureError::List(ListError::Endless));
    assert_eq!(refused(&[(NOTIFY + 1, &[MSIX])]), common, "in a circle before it comes");
    assert_eq!(
        refused(&[(0x34, &[0x3C])]),
        ProbeError::List(ListError::BadPointer(0x3C))
    );
    assert_eq!(refused(&[(CFG + 1, &[4])]), ProbeError::List(ListError::BadPointer(4)));
    // The last place there is has no room for a capability of this kind.
    let at_the_end: &[(u8, &[u8])] = &[(0x34, &[0xFC]), (0xFC, &[9, MSIX, 16, 1])];
    works(at_the_end);
}

#[test]
fn the_low_bits_of_a_pointer_are_reserved() {
    works(&[(0x34, &[MSIX | 3]), (MSIX + 1, &[CFG | 1])]);
}

#[test]
fn a_modern_device_without_capabilities_is_refused() {
    let missing = ProbeError::Structure(Structure::Common, StructureError::Missing);
    assert_eq!(refused(&[(0x34, &[0])]), missing);
    assert_eq!(refused(&[(0x06, &[0])]), missing, "the list does not exist");
}

// Shows LEG-D-14.
#[test]
fn a_transitional_device_without_capabilities_is_legacy() {
    let plugged = Plugged::legacy();
    plugged.function.poke(0x34, &[0]);
    let transport = plugged.transport();
    assert_eq!((transport.interface(), transport.vectors()), (Interface::Legacy, 0));
}

#[test]
fn a_broken_modern_interface_is_no_reason_to_be_legacy() {
    let plugged = Plugged::new(PciForm::Transitional, ModelConfig::modern());
    plugged.function.poke(COMMON + 2, &[0]);
    let error = plugged.probe().map(|_| ()).unwrap_err();
    assert_eq!(
        error,
        ProbeError::Structure(Structure::Common, StructureError::CapabilityTooShort)
    );
}

// Shows LEG-D-17.
#[test]
fn legacy_registers_must_be_in_bar_0() {
    let plugged = Plugged::legacy();
    plugged.function.poke(0x10, &[1, 0, 0, 0]);
    let error = |plugged: &Plugged| plugged.probe().map(|_| ()).unwrap_err();
    let unassigned = StructureError::Bar(BarError::Unassigned);
    assert_eq!(error(&plugged), ProbeError::Structure(Structure::Legacy, unassigned));
}

#[test]
fn what_is_no_virtio_function_is_refused() {
    let other = ProbeError::NotVirtio {
        vendor: 0x8086,
        device: 0x1042,
    };
    assert_eq!(refused(&[(0, &[0x86, 0x80])]), other);
    assert_eq!(refused(&[(14, &[1])]), ProbeError::NotAnEndpoint);
    assert_eq!(refused(&[(0, &[0xFF; 4])]), ProbeError::Empty);
    let plugged = Plugged::modern();
    plugged.model.go_away();
    assert_eq!(plugged.probe().map(|_| ()).unwrap_err(), ProbeError::Empty);
}

#[test]
fn errors_say_what_is_wrong() {
    let error = refused(&[(COMMON + 8, &[0xCC, 0x3F])]);
    assert_eq!(
        error.to_string(),
        "the common configuration cannot be used: the structure goes past the end of its base address register"
    );
}

// Shows PCI-D-13, PCI-D-17.
#[test]
fn only_the_needed_part_of_a_structure_is_mapped() {
    let plugged = Plugged::modern();
    // More than any driver knows of.
    plugged.function.poke(DEVICE + 12, &[0, 0x20]);
    let mut sizes = std::vec::Vec::new();
    struct Sizes<'s>(&'s mut Vec<(Structure, u32)>, virtio_blk_model::ModelFunction);
    // SAFETY: it asks the model, which keeps the contract.
    unsafe impl virtio_pci::MapBar for Sizes<'_> {
        type Window = virtio_blk_model::ModelBar;
        fn map(&mut self, range: &virtio_pci::BarRange) -> Option<Self::Window> {
            self.0.push((range.structure(), range.bytes()));
            self.1.map(range)
        }
    }
    let mut mapper = Sizes(&mut sizes, plugged.function.clone());
    virtio_pci::probe(plugged.handle(), &mut mapper).unwrap();
    let expected = [
        (Structure::Common, 0x40),
        (Structure::Notify, 0x1000),
        (Structure::Isr, 1),
        (Structure::Device, 0x1000),
    ];
    assert_eq!(sizes, expected);
}
