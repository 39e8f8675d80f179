//! Addresses for BARs, numbers for buses, windows for bridges.
//!
//! Firmware of the machine leaves all that to the guest. Functions get their addresses in the order of the bus, each BAR at a multiple
//! of its size. A bridge opens its windows around what is behind it, with a reserve for a device that is plugged in later.

use pci_types::{ConfigRegionAccess, PciAddress};

use super::config::{
    BARS, BUS_MASTER, BUS_NUMBERS, COMMAND, Function, Kind, MEMORY_ON, MEMORY_WINDOW, PORT_WINDOW, PORT_WINDOW_UPPER,
    PORTS_ON, PREFETCHABLE_BASE_UPPER, PREFETCHABLE_LIMIT_UPPER, PREFETCHABLE_WINDOW,
};
use super::space::AddressSpace;

/// Windows of bridges start and end at multiples of these.
const PORT_UNIT: u64 = 4 << 10;
const MEMORY_UNIT: u64 = 1 << 20;

/// What a bridge has at least, for a device that comes later.
const PORT_RESERVE: u64 = PORT_UNIT;
const MEMORY_RESERVE: u64 = 2 << 20;
const PREFETCHABLE_RESERVE: u64 = 32 << 20;

/// The addresses that are left on a bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spaces {
    /// Ports.
    pub(crate) ports: AddressSpace,
    /// Memory below 4 GiB. BARs of 32 bits and those that are not prefetchable lie here, because a bridge passes nothing else on.
    pub(crate) memory: AddressSpace,
    /// Memory for prefetchable BARs of 64 bits.
    pub(crate) prefetchable: AddressSpace,
}

/// What was assigned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assigned {
    /// Functions that were found.
    pub functions: usize,
    /// BARs that got no address, since the addresses have run out. Their functions do not answer there.
    pub left_out: usize,
    /// Bridges that got no bus number, since the numbers have run out. What is behind them is not reached.
    pub closed_bridges: usize,
}

/// Numbers the buses from `first_bus` on up to `last_bus`, and assigns addresses to all functions.
///
/// No device is in use: its registers may move. Devices that are switched on stop to answer until they have their addresses.
pub(crate) fn assign<C: ConfigRegionAccess>(
    access: &C,
    segment: u16,
    first_bus: u8,
    last_bus: u8,
    spaces: &mut Spaces,
) -> Assigned {
    let mut work = Work {
        access,
        segment,
        highest_bus: first_bus,
        last_bus,
        assigned: Assigned::default(),
    };
    work.bus(first_bus, spaces);
    work.assigned
}

/// Assigns addresses to the devices behind a bridge out of the windows that it has, for devices that were plugged in. `None` if a
/// device there is switched on already; then nothing was done.
pub(crate) fn assign_behind<C: ConfigRegionAccess>(access: &C, bridge: PciAddress) -> Option<Assigned> {
    let bridge = Function::at(access, bridge).filter(|function| function.kind() == Kind::Bridge)?;
    let segment = bridge.address.segment();
    let (first_bus, last_bus) = bridge.buses_behind();
    let is_on = |function: Function<'_, C>| function.read(COMMAND) & (PORTS_ON | MEMORY_ON) != 0;
    if first_bus == 0 || Function::on_bus(access, segment, first_bus).any(is_on) {
        return None;
    }
    Some(assign(access, segment, first_bus, last_bus, &mut windows(&bridge)))
}

struct Work<'c, C> {
    access: &'c C,
    segment: u16,
    /// The highest number that a bus has got so far.
    highest_bus: u8,
    last_bus: u8,
    assigned: Assigned,
}

impl<'c, C: ConfigRegionAccess> Work<'c, C> {
    fn bus(&mut self, bus: u8, spaces: &mut Spaces) {
        // Switched off first, so that no two functions answer at one address meanwhile.
        for function in Function::on_bus(self.access, self.segment, bus) {
            function.command(0, PORTS_ON | MEMORY_ON);
        }
        for function in Function::on_bus(self.access, self.segment, bus) {
            self.assigned.functions += 1;
            match function.kind() {
                Kind::Endpoint => {
                    let on = self.bars(&function, 6, spaces);
                    function.command(on, 0);
                }
                Kind::Bridge => {
                    let on = self.bars(&function, 2, spaces);
                    self.bridge(&function, spaces);
                    function.command(on | PORTS_ON | MEMORY_ON | BUS_MASTER, 0);
                }
                Kind::Other => {}
            }
        }
    }

    /// Assigns addresses to the BARs of a function. Returns which spaces it can answer in.
    fn bars(&mut self, function: &Function<'_, C>, count: u16, spaces: &mut Spaces) -> u32 {
        let mut on = PORTS_ON | MEMORY_ON;
        let mut used = 0;
        let mut index = 0;
        while index < count {
            let offset = BARS + index * 4;
            let bar = Bar::measure(function, offset, index + 1 < count);
            index += if bar.is_wide { 2 } else { 1 };
            if bar.bytes == 0 {
                continue;
            }
            let (bit, space) = match bar {
                Bar { is_ports: true, .. } => (PORTS_ON, &mut spaces.ports),
                Bar {
                    is_wide: true,
                    is_prefetchable: true,
                    ..
                } => (MEMORY_ON, &mut spaces.prefetchable),
                _ => (MEMORY_ON, &mut spaces.memory),
            };
            used |= bit;
            match space.take(bar.bytes) {
                Some(address) => bar.assign(function, offset, address),
                None => {
                    self.assigned.left_out += 1;
                    on &= !bit;
                    bar.assign(function, offset, 0);
                }
            }
        }
        on & used
    }

    /// Numbers the bus behind a bridge, assigns addresses to the devices on it, and opens the windows of the bridge.
    fn bridge(&mut self, bridge: &Function<'_, C>, spaces: &mut Spaces) {
        let numbers = bridge.read(BUS_NUMBERS) & 0xFF00_0000 | u32::from(bridge.address.bus());
        if self.highest_bus >= self.last_bus {
            self.assigned.closed_bridges += 1;
            bridge.write(BUS_NUMBERS, numbers);
            return;
        }
        self.highest_bus += 1;
        let bus = self.highest_bus;
        let behind = numbers | u32::from(bus) << 8;
        // Everything behind is reached while the buses are numbered.
        bridge.write(BUS_NUMBERS, behind | u32::from(self.last_bus) << 16);
        let mut inner = Spaces {
            ports: spaces.ports.rest_at(PORT_UNIT),
            memory: spaces.memory.rest_at(MEMORY_UNIT),
            prefetchable: spaces.prefetchable.rest_at(MEMORY_UNIT),
        };
        let outer = inner;
        self.bus(bus, &mut inner);
        bridge.write(BUS_NUMBERS, behind | u32::from(self.highest_bus) << 16);
        let window = |space: &mut AddressSpace, outer: AddressSpace, inner: AddressSpace, least, unit| {
            let start = outer.start_at(unit)?;
            Some((start, space.close(inner, start, least, unit)? - 1))
        };
        let ports = window(&mut spaces.ports, outer.ports, inner.ports, PORT_RESERVE, PORT_UNIT);
        let memory = window(
            &mut spaces.memory,
            outer.memory,
            inner.memory,
            MEMORY_RESERVE,
            MEMORY_UNIT,
        );
        let prefetchable = window(
            &mut spaces.prefetchable,
            outer.prefetchable,
            inner.prefetchable,
            PREFETCHABLE_RESERVE,
            MEMORY_UNIT,
        );
        open(bridge, ports, memory, prefetchable);
    }
}

/// One BAR.
struct Bar {
    /// Zero if there is none.
    bytes: u64,
    is_ports: bool,
    /// It takes the next place as well.
    is_wide: bool,
    is_prefetchable: bool,
}

impl Bar {
    /// Looks at a BAR: the bits of its address that can be written tell the size.
    fn measure<C: ConfigRegionAccess>(function: &Function<'_, C>, offset: u16, has_next: bool) -> Self {
        let ones = |offset| {
            function.write(offset, u32::MAX);
            let read = function.read(offset);
            function.write(offset, 0);
            read
        };
        let low = ones(offset);
        let is_ports = low & 1 != 0;
        let is_wide = !is_ports && low & 0b110 == 0b100 && has_next;
        let upper = if is_wide { ones(offset + 4) } else { 0 };
        let fixed_bits = if is_ports { 0b11 } else { 0b1111 };
        let writable = u64::from(upper) << 32 | u64::from(low & !fixed_bits);
        Self {
            // The lowest of the bits.
            bytes: writable & writable.wrapping_neg(),
            is_ports,
            is_wide,
            is_prefetchable: !is_ports && low & 0b1000 != 0,
        }
    }

    fn assign<C: ConfigRegionAccess>(&self, function: &Function<'_, C>, offset: u16, address: u64) {
        // The lower half; an address for a BAR of 32 bits has no other.
        function.write(offset, address as u32);
        if self.is_wide {
            function.write(offset + 4, (address >> 32) as u32);
        }
    }
}

/// First and last address of a window.
type Window = Option<(u64, u64)>;

/// Opens the windows of a bridge. A window whose base is above its limit is closed.
fn open<C: ConfigRegionAccess>(bridge: &Function<'_, C>, ports: Window, memory: Window, prefetchable: Window) {
    let (base, limit) = ports.unwrap_or((0xF000, 0));
    // Bits 15 to 12 of both in a byte each. The upper half is the secondary status, in which ones clear.
    let word = (base >> 8 & 0xF0) as u32 | (limit & 0xF000) as u32;
    bridge.write(PORT_WINDOW, word);
    bridge.write(
        PORT_WINDOW_UPPER,
        (base >> 16 & 0xFFFF) as u32 | (limit & 0xFFFF_0000) as u32,
    );
    // Bits 31 to 20 of both in 16 bits each.
    let word = |(base, limit): (u64, u64)| (base >> 16 & 0xFFF0) as u32 | (limit & 0xFFF0_0000) as u32;
    let closed = (0xFFF0_0000, 0);
    bridge.write(MEMORY_WINDOW, word(memory.unwrap_or(closed)));
    let (base, limit) = prefetchable.unwrap_or(closed);
    bridge.write(PREFETCHABLE_WINDOW, word((base, limit)));
    bridge.write(PREFETCHABLE_BASE_UPPER, (base >> 32) as u32);
    bridge.write(PREFETCHABLE_LIMIT_UPPER, (limit >> 32) as u32);
}

/// The windows of a bridge as its registers tell them.
fn windows<C: ConfigRegionAccess>(bridge: &Function<'_, C>) -> Spaces {
    let space = |base: u64, limit: u64| match limit.checked_add(1) {
        Some(end) if base < limit => AddressSpace::new(base, end),
        _ => AddressSpace::default(),
    };
    let word = u64::from(bridge.read(PORT_WINDOW));
    let upper = u64::from(bridge.read(PORT_WINDOW_UPPER));
    let ports = space(
        (word & 0xF0) << 8 | (upper & 0xFFFF) << 16,
        word & 0xF000 | upper & 0xFFFF_0000 | 0xFFF,
    );
    let word = u64::from(bridge.read(MEMORY_WINDOW));
    let memory = space((word & 0xFFF0) << 16, word & 0xFFF0_0000 | 0xF_FFFF);
    let word = u64::from(bridge.read(PREFETCHABLE_WINDOW));
    let [base, limit] = [PREFETCHABLE_BASE_UPPER, PREFETCHABLE_LIMIT_UPPER].map(|at| u64::from(bridge.read(at)) << 32);
    Spaces {
        ports,
        memory,
        prefetchable: space(base | (word & 0xFFF0) << 16, limit | word & 0xFFF0_0000 | 0xF_FFFF),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{BarKind, Fake};
    use super::*;

    fn spaces() -> Spaces {
        Spaces {
            ports: AddressSpace::new(0, 0x1_0000),
            memory: AddressSpace::new(0x4000_0000, 0x8000_0000),
            prefetchable: AddressSpace::new(0x4_0000_0000, 0x8_0000_0000),
        }
    }

    /// The BARs of `virtio-blk-pci`: ports, memory of 32 bits, prefetchable memory of 64 bits.
    const DISK: [(u8, BarKind, u64); 3] = [
        (0, BarKind::Ports, 0x80),
        (1, BarKind::Memory, 0x1000),
        (4, BarKind::Prefetchable, 0x4000),
    ];

    #[test]
    fn functions_get_addresses_of_each_kind() {
        let mut fake = Fake::default();
        fake.endpoint((0, 1, 0), &DISK);
        fake.endpoint((0, 2, 0), &DISK);
        let assigned = assign(&fake, 0, 0, 255, &mut spaces());
        assert_eq!(
            (assigned.functions, assigned.left_out, assigned.closed_bridges),
            (2, 0, 0)
        );
        assert_eq!(fake.bar((0, 1, 0), 0), 0x80, "zero is no address");
        assert_eq!(fake.bar((0, 2, 0), 0), 0x100);
        assert_eq!(fake.bar((0, 1, 0), 1), 0x4000_0000);
        assert_eq!(fake.bar((0, 2, 0), 1), 0x4000_1000);
        assert_eq!(fake.bar((0, 1, 0), 4), 0x4_0000_0000);
        assert_eq!(fake.bar((0, 2, 0), 4), 0x4_0000_4000);
        assert_eq!(fake.command((0, 1, 0)), PORTS_ON | MEMORY_ON);
    }

    #[test]
    fn a_function_that_gets_no_address_does_not_answer_there() {
        let mut fake = Fake::default();
        fake.endpoint((0, 1, 0), &DISK);
        fake.endpoint((0, 2, 0), &[(0, BarKind::Wide, 1 << 31), (2, BarKind::Ports, 0x10)]);
        let assigned = assign(&fake, 0, 0, 255, &mut spaces());
        assert_eq!(assigned.left_out, 1);
        assert_eq!(fake.command((0, 2, 0)), PORTS_ON);
        assert_eq!(fake.bar((0, 2, 0), 0), 0);
        let mut without_ports = Spaces {
            ports: AddressSpace::default(),
            ..spaces()
        };
        assert_eq!(assign(&fake, 0, 0, 255, &mut without_ports).left_out, 3);
        assert_eq!(fake.command((0, 1, 0)), MEMORY_ON);
    }

    #[test]
    fn bridges_lead_to_what_is_behind_them() {
        let mut fake = Fake::default();
        fake.bridge((0, 3, 0));
        fake.bridge((1, 0, 0));
        fake.endpoint((2, 5, 1), &DISK);
        fake.endpoint((2, 5, 0), &DISK);
        fake.bridge((0, 4, 0));
        fake.endpoint((3, 0, 0), &DISK);
        let assigned = assign(&fake, 0, 0, 255, &mut spaces());
        assert_eq!((assigned.functions, assigned.left_out), (6, 0));
        assert_eq!(fake.buses((0, 3, 0)), (0, 1, 2));
        assert_eq!(fake.buses((1, 0, 0)), (1, 2, 2));
        assert_eq!(fake.buses((0, 4, 0)), (0, 3, 3));
        // Every BAR is reached through every bridge above it.
        for function in [(2, 5, 0), (2, 5, 1), (3, 0, 0)] {
            for (index, kind, bytes) in DISK {
                let address = fake.bar(function, index);
                assert!(
                    fake.is_reached(function, kind, address, bytes),
                    "{function:?} BAR {index}: {address:#x}"
                );
            }
        }
        assert_eq!(fake.command((0, 3, 0)), PORTS_ON | MEMORY_ON | BUS_MASTER);
    }

    #[test]
    fn a_device_behind_an_empty_slot_gets_addresses_later() {
        let mut fake = Fake::default();
        fake.bridge((0, 3, 0));
        fake.bridge((0, 4, 0));
        fake.endpoint((2, 0, 0), &DISK);
        assign(&fake, 0, 0, 255, &mut spaces());
        let slot = PciAddress::new(0, 0, 3, 0);
        fake.endpoint((1, 0, 0), &DISK);
        assert_eq!(
            assign_behind(&fake, slot).map(|assigned| (assigned.functions, assigned.left_out)),
            Some((1, 0))
        );
        for (index, kind, bytes) in DISK {
            let address = fake.bar((1, 0, 0), index);
            assert!(
                fake.is_reached((1, 0, 0), kind, address, bytes),
                "BAR {index}: {address:#x}"
            );
        }
        assert_eq!(assign_behind(&fake, slot), None, "the device is in use");
        assert_eq!(assign_behind(&fake, PciAddress::new(0, 1, 0, 0)), None, "not a bridge");
    }

    #[test]
    fn bus_numbers_run_out() {
        let mut fake = Fake::default();
        fake.bridge((0, 0, 0));
        fake.bridge((1, 0, 0));
        fake.bridge((2, 0, 0));
        let assigned = assign(&fake, 0, 0, 2, &mut spaces());
        assert_eq!((assigned.functions, assigned.closed_bridges), (3, 1));
        assert_eq!(fake.buses((2, 0, 0)), (2, 0, 0));
    }
}
