//! A machine with functions in configuration space, whose registers behave as those of hardware do.

use std::cell::RefCell;
use std::collections::BTreeMap;

use pci_types::{ConfigRegionAccess, PciAddress};

use super::config::{
    BARS, BUS_NUMBERS, COMMAND, INTERRUPT, MEMORY_WINDOW, PORT_WINDOW, PORT_WINDOW_UPPER, PREFETCHABLE_BASE_UPPER,
    PREFETCHABLE_LIMIT_UPPER, PREFETCHABLE_WINDOW,
};

/// Bus, device and function. The bus is the number that it must get.
type Place = (u8, u8, u8);

/// The capability of a port.
const EXPRESS: u16 = 0x40;
const SLOT_CONTROL: u16 = EXPRESS + 0x18;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BarKind {
    Ports,
    Memory,
    /// Of 64 bits, not prefetchable.
    Wide,
    /// Of 64 bits.
    Prefetchable,
}

impl BarKind {
    const fn fixed_bits(self) -> u32 {
        match self {
            Self::Ports => 0b1,
            Self::Memory => 0,
            Self::Wide => 0b100,
            Self::Prefetchable => 0b1100,
        }
    }
}

#[derive(Clone, Debug)]
struct Registers {
    words: BTreeMap<u16, u32>,
    /// The bits of a word that a write changes, and those that a write of one clears.
    writable: BTreeMap<u16, (u32, u32)>,
    is_bridge: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Fake {
    functions: RefCell<BTreeMap<Place, Registers>>,
    /// Functions answer whatever the bridges above them say.
    is_unrouted: bool,
}

impl Fake {
    fn add(&mut self, place: Place, is_bridge: bool) {
        let mut registers = Registers {
            words: BTreeMap::new(),
            writable: BTreeMap::from([(COMMAND, (0x407, 0xF900_0000))]),
            is_bridge,
        };
        // Function 0 says that there are more.
        registers.words.insert(0x0C, 0x80_0000 | u32::from(is_bridge) << 16);
        registers.words.insert(0x00, 0x1042_1AF4);
        self.functions.get_mut().insert(place, registers);
    }

    pub(super) fn endpoint(&mut self, place: Place, bars: &[(u8, BarKind, u64)]) {
        self.add(place, false);
        let mut functions = self.functions.borrow_mut();
        let registers = functions.get_mut(&place).unwrap();
        for &(index, kind, bytes) in bars {
            let offset = BARS + u16::from(index) * 4;
            let mask = !(bytes - 1);
            registers.words.insert(offset, kind.fixed_bits());
            registers.writable.insert(offset, (mask as u32 & !kind.fixed_bits(), 0));
            if matches!(kind, BarKind::Wide | BarKind::Prefetchable) {
                registers.writable.insert(offset + 4, ((mask >> 32) as u32, 0));
            }
        }
    }

    pub(super) fn bridge(&mut self, place: Place) {
        self.add(place, true);
        let mut functions = self.functions.borrow_mut();
        let registers = functions.get_mut(&place).unwrap();
        registers
            .words
            .extend([(PORT_WINDOW, 0x0101), (PREFETCHABLE_WINDOW, 0x1_0001)]);
        registers.writable.extend([
            (BUS_NUMBERS, (u32::MAX, 0)),
            (PORT_WINDOW, (0xF0F0, 0xF900_0000)),
            (MEMORY_WINDOW, (0xFFF0_FFF0, 0)),
            (PREFETCHABLE_WINDOW, (0xFFF0_FFF0, 0)),
            (PREFETCHABLE_BASE_UPPER, (u32::MAX, 0)),
            (PREFETCHABLE_LIMIT_UPPER, (u32::MAX, 0)),
            (PORT_WINDOW_UPPER, (u32::MAX, 0)),
        ]);
    }

    /// Gives a port a slot, perhaps one into which devices can be plugged, with another capability before it in the list.
    pub(super) fn slot(&mut self, place: Place, number: u32, is_capable: bool) {
        let registers = self.functions.get_mut().get_mut(&place).unwrap();
        registers.words.insert(COMMAND, 1 << 20);
        registers.words.insert(0x34, 0x80);
        registers.words.insert(0x80, u32::from(EXPRESS) << 8 | 0x05);
        registers.words.insert(EXPRESS, 0x0142_0010);
        registers
            .words
            .insert(EXPRESS + 0x14, number << 19 | u32::from(is_capable) << 6);
        registers.writable.insert(SLOT_CONTROL, (0x1FFF, 0x011F_0000));
    }

    pub(super) fn press_button(&mut self, place: Place) {
        let registers = self.functions.get_mut().get_mut(&place).unwrap();
        *registers.words.entry(SLOT_CONTROL).or_default() |= 1 << 16;
    }

    pub(super) fn slot_control(&self, place: Place) -> u32 {
        self.word(place, SLOT_CONTROL) & 0xFFFF
    }

    pub(super) fn set_pin(&mut self, place: Place, pin: u32) {
        self.functions
            .get_mut()
            .get_mut(&place)
            .unwrap()
            .words
            .insert(INTERRUPT, pin << 8);
    }

    pub(super) fn set_buses(&mut self, place: Place, (primary, secondary, subordinate): (u8, u8, u8)) {
        let word = u32::from_le_bytes([primary, secondary, subordinate, 0]);
        self.functions
            .get_mut()
            .get_mut(&place)
            .unwrap()
            .words
            .insert(BUS_NUMBERS, word);
    }

    pub(super) fn unrouted(&self) -> Self {
        Self {
            is_unrouted: true,
            ..self.clone()
        }
    }

    fn word(&self, place: Place, offset: u16) -> u32 {
        self.functions.borrow()[&place].words.get(&offset).copied().unwrap_or(0)
    }

    pub(super) fn command(&self, place: Place) -> u32 {
        self.word(place, COMMAND) & 0xFFFF
    }

    pub(super) fn buses(&self, place: Place) -> (u8, u8, u8) {
        let [primary, secondary, subordinate, _] = self.word(place, BUS_NUMBERS).to_le_bytes();
        (primary, secondary, subordinate)
    }

    /// The address in a BAR.
    pub(super) fn bar(&self, place: Place, index: u8) -> u64 {
        let offset = BARS + u16::from(index) * 4;
        let low = self.word(place, offset);
        match low & 0b111 {
            0b100 => u64::from(low & !0xF) | u64::from(self.word(place, offset + 4)) << 32,
            _ if low & 1 != 0 => u64::from(low & !0b11),
            _ => u64::from(low & !0xF),
        }
    }

    /// The bridges on the way to a bus, topmost first; `None` if their bus numbers do not lead there.
    fn way_to(&self, bus: u8) -> Option<Vec<Place>> {
        let mut way = Vec::new();
        let mut at = 0;
        while at != bus {
            let functions = self.functions.borrow();
            let mut bridges = functions
                .iter()
                .filter(|(place, registers)| registers.is_bridge && place.0 == at);
            let bridge = bridges.find(|(place, _)| {
                let (_, secondary, subordinate) = self.buses(**place);
                secondary > at && (secondary..=subordinate).contains(&bus)
            })?;
            at = self.buses(*bridge.0).1;
            way.push(*bridge.0);
        }
        Some(way)
    }

    /// Whether the bridges above a function pass accesses to these addresses on to it.
    pub(super) fn is_reached(&self, place: Place, kind: BarKind, address: u64, bytes: u64) -> bool {
        let is_open = |bridge: Place| {
            let word = |offset| u64::from(self.word(bridge, offset));
            let (base, limit) = match kind {
                BarKind::Ports => {
                    let (window, upper) = (word(PORT_WINDOW), word(PORT_WINDOW_UPPER));
                    (
                        (window & 0xF0) << 8 | (upper & 0xFFFF) << 16,
                        window & 0xF000 | 0xFFF | upper >> 16 << 16,
                    )
                }
                BarKind::Memory | BarKind::Wide => {
                    let window = word(MEMORY_WINDOW);
                    ((window & 0xFFF0) << 16, window & 0xFFF0_0000 | 0xF_FFFF)
                }
                BarKind::Prefetchable => {
                    let window = word(PREFETCHABLE_WINDOW);
                    (
                        (window & 0xFFF0) << 16 | word(PREFETCHABLE_BASE_UPPER) << 32,
                        window & 0xFFF0_0000 | 0xF_FFFF | word(PREFETCHABLE_LIMIT_UPPER) << 32,
                    )
                }
            };
            base <= address && address + bytes - 1 <= limit
        };
        address != 0 && self.way_to(place.0).is_some_and(|way| way.into_iter().all(is_open))
    }
}

impl ConfigRegionAccess for Fake {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        assert!(offset.is_multiple_of(4) && offset < 4096, "no register at {offset:#x}");
        let place = (address.bus(), address.device(), address.function());
        let is_there = self.functions.borrow().contains_key(&place);
        match is_there && (self.is_unrouted || self.way_to(place.0).is_some()) {
            true => self.word(place, offset),
            false => u32::MAX,
        }
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        assert!(offset.is_multiple_of(4) && offset < 4096, "no register at {offset:#x}");
        let place = (address.bus(), address.device(), address.function());
        let mut functions = self.functions.borrow_mut();
        let Some(registers) = functions.get_mut(&place) else {
            return;
        };
        let (changed, cleared) = registers.writable.get(&offset).copied().unwrap_or((0, 0));
        let word = registers.words.entry(offset).or_default();
        *word = *word & !changed & !(value & cleared) | value & changed;
    }
}
