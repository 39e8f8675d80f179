//! Registers of configuration space, by name and width.
//!
//! Access is by words of 32 bits, so narrower registers are parts of words.

use pci_types::{ConfigRegionAccess, PciAddress};

/// Byte offsets of registers of all functions.
pub(super) const IDS: u16 = 0x00;
pub(super) const COMMAND: u16 = 0x04;
pub(super) const HEADER_TYPE: u16 = 0x0C;
pub(super) const BARS: u16 = 0x10;
pub(super) const CAPABILITIES: u16 = 0x34;
pub(super) const INTERRUPT: u16 = 0x3C;

/// Of bridges.
pub(super) const BUS_NUMBERS: u16 = 0x18;
pub(super) const PORT_WINDOW: u16 = 0x1C;
pub(super) const MEMORY_WINDOW: u16 = 0x20;
pub(super) const PREFETCHABLE_WINDOW: u16 = 0x24;
pub(super) const PREFETCHABLE_BASE_UPPER: u16 = 0x28;
pub(super) const PREFETCHABLE_LIMIT_UPPER: u16 = 0x2C;
pub(super) const PORT_WINDOW_UPPER: u16 = 0x30;

/// Bits of the command register.
pub(super) const PORTS_ON: u32 = 1 << 0;
pub(super) const MEMORY_ON: u32 = 1 << 1;
pub(super) const BUS_MASTER: u32 = 1 << 2;

/// In the word of the status register: there is a list of capabilities.
const HAS_CAPABILITIES: u32 = 1 << (16 + 4);

/// The most capabilities that a list can have: each takes a word at least.
const MAX_CAPABILITIES: usize = 48;

/// What is at an address of configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Endpoint,
    Bridge,
    /// A function with a header that is not known here.
    Other,
}

/// A function.
#[derive(Debug)]
pub(super) struct Function<'c, C> {
    access: &'c C,
    pub(super) address: PciAddress,
}

impl<C> Clone for Function<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Function<'_, C> {}

impl<'c, C: ConfigRegionAccess> Function<'c, C> {
    /// The function at an address, if there is one.
    pub(super) fn at(access: &'c C, address: PciAddress) -> Option<Self> {
        let function = Self { access, address };
        // The vendor id; all ones where no function answers.
        (function.read(IDS) & 0xFFFF != 0xFFFF).then_some(function)
    }

    /// The functions on a bus.
    pub(super) fn on_bus(access: &'c C, segment: u16, bus: u8) -> impl Iterator<Item = Self> {
        (0..32).flat_map(move |device| {
            let first = Self::at(access, PciAddress::new(segment, bus, device, 0));
            let count = match first {
                Some(first) if first.has_several() => 8,
                Some(_) => 1,
                // Without function 0 there is no device.
                None => 0,
            };
            (0..count).filter_map(move |function| Self::at(access, PciAddress::new(segment, bus, device, function)))
        })
    }

    pub(super) fn read(&self, offset: u16) -> u32 {
        // SAFETY: a register of 32 bits of a function that may exist; reading one has no effect.
        unsafe { self.access.read(self.address, offset) }
    }

    pub(super) fn write(&self, offset: u16, value: u32) {
        // SAFETY: a register of 32 bits. The callers are those that assign addresses and power slots; what they write makes no device
        // reach memory.
        unsafe { self.access.write(self.address, offset, value) }
    }

    fn has_several(&self) -> bool {
        self.read(HEADER_TYPE) & 1 << 23 != 0
    }

    pub(super) fn kind(&self) -> Kind {
        match self.read(HEADER_TYPE) >> 16 & 0x7F {
            0 => Kind::Endpoint,
            1 => Kind::Bridge,
            _ => Kind::Other,
        }
    }

    /// Changes the command register, and clears no bit of the status register beside it.
    pub(super) fn command(&self, set: u32, clear: u32) {
        let command = self.read(COMMAND) & 0xFFFF;
        self.write(COMMAND, command & !clear | set);
    }

    /// The interrupt pin: 1 for INTA to 4 for INTD.
    pub(super) fn pin(&self) -> Option<u8> {
        let pin = (self.read(INTERRUPT) >> 8 & 0xFF) as u8;
        (1..=4).contains(&pin).then_some(pin)
    }

    /// The bus behind a bridge, and the last one that it leads to.
    pub(super) fn buses_behind(&self) -> (u8, u8) {
        let numbers = self.read(BUS_NUMBERS);
        ((numbers >> 8) as u8, (numbers >> 16) as u8)
    }

    /// The offset of the first capability of that id.
    pub(super) fn capability(&self, id: u8) -> Option<u16> {
        if self.read(COMMAND) & HAS_CAPABILITIES == 0 {
            return None;
        }
        let mut offset = self.read(CAPABILITIES) & 0xFC;
        for _ in 0..MAX_CAPABILITIES {
            if offset < 0x40 {
                return None;
            }
            let head = self.read(offset as u16);
            if head as u8 == id {
                return Some(offset as u16);
            }
            offset = head >> 8 & 0xFC;
        }
        None
    }
}
