//! Configuration space by ECAM, and the BARs of functions.

use virtio_pci::pci_types::{ConfigRegionAccess, PciAddress};
use virtio_pci::{BarRange, BarSpace, Doorbell, MapBar, RegisterAccess};

use crate::wire::{Width, Window, Wire};

/// Where the machine has configuration space, and where it has ports.
const ECAM: u64 = 0x3000_0000;
const PORTS: u64 = 0x300_0000;

/// Configuration space of the machine.
#[derive(Clone, Debug)]
pub struct Ecam(pub(crate) Wire);

fn place(address: PciAddress, offset: u16) -> u64 {
    let function =
        u64::from(address.bus()) << 20 | u64::from(address.device()) << 15 | u64::from(address.function()) << 12;
    ECAM + function + u64::from(offset)
}

impl ConfigRegionAccess for Ecam {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        self.0.read(place(address, offset), Width::Long)
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        self.0.write(place(address, offset), Width::Long, value);
    }
}

/// Reaches the BARs of a function, in memory and in ports.
#[derive(Debug)]
pub struct BarMapper(pub(crate) Wire);

// SAFETY: a window reaches the piece it was made for. `Machine::pci` gives out the only function there is.
unsafe impl MapBar for BarMapper {
    type Window = BarRegisters;

    fn map(&mut self, range: &BarRange) -> Option<BarRegisters> {
        let start = if range.space() == BarSpace::Ports { PORTS } else { 0 };
        Some(BarRegisters(Window {
            wire: self.0.clone(),
            base: start + range.address(),
        }))
    }
}

/// The registers in a piece of a BAR.
#[derive(Debug)]
pub struct BarRegisters(Window);

// SAFETY: each access reaches the piece and the answer comes back unchanged; the function and its pieces are given out once.
unsafe impl RegisterAccess for BarRegisters {
    type Doorbell = BarDoorbell;

    fn read_u8(&self, offset: u32) -> u8 {
        self.0.read(offset, Width::Byte) as u8
    }

    fn read_u16(&self, offset: u32) -> u16 {
        self.0.read(offset, Width::Word) as u16
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.0.read(offset, Width::Long)
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        self.0.write(offset, Width::Byte, value.into());
    }

    unsafe fn write_u16(&mut self, offset: u32, value: u16) {
        self.0.write(offset, Width::Word, value.into());
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        self.0.write(offset, Width::Long, value);
    }

    unsafe fn doorbell(&self, offset: u32) -> BarDoorbell {
        BarDoorbell(self.0.from(offset))
    }
}

/// A doorbell in a BAR.
#[derive(Debug)]
pub struct BarDoorbell(Window);

impl Doorbell for BarDoorbell {
    fn ring_u16(&self, value: u16) {
        self.0.write(0, Width::Word, value.into());
    }

    fn ring_u32(&self, value: u32) {
        self.0.write(0, Width::Long, value);
    }
}
