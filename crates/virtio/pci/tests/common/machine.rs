//! Configuration space of a machine, in bytes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use virtio_pci::pci_types::{ConfigRegionAccess, PciAddress};

/// Bus, device, function.
pub(crate) type Place = (u8, u8, u8);

/// One function: what its registers hold, and which bits can be written.
#[derive(Clone, Copy)]
struct Registers {
    bytes: [u8; 256],
    writable: [u8; 256],
}

/// The functions of a machine.
#[derive(Default)]
pub(crate) struct Machine {
    functions: RefCell<BTreeMap<Place, Registers>>,
    accesses: Cell<u64>,
}

impl Machine {
    /// Adds a function with these bytes at these offsets.
    pub(crate) fn add(&self, place: Place, content: &[(usize, &[u8])]) {
        let mut registers = Registers {
            bytes: [0; 256],
            writable: [0; 256],
        };
        for &(at, bytes) in content {
            registers.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        }
        self.functions.borrow_mut().insert(place, registers);
    }

    /// Adds an endpoint with these ids.
    pub(crate) fn endpoint(&self, place: Place, vendor: u16, device: u16) {
        self.add(
            place,
            &[(0, &vendor.to_le_bytes()), (2, &device.to_le_bytes()), (11, &[1])],
        );
    }

    /// Says that the function is one of several.
    pub(crate) fn several(&self, place: Place) {
        self.functions.borrow_mut().get_mut(&place).unwrap().bytes[14] |= 0x80;
    }

    /// Adds a bridge between two buses.
    pub(crate) fn bridge(&self, place: Place, secondary: u8, subordinate: u8) {
        let buses = [place.0, secondary, subordinate];
        self.add(place, &[(0, &[0x36, 0x1B, 0x0C, 0]), (14, &[1]), (0x18, &buses)]);
    }

    /// Puts a BAR into a function.
    pub(crate) fn bar(&self, place: Place, index: usize, value: u32, writable: u32) {
        let mut functions = self.functions.borrow_mut();
        let registers = functions.get_mut(&place).unwrap();
        let at = 0x10 + 4 * index;
        registers.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        registers.writable[at..at + 4].copy_from_slice(&writable.to_le_bytes());
        registers.writable[4] = 7;
    }

    /// Writes bytes, read-only or not.
    pub(crate) fn poke(&self, place: Place, at: usize, bytes: &[u8]) {
        let mut functions = self.functions.borrow_mut();
        functions.get_mut(&place).unwrap().bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// All bytes of a function.
    pub(crate) fn bytes(&self, place: Place) -> [u8; 256] {
        self.functions.borrow()[&place].bytes
    }

    /// Reads and writes so far.
    pub(crate) fn accesses(&self) -> u64 {
        self.accesses.get()
    }

    fn at(address: PciAddress) -> Place {
        (address.bus(), address.device(), address.function())
    }
}

impl ConfigRegionAccess for Machine {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        self.accesses.set(self.accesses.get() + 1);
        let functions = self.functions.borrow();
        let Some(registers) = functions.get(&Self::at(address)) else {
            return u32::MAX;
        };
        let at = usize::from(offset);
        u32::from_le_bytes(registers.bytes[at..at + 4].try_into().unwrap())
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        self.accesses.set(self.accesses.get() + 1);
        let mut functions = self.functions.borrow_mut();
        let Some(registers) = functions.get_mut(&Self::at(address)) else {
            return;
        };
        for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
            let at = usize::from(offset) + i;
            let mask = registers.writable[at];
            registers.bytes[at] = registers.bytes[at] & !mask | byte & mask;
        }
    }
}
