//! Finding the functions of a machine.

use core::ops::RangeInclusive;

use pci_types::{ConfigRegionAccess, HeaderType, PciAddress, PciHeader, PciPciBridgeHeader};

use crate::VirtioId;
use crate::function::NO_VENDOR;

/// A function that was found. Nothing about it has been changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundFunction {
    /// Segment, bus, device and function.
    pub address: PciAddress,
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Revision id.
    pub revision: u8,
    /// Base class and subclass.
    pub class: (u8, u8),
    /// The header type: endpoint, bridge or another.
    pub header: HeaderType,
    /// The buses behind it, if it is a bridge.
    pub bridge: Option<BridgeBuses>,
    /// What its ids say, if it is a VirtIO device.
    pub virtio: Option<VirtioId>,
}

/// The bus numbers in the header of a bridge. All are zero before the machine has numbered its buses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BridgeBuses {
    /// The bus that the bridge is on.
    pub primary: u8,
    /// The bus directly behind it.
    pub secondary: u8,
    /// The last bus behind it.
    pub subordinate: u8,
}

/// A set of bus numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Buses([u64; 4]);

impl Buses {
    fn insert(&mut self, bus: u8) {
        self.0[usize::from(bus / 64)] |= 1 << (bus % 64);
    }

    fn contains(&self, bus: u8) -> bool {
        self.0[usize::from(bus / 64)] & 1 << (bus % 64) != 0
    }
}

/// Walks the functions of a segment: those on the root bus, and those on each bus that a bridge leads to.
///
/// A bridge is followed by the bus number in its header. Each bus is looked at once, whatever the headers say, so a walk ends
/// after 65,536 functions at the latest. A bridge without bus numbers is returned, but not followed.
///
/// It only reads. [`Bars::read`](crate::Bars::read) reads the BARs of a function, whose sizes do not show without a write.
#[derive(Debug)]
pub struct Finder<C> {
    access: C,
    segment: u16,
    buses: RangeInclusive<u8>,
    waiting: Buses,
    seen: Buses,
    /// The next function to look at.
    next: Option<(u8, u8, u8)>,
}

impl<C: ConfigRegionAccess> Finder<C> {
    /// The functions of `segment` from bus `buses.start()` on. Buses outside `buses` are not looked at.
    ///
    /// # Safety
    ///
    /// `access` completes a read of each 32-bit register of each function of these buses without a trap, whether the function
    /// exists or not, and the reads have no effect.
    pub unsafe fn new(access: C, segment: u16, buses: RangeInclusive<u8>) -> Self {
        let root = *buses.start();
        let next = (!buses.is_empty()).then_some((root, 0, 0));
        let mut seen = Buses::default();
        seen.insert(root);
        Self {
            access,
            segment,
            buses,
            waiting: Buses::default(),
            seen,
            next,
        }
    }

    /// Moves on to the next function. `single` leaves out the rest of a device that has one function.
    fn advance(&mut self, (bus, device, function): (u8, u8, u8), single: bool) {
        self.next = if function < 7 && !single {
            Some((bus, device, function + 1))
        } else if device < 31 {
            Some((bus, device + 1, 0))
        } else {
            self.next_bus().map(|bus| (bus, 0, 0))
        };
    }

    fn next_bus(&mut self) -> Option<u8> {
        let waiting = self.waiting;
        let bus = self
            .buses
            .clone()
            .find(|&bus| waiting.contains(bus) && !self.seen.contains(bus))?;
        self.seen.insert(bus);
        Some(bus)
    }

    fn look(&mut self, address: PciAddress) -> Option<(FoundFunction, bool)> {
        let header = PciHeader::new(address);
        let (vendor, device) = header.id(&self.access);
        if vendor == NO_VENDOR {
            return None;
        }
        let (revision, base, sub, _) = header.revision_and_class(&self.access);
        let kind = header.header_type(&self.access);
        let several = header.has_multiple_functions(&self.access);
        let bridge = PciPciBridgeHeader::from_header(header, &self.access).map(|bridge| BridgeBuses {
            primary: bridge.primary_bus_number(&self.access),
            secondary: bridge.secondary_bus_number(&self.access),
            subordinate: bridge.subordinate_bus_number(&self.access),
        });
        if let Some(BridgeBuses { secondary, .. }) = bridge
            && secondary != 0
        {
            self.waiting.insert(secondary);
        }
        // SAFETY: a register of a function of these buses, by the contract of `new`.
        let subsystem = unsafe { self.access.read(address, 0x2C) } >> 16;
        let endpoint = kind == HeaderType::Endpoint;
        let virtio = VirtioId::new(vendor, device, subsystem as u16).filter(|_| endpoint);
        let found = FoundFunction {
            address,
            vendor,
            device,
            revision,
            class: (base, sub),
            header: kind,
            bridge,
            virtio,
        };
        Some((found, several))
    }
}

impl<C: ConfigRegionAccess> Iterator for Finder<C> {
    type Item = FoundFunction;

    fn next(&mut self) -> Option<FoundFunction> {
        while let Some(at @ (bus, device, function)) = self.next {
            let found = self.look(PciAddress::new(self.segment, bus, device, function));
            // Function 0 says whether there are others; without it there are none.
            let single = function == 0 && !matches!(found, Some((_, true)));
            self.advance(at, single);
            if let Some((found, _)) = found {
                return Some(found);
            }
        }
        None
    }
}
