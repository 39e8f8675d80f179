//! Configuration space in memory (PCI Express Base Specification, "Enhanced Configuration Access Mechanism").

use core::ops::RangeInclusive;

use pci_types::{ConfigRegionAccess, PciAddress};
use virtio_fdt::PhysRange;
use volatile::VolatilePtr;

use crate::mmio;

/// Bytes of configuration space of a function.
const FUNCTION_BYTES: usize = 4096;
/// Bytes of configuration space of a bus.
const BUS_BYTES: usize = 256 * FUNCTION_BYTES;

/// The configuration space of the buses of a segment. Copies reach the same registers.
#[derive(Clone, Copy, Debug)]
pub struct Ecam {
    base: usize,
    segment: u16,
    first_bus: u8,
    last_bus: u8,
}

impl Ecam {
    /// The configuration space of these buses, that of the first bus at the start of `registers`. `None` if it has no room for them.
    ///
    /// # Safety
    ///
    /// `registers` is a configuration space, mapped one to one, and functions that do not exist read as all ones.
    pub unsafe fn new(registers: PhysRange, segment: u16, buses: RangeInclusive<u8>) -> Option<Self> {
        let base = mmio::base_of(registers, FUNCTION_BYTES)?;
        let bytes = buses.len() * BUS_BYTES;
        let fits = bytes > 0 && bytes as u64 <= registers.size_bytes;
        fits.then_some(Self {
            base,
            segment,
            first_bus: *buses.start(),
            last_bus: *buses.end(),
        })
    }

    /// The number of the segment.
    pub const fn segment(&self) -> u16 {
        self.segment
    }

    /// The buses.
    pub const fn buses(&self) -> RangeInclusive<u8> {
        self.first_bus..=self.last_bus
    }

    /// The register; `None` outside of this configuration space.
    fn register(&self, address: PciAddress, offset: u16) -> Option<VolatilePtr<'static, u32>> {
        let offset = usize::from(offset);
        let is_inside = address.segment() == self.segment
            && self.buses().contains(&address.bus())
            && offset < FUNCTION_BYTES
            && offset.is_multiple_of(4);
        if !is_inside {
            return None;
        }
        let bus = usize::from(address.bus() - self.first_bus);
        let function = usize::from(address.device()) * 8 + usize::from(address.function());
        // SAFETY: inside the block that `new` checked and its caller vouched for. The callers of the trait's methods answer for what
        // they do with a function while another hart uses it.
        Some(unsafe { mmio::register(self.base + bus * BUS_BYTES + function * FUNCTION_BYTES + offset) })
    }
}

impl ConfigRegionAccess for Ecam {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        self.register(address, offset).map_or(u32::MAX, VolatilePtr::read)
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        if let Some(register) = self.register(address, offset) {
            register.write(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_has_its_page_and_others_read_as_absent() {
        // Aligned to a page, as the block of a machine is.
        let mut memory = vec![0u32; (3 * BUS_BYTES + FUNCTION_BYTES) / 4];
        let start = memory.as_mut_ptr().expose_provenance().next_multiple_of(FUNCTION_BYTES);
        let registers = PhysRange::new(start as u64, 2 * BUS_BYTES as u64).unwrap();
        // SAFETY: the memory outlives the test and is not looked at in another way.
        let ecam = unsafe { Ecam::new(registers, 3, 4..=5) }.unwrap();
        let write = |address, offset, value| {
            // SAFETY: plain memory.
            unsafe { ecam.write(address, offset, value) }
        };
        let read = |address, offset| {
            // SAFETY: plain memory.
            unsafe { ecam.read(address, offset) }
        };
        let last = PciAddress::new(3, 5, 31, 7);
        write(last, 4092, 7);
        assert_eq!(read(last, 4092), 7);
        // SAFETY: the last word of the block, written through an address that was exposed.
        let word = unsafe { core::ptr::with_exposed_provenance::<u32>(start + 2 * BUS_BYTES - 4).read_volatile() };
        assert_eq!(word, 7);
        for (address, offset) in [
            (PciAddress::new(0, 5, 31, 7), 4092),
            (PciAddress::new(3, 6, 0, 0), 0),
            (PciAddress::new(3, 3, 0, 0), 0),
            (last, 4096),
            (last, 4090),
        ] {
            write(address, offset, 9);
            assert_eq!(read(address, offset), u32::MAX);
        }
        // SAFETY: no register is accessed.
        let with = |buses| unsafe { Ecam::new(registers, 0, buses) };
        assert!(with(0..=1).is_some() && with(0..=2).is_none());
        #[expect(clippy::reversed_empty_ranges, reason = "a caller may give any range")]
        let empty = 1..=0;
        assert!(with(empty).is_none());
    }
}
