//! PCI host bridges whose configuration space is memory (`pci-host-ecam-generic`).
//!
//! The node tells where configuration space is, which windows of CPU addresses lead to the bus, and how the interrupt pins of
//! devices are wired (PCI Bus Binding to IEEE 1275; "Generic PCI host controller" of the device tree bindings).

use core::fmt;

use dtoolkit::fdt::Fdt;
use heapless::Vec;

use crate::NodeError;
use crate::interrupt::{Interrupt, Phandle, at_nexus};
use crate::nodes::{Described, Node};
use crate::property::{bytes, join, number, take_cells};
use crate::reg::{self, PhysRange};
use crate::walk::Place;

/// Most windows of a host bridge.
const MAX_WINDOWS: usize = 8;

/// Bytes of configuration space of one bus.
const BUS_BYTES: u64 = 1 << 20;

/// Cells of a PCI address: space and function, then the upper and the lower half of an address in the space.
const PCI_ADDRESS_CELLS: usize = 3;

/// The address space of a bus that a window leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PciSpace {
    /// I/O ports.
    Ports,
    /// Memory at addresses of 32 bits.
    Memory32,
    /// Memory at addresses of 64 bits.
    Memory64,
}

/// A window of CPU addresses through which a bus is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PciWindow {
    /// The address space of the bus.
    pub space: PciSpace,
    /// Whether the tree calls the window prefetchable.
    pub prefetchable: bool,
    /// First address on the bus.
    pub bus_address: u64,
    /// The window as the CPU sees it; both sides have the same size.
    pub cpu: PhysRange,
}

/// A PCI host bridge.
#[derive(Clone)]
pub struct PciHost<'a> {
    /// Configuration space: 1 MiB for each bus, that of the first bus first.
    pub ecam: PhysRange,
    /// Number of the root bus.
    pub first_bus: u8,
    /// The highest bus number.
    pub last_bus: u8,
    /// The number of the PCI segment (`linux,pci-domain`); 0 if there is none.
    pub segment: u16,
    /// Whether devices see what the harts have in their caches (`dma-coherent` here or above).
    pub dma_coherent: bool,
    /// The controller that takes the messages of devices, or `None` if they have interrupt pins only.
    pub msi_parent: Option<Phandle>,
    /// The windows in the order of the tree.
    pub windows: Vec<PciWindow, MAX_WINDOWS>,
    fdt: Fdt<'a>,
    place: Place<'a>,
}

impl<'a> Described<'a> for PciHost<'a> {
    const COMPATIBLE: &'static [&'static str] = &["pci-host-ecam-generic"];

    fn read(Node { fdt, place }: Node<'_, 'a>) -> Result<Self, NodeError> {
        const DOMAIN: &str = "linux,pci-domain";
        let node = &place.node;
        let ecam = reg::first(place)?;
        let buses = ecam.size_bytes / BUS_BYTES;
        let (first_bus, last_bus) = bus_range(place)?;
        if buses == 0 {
            return Err(NodeError::BadLength("reg"));
        }
        let reachable = u64::from(first_bus) + buses - 1;
        let domain = number(node, DOMAIN)?.unwrap_or(0);
        Ok(Self {
            ecam,
            first_bus,
            last_bus: u8::try_from(reachable).unwrap_or(u8::MAX).min(last_bus),
            segment: u16::try_from(domain).map_err(|_| NodeError::BadValue(DOMAIN))?,
            dma_coherent: [node]
                .into_iter()
                .chain(&place.ancestors)
                .any(|node| bytes(node, "dma-coherent").is_some()),
            msi_parent: msi_parent(place)?,
            windows: windows(place)?,
            fdt,
            place: place.clone(),
        })
    }
}

impl PciHost<'_> {
    /// The interrupt of a pin (1 for INTA to 4 for INTD) of a function on the root bus. `None` if the tree wires no pins, or for a
    /// number that no pin, device or function has.
    ///
    /// A pin of a function behind bridges arrives at the root bus as a pin of the topmost bridge: it moves by the device number at
    /// each bridge (PCI-to-PCI Bridge Architecture Specification, "Interrupt Support").
    ///
    /// # Errors
    ///
    /// The `interrupt-map` is broken, or it has no row for the pin.
    pub fn interrupt(&self, device: u8, function: u8, pin: u8) -> Result<Option<Interrupt>, NodeError> {
        let exists = device < 32 && function < 8 && matches!(pin, 1..=4);
        if !exists || bytes(&self.place.node, "interrupt-map").is_none() {
            return Ok(None);
        }
        let [bus, device, function] = [self.first_bus, device, function].map(u32::from);
        let mut address = [0; PCI_ADDRESS_CELLS * 4];
        let [space, ..] = address.as_chunks_mut::<4>().0 else {
            return Ok(None);
        };
        *space = (bus << 16 | device << 11 | function << 8).to_be_bytes();
        at_nexus(self.fdt, &self.place, &address, &u32::from(pin).to_be_bytes()).map(Some)
    }
}

/// `bus-range`: first and last number. The default is all.
fn bus_range(place: &Place<'_>) -> Result<(u8, u8), NodeError> {
    const BUSES: &str = "bus-range";
    let Some(value) = bytes(&place.node, BUSES) else {
        return Ok((0, u8::MAX));
    };
    let ([first, last], []) = value.as_chunks::<4>() else {
        return Err(NodeError::BadLength(BUSES));
    };
    match [first, last].map(|cell| u8::try_from(u32::from_be_bytes(*cell))) {
        [Ok(first), Ok(last)] if first <= last => Ok((first, last)),
        _ => Err(NodeError::BadValue(BUSES)),
    }
}

/// `msi-parent`: a phandle, perhaps with cells of that controller after it.
fn msi_parent(place: &Place<'_>) -> Result<Option<Phandle>, NodeError> {
    const PARENT: &str = "msi-parent";
    let Some(mut value) = bytes(&place.node, PARENT) else {
        return Ok(None);
    };
    let cell = take_cells(&mut value, 1).and_then(join);
    // One cell has 32 bits.
    Ok(Some(Phandle(cell.ok_or(NodeError::BadLength(PARENT))? as u32)))
}

fn windows(place: &Place<'_>) -> Result<Vec<PciWindow, MAX_WINDOWS>, NodeError> {
    const RANGES: &str = "ranges";
    const PREFETCHABLE: u32 = 1 << 30;
    let bus = place.ancestors.last().ok_or(NodeError::NotMapped)?;
    if reg::address_cells(&place.node)? != PCI_ADDRESS_CELLS {
        return Err(NodeError::BadValue("#address-cells"));
    }
    let (up_cells, size_cells) = (reg::address_cells(bus)?, reg::size_cells(&place.node)?);
    let mut rest = bytes(&place.node, RANGES).ok_or(NodeError::MissingProperty(RANGES))?;
    let mut windows = Vec::new();
    while !rest.is_empty() {
        let mut field = |cells| take_cells(&mut rest, cells);
        let (space, address, up, size) = (field(1), field(2), field(up_cells), field(size_cells));
        let (Some(space), Some(address), Some(up), Some(size)) = (space, address, up, size) else {
            return Err(NodeError::BadLength(RANGES));
        };
        let number = |cells| join(cells).ok_or(NodeError::AddressTooWide);
        // One cell has 32 bits.
        let space_cell = number(space)? as u32;
        let space = match space_cell >> 24 & 3 {
            1 => PciSpace::Ports,
            2 => PciSpace::Memory32,
            3 => PciSpace::Memory64,
            // Configuration space has no window.
            _ => continue,
        };
        let (bus_address, size_bytes) = (number(address)?, number(size)?);
        PhysRange::new(bus_address, size_bytes).ok_or(NodeError::AddressTooWide)?;
        let cpu = PhysRange::new(number(up)?, size_bytes).ok_or(NodeError::AddressTooWide)?;
        let window = PciWindow {
            space,
            prefetchable: space_cell & PREFETCHABLE != 0,
            bus_address,
            cpu: reg::to_root(cpu, &place.ancestors)?,
        };
        windows.push(window).map_err(|_| NodeError::TooMany)?;
    }
    Ok(windows)
}

impl fmt::Debug for PciHost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PciHost")
            .field("ecam", &self.ecam)
            .field("first_bus", &self.first_bus)
            .field("last_bus", &self.last_bus)
            .field("segment", &self.segment)
            .field("dma_coherent", &self.dma_coherent)
            .field("msi_parent", &self.msi_parent)
            .field("windows", &self.windows)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for PciHost<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "PciHost {{ ecam: {}, buses: {=u8} to {=u8}, windows: {} }}",
            self.ecam,
            self.first_bus,
            self.last_bus,
            self.windows.as_slice()
        );
    }
}
