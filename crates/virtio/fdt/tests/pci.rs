//! PCI host bridges: that of QEMU's `virt`, and nodes that are broken.

mod common;

use common::{APLIC, Blob, IMSIC, QEMU_VIRT};
use virtio_fdt::{DeviceTree, NodeError, PciSpace, PciWindow, PhysRange};

fn range(base_address: u64, size_bytes: u64) -> PhysRange {
    PhysRange::new(base_address, size_bytes).unwrap()
}

#[test]
fn the_host_bridge_of_qemu() {
    let tree = DeviceTree::parse(QEMU_VIRT).unwrap();
    assert_eq!(tree.pci_hosts().count(), 1);
    let host = tree.pci_hosts().next().unwrap().unwrap();
    assert_eq!(host.ecam, range(0x3000_0000, 0x1000_0000));
    assert_eq!((host.first_bus, host.last_bus, host.segment), (0, 255, 0));
    assert!(host.dma_coherent && host.msi_parent.is_none());
    let window = |space, bus_address, cpu| PciWindow {
        space,
        prefetchable: false,
        bus_address,
        cpu,
    };
    assert_eq!(
        host.windows,
        [
            window(PciSpace::Ports, 0, range(0x300_0000, 0x1_0000)),
            window(PciSpace::Memory32, 0x4000_0000, range(0x4000_0000, 0x4000_0000)),
            window(PciSpace::Memory64, 0x4_0000_0000, range(0x4_0000_0000, 0x4_0000_0000)),
        ]
    );
}

#[test]
fn pins_go_to_the_controller_of_the_machine() {
    for (blob, specifier) in [(QEMU_VIRT, &[35][..]), (APLIC, &[35, 4]), (IMSIC, &[35, 4])] {
        let tree = DeviceTree::parse(blob).unwrap();
        let host = tree.pci_hosts().next().unwrap().unwrap();
        // Slot 2, pin INTB: 32 + (2 + 2 - 1) % 4.
        let interrupt = host.interrupt(2, 0, 2).unwrap().unwrap();
        assert_eq!(interrupt.specifier(), specifier);
        let window = tree.virtio_mmio_sorted::<8>().unwrap().usable[0];
        assert_eq!(interrupt.parent, window.interrupt.unwrap().parent);
        // The mask leaves the functions and the upper slots out.
        assert_eq!(host.interrupt(6, 7, 2), Ok(Some(interrupt)));
        for (device, function, pin) in [(32, 0, 1), (0, 8, 1), (0, 0, 0), (0, 0, 5)] {
            assert_eq!(host.interrupt(device, function, pin), Ok(None));
        }
    }
}

#[test]
fn messages_go_to_the_imsic() {
    let tree = DeviceTree::parse(IMSIC).unwrap();
    let host = tree.pci_hosts().next().unwrap().unwrap();
    let imsic = tree.imsics().next().unwrap().unwrap();
    assert_eq!(host.msi_parent, imsic.controller.phandle);
}

/// A host bridge with these properties beside the usual.
fn host_with(properties: impl Fn(&mut Blob)) -> Result<(u8, u8, Vec<PciWindow>), NodeError> {
    let mut blob = Blob::new();
    blob.begin("soc").cells("ranges", &[0, 0, 0, 0x800_0000, 0x100_0000]);
    blob.begin("pci@1000")
        .text("compatible", "pci-host-ecam-generic")
        .cells("#address-cells", &[3])
        .cells("#size-cells", &[2]);
    properties(&mut blob);
    blob.end().end();
    let blob = blob.finish();
    let tree = DeviceTree::parse(&blob).unwrap();
    let host = tree.pci_hosts().next().unwrap()?;
    assert_eq!(host.interrupt(0, 0, 1), Ok(None), "no map");
    Ok((host.first_bus, host.last_bus, host.windows.to_vec()))
}

#[test]
fn a_bus_above_translates_the_windows() {
    let found = host_with(|blob| {
        blob.cells("reg", &[0, 0, 0x20_0000])
            .cells("ranges", &[0x4200_0000, 0, 0x9000, 0, 0x100, 0, 0x10]);
    });
    let (first, last, windows) = found.unwrap();
    assert_eq!((first, last), (0, 1), "configuration space has room for two buses");
    assert_eq!(windows[0].cpu, range(0x800_0100, 0x10));
    assert!(windows[0].prefetchable && windows[0].space == PciSpace::Memory32);
}

#[test]
fn broken_host_bridges_are_refused() {
    let with = |reg: &'static [u32], buses: &'static [u32], ranges: &'static [u32]| {
        host_with(move |blob| {
            blob.cells("reg", reg).cells("bus-range", buses).cells("ranges", ranges);
        })
        .map(|(first, last, _)| (first, last))
    };
    let big: &[u32] = &[0, 0, 0x200_0000];
    assert_eq!(
        with(big, &[0, 1], &[]),
        Err(NodeError::NotMapped),
        "the bus above is smaller"
    );
    let small: &[u32] = &[0, 0, 0x1000];
    assert_eq!(with(small, &[0, 1], &[]), Err(NodeError::BadLength("reg")));
    assert_eq!(with(small, &[0, 256], &[]), Err(NodeError::BadValue("bus-range")));
    assert_eq!(with(small, &[2, 1], &[]), Err(NodeError::BadValue("bus-range")));
    assert_eq!(with(small, &[2], &[]), Err(NodeError::BadLength("bus-range")));
}
