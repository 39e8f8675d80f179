//! The PCI bus of this machine.

use core::ptr::{self, NonNull};

use pci_types::PciAddress;
use virtio_fdt::{DeviceTree, Interrupt, NodeError, PciHost, PciSpace};

use crate::error::{BoardError, node};
use crate::pci::{AddressSpace, Assigned, Ecam, Slot, Spaces, assign, assign_behind, pin_at_root};

/// A host bridge whose functions have no addresses yet, as the firmware leaves it.
#[derive(Debug)]
pub struct UnassignedPci(Pci);

/// A host bridge whose functions have addresses.
///
/// Drivers get the configuration space ([`ecam`](Self::ecam)), the memory of BARs ([`pointer`](Self::pointer)) and the interrupts of pins
/// ([`interrupt`](Self::interrupt)) here. Messages come from `Interrupts::allocate_message`.
#[derive(Debug)]
pub struct Pci {
    host: PciHost<'static>,
    ecam: Ecam,
}

impl UnassignedPci {
    /// The first host bridge of a tree.
    ///
    /// # Safety
    ///
    /// The tree describes this machine, nothing is translated, and no other code drives the bridge.
    pub(super) unsafe fn find(tree: &DeviceTree<'static>) -> Result<Option<Self>, BoardError> {
        let Some(host) = tree.pci_hosts().next() else {
            return Ok(None);
        };
        let host = host.map_err(node("PCI"))?;
        // SAFETY: as the caller says.
        let ecam = unsafe { Ecam::new(host.ecam, host.segment, host.first_bus..=host.last_bus) };
        let ecam = ecam.ok_or(BoardError::Unusable("PCI: configuration space outside of its block"))?;
        Ok(Some(Self(Pci { host, ecam })))
    }

    /// Numbers the buses, and gives addresses to all functions.
    pub fn assign(self) -> (Pci, Assigned) {
        let Self(pci) = self;
        let mut spaces = pci.spaces();
        let (first, last) = (*pci.ecam.buses().start(), *pci.ecam.buses().end());
        let assigned = assign(&pci.ecam, pci.ecam.segment(), first, last, &mut spaces);
        (pci, assigned)
    }
}

impl Pci {
    /// The configuration space of all functions.
    pub const fn ecam(&self) -> Ecam {
        self.ecam
    }

    /// The addresses of the bus that the windows lead to.
    fn spaces(&self) -> Spaces {
        let space = |kind| {
            let window = self.host.windows.iter().find(|window| window.space == kind);
            window.map_or_else(AddressSpace::default, |window| {
                let end = window.bus_address + window.cpu.size_bytes;
                AddressSpace::new(window.bus_address, end)
            })
        };
        Spaces {
            ports: space(PciSpace::Ports),
            memory: space(PciSpace::Memory32),
            prefetchable: space(PciSpace::Memory64),
        }
    }

    /// Where the machine sees so many bytes at an address of the bus, or at a port. `None` if no window leads there.
    ///
    /// The window was translated, so the same addresses may be seen by devices under others.
    pub fn pointer(&self, is_ports: bool, bus_address: u64, bytes: u64) -> Option<NonNull<u8>> {
        let end = bus_address.checked_add(bytes)?;
        let window = self.host.windows.iter().find(|window| {
            (window.space == PciSpace::Ports) == is_ports
                && bus_address >= window.bus_address
                // The tree was read with the sum in range.
                && end <= window.bus_address + window.cpu.size_bytes
        })?;
        let address = window.cpu.base_address + (bus_address - window.bus_address);
        NonNull::new(ptr::with_exposed_provenance_mut(usize::try_from(address).ok()?))
    }

    /// The interrupt of a function's pin, as the device tree names it: see `Board::source_of`. `None` if the function has no pin, or
    /// none that is wired.
    ///
    /// # Errors
    ///
    /// The `interrupt-map` of the tree is broken.
    pub fn interrupt(&self, function: PciAddress) -> Result<Option<Interrupt>, NodeError> {
        match pin_at_root(&self.ecam, *self.ecam.buses().start(), function) {
            Some(root) => self.host.interrupt(root.device, root.function, root.pin),
            None => Ok(None),
        }
    }

    /// The slots on the root bus into which devices can be plugged while the machine runs.
    pub fn slots(&self) -> impl Iterator<Item = Slot<Ecam>> + use<> {
        let ecam = self.ecam;
        let root = *ecam.buses().start();
        let functions = (0..32).flat_map(|device| (0..8).map(move |function| (device, function)));
        functions.filter_map(move |(device, function)| {
            Slot::of(ecam, PciAddress::new(ecam.segment(), root, device, function))
        })
    }

    /// Gives addresses to a device that was plugged into a slot and has power. `None` if a device there is switched on already.
    pub fn assign_slot(&mut self, slot: &Slot<Ecam>) -> Option<Assigned> {
        assign_behind(&self.ecam, slot.port())
    }
}
