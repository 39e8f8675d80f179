//! What values and errors say of themselves.

mod common;

use std::fmt::Display;
use std::ptr::NonNull;

use common::Plugged;
use virtio_core::{DeviceType, Features, Transport};
use virtio_pci::{BarError, ListError, MemoryWindow, MsixError, ProbeError, Structure, StructureError, VirtioId};

/// Where the field writeback is in the configuration of a disk, in bytes.
const WRITEBACK: u16 = 32;

#[test]
fn every_structure_has_a_name() {
    for (structure, name) in [
        (Structure::Common, "common configuration"),
        (Structure::Notify, "notification structure"),
        (Structure::Isr, "interrupt status"),
        (Structure::Device, "device configuration"),
        (Structure::CfgAccess, "configuration access capability"),
        (Structure::MsixTable, "MSI-X table"),
        (Structure::MsixPending, "pending bits of MSI-X"),
        (Structure::Legacy, "legacy registers"),
    ] {
        assert_eq!(structure.to_string(), name);
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let texts: [(&dyn Display, &str); 10] = [
        (
            &ListError::BadPointer(0x3C),
            "the capability list points into the header (0x3c)",
        ),
        (
            &StructureError::from(ListError::Endless),
            "the capability list has no end",
        ),
        (&StructureError::Misaligned, "it is not aligned"),
        (
            &StructureError::from(BarError::Unassigned),
            "the base address register is not assigned",
        ),
        (&MsixError::Missing, "the device has no MSI-X"),
        (
            &MsixError::Structure(Structure::MsixTable, StructureError::NotMapped),
            "MSI-X cannot be used, MSI-X table: it cannot be mapped",
        ),
        (&ProbeError::Empty, "no function is there"),
        (
            &ProbeError::NotVirtio {
                vendor: 0x8086,
                device: 0x29C0,
            },
            "the function is no VirtIO device (vendor 0x8086, device 0x29c0)",
        ),
        (&ProbeError::List(ListError::Endless), "the capability list has no end"),
        (
            &ProbeError::Structure(Structure::Isr, StructureError::TooShort),
            "the interrupt status cannot be used: it is too short",
        ),
    ];
    for (error, text) in texts {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn every_transitional_id_has_its_type() {
    for (device, kind) in [
        (0x1000, 1),
        (0x1001, 2),
        (0x1002, 5),
        (0x1003, 3),
        (0x1004, 8),
        (0x1005, 4),
        (0x1009, 9),
        (0x1008, 77),
        (0x1042, 2),
    ] {
        let id = VirtioId::new(0x1AF4, device, 77).unwrap();
        assert_eq!(id.device_type, DeviceType(kind), "{device:#x}");
    }
}

#[test]
fn handles_tell_where_they_are() {
    let device = Plugged::modern();
    let function = format!("PciFunction({})", device.function.address());
    assert_eq!(format!("{:?}", device.handle()), function);
    let transport = format!("{:?}", device.transport());
    assert!(
        transport.starts_with(&format!("PciTransport {{ function: {function}, ")),
        "{transport}"
    );
    let mut words = [0_u32; 4];
    let base = NonNull::from(&mut words).cast();
    // SAFETY: 16 bytes that outlive the window and that nothing else uses.
    let window = unsafe { MemoryWindow::new(base, 16) };
    assert_eq!((window.base(), window.bytes()), (base, 16));
    assert_eq!(format!("{window:?}"), format!("MemoryWindow({base:p}, 0x10 bytes)"));
}

#[test]
fn a_byte_of_the_configuration_is_written_on_either_interface() {
    for device in [Plugged::modern(), Plugged::legacy()] {
        let mut transport = device.negotiated(Features::from_low(1 << 9 | 1 << 11) | Features::VERSION_1);
        transport.write_config_u8(WRITEBACK, 0);
        assert!(!device.model.writeback());
        transport.write_config_u8(WRITEBACK, 1);
        assert!(device.model.writeback());
    }
}
