//! A PCI bus whose configuration space is made of arbitrary bytes, and registers that answer arbitrary values.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use virtio_core::{PollLimit, QueueIndex, Transport};
use virtio_pci::pci_types::{ConfigRegionAccess, PciAddress};
use virtio_pci::{
    BarRange, Bars, CfgWindows, Doorbell, Finder, MapBar, PciFunction, RegisterAccess, VectorPlan, probe,
};

/// More accesses than any walk makes: 65,536 functions with a few each, or one function with all of its capabilities read many
/// times.
const MOST_ACCESSES: u64 = 600_000;

/// Configuration space of every function: the given bytes, with holes, and with as much memory for writes as the bytes say.
struct Random {
    bytes: RefCell<[u8; 256]>,
    writable: [u8; 256],
    /// Functions that are there, by a bit of their address.
    present: [u8; 32],
    accesses: Cell<u64>,
    /// The bytes change with each access.
    restless: bool,
}

impl Random {
    fn new(input: &[u8]) -> Self {
        let byte = |at: usize| input.get(at).copied().unwrap_or(0);
        let mut bytes = [0; 256];
        let mut writable = [0; 256];
        let mut present = [0; 32];
        for at in 0..256 {
            bytes[at] = byte(at + 1);
            writable[at] = byte(at + 257);
        }
        for (at, present) in present.iter_mut().enumerate() {
            *present = byte(at + 513) | 1;
        }
        if byte(0) & 1 != 0 {
            // What gets further than the first look.
            bytes[..4].copy_from_slice(&[0xF4, 0x1A, if byte(0) & 2 != 0 { 0x42 } else { 0x01 }, 0x10]);
            bytes[6] |= 0x10;
            bytes[14] = 0;
        }
        Self {
            bytes: RefCell::new(bytes),
            writable,
            present,
            accesses: Cell::new(0),
            restless: byte(0) & 4 != 0,
        }
    }

    fn count(&self) {
        let accesses = self.accesses.get() + 1;
        assert!(accesses < MOST_ACCESSES, "a walk without an end");
        self.accesses.set(accesses);
    }
}

impl ConfigRegionAccess for &Random {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        self.count();
        assert!(offset < 256 && offset.is_multiple_of(4));
        let number = usize::from(address.bus() ^ address.device() ^ address.function());
        if self.present[number % 32] & 1 << (number / 32) == 0 {
            return u32::MAX;
        }
        let mut bytes = self.bytes.borrow_mut();
        let at = usize::from(offset);
        let value = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        if self.restless && offset >= 4 {
            bytes[at] = bytes[at].wrapping_mul(5).wrapping_add(at as u8 | 1);
            bytes.swap(at + 1, at + 3);
        }
        value
    }

    unsafe fn write(&self, _: PciAddress, offset: u16, value: u32) {
        self.count();
        let mut bytes = self.bytes.borrow_mut();
        for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
            let at = usize::from(offset) + i;
            bytes[at] = bytes[at] & !self.writable[at] | byte & self.writable[at];
        }
    }
}

/// Registers that answer arbitrary values, within their bounds.
struct Noise {
    state: Rc<Cell<u32>>,
    bytes: u32,
}

impl Noise {
    fn next(&self) -> u32 {
        let next = self.state.get().wrapping_mul(0x0019_660D).wrapping_add(0x3C6E_F35F);
        self.state.set(next);
        // Zeroes and ones are what registers often answer.
        match next >> 29 {
            0 | 1 => 0,
            2 => 1,
            3 => u32::MAX,
            _ => next >> 8,
        }
    }

    fn check(&self, offset: u32, width: u32) {
        assert!(offset.is_multiple_of(width) && offset.checked_add(width).is_some());
    }
}

// SAFETY: no device is behind it.
unsafe impl RegisterAccess for Noise {
    type Doorbell = Silent;
    fn read_u8(&self, _: u32) -> u8 {
        self.next() as u8
    }
    fn read_u16(&self, offset: u32) -> u16 {
        self.check(offset, 2);
        self.next() as u16
    }
    fn read_u32(&self, offset: u32) -> u32 {
        self.check(offset, 4);
        self.next()
    }
    unsafe fn write_u8(&mut self, _: u32, _: u8) {}
    unsafe fn write_u16(&mut self, offset: u32, _: u16) {
        self.check(offset, 2);
    }
    unsafe fn write_u32(&mut self, offset: u32, _: u32) {
        self.check(offset, 4);
    }
    unsafe fn doorbell(&self, offset: u32) -> Silent {
        assert!(
            offset == u32::MAX || offset + 2 <= self.bytes,
            "a doorbell out of bounds"
        );
        Silent
    }
}

struct Silent;

impl Doorbell for Silent {
    fn ring_u16(&self, _: u16) {}
    fn ring_u32(&self, _: u32) {}
}

/// Maps everything, and sees to it that it is a piece of a BAR.
struct Anything {
    bars: Bars,
    restless: bool,
    state: Rc<Cell<u32>>,
}

// SAFETY: no device is behind it.
unsafe impl MapBar for Anything {
    type Window = Noise;

    fn map(&mut self, range: &BarRange) -> Option<Noise> {
        assert!(range.bytes() > 0 && range.address() != 0);
        assert!(range.address().checked_add(u64::from(range.bytes()) - 1).is_some());
        if !self.restless {
            let bar = self.bars.get(range.bar()).expect("a BAR that exists");
            assert!(u64::from(range.offset()) + u64::from(range.bytes()) <= bar.bytes);
        }
        let seed = range.offset() ^ range.address() as u32;
        self.state.set(self.state.get() ^ seed);
        (seed & 0x300 != 0x300).then(|| Noise {
            state: Rc::clone(&self.state),
            bytes: range.bytes(),
        })
    }
}

/// Walks the bus, and drives what looks like a device, with `input` for configuration space. Panics if the crate does
/// anything out of bounds, or does not come to an end.
pub fn pci_bus(input: &[u8]) {
    let bus = Random::new(input);
    // SAFETY: every read is answered.
    let found = unsafe { Finder::new(&bus, 0, 0..=255) }.count();
    assert!(found <= 65_536);

    let place = PciAddress::new(0, 0, 0, 0);
    // SAFETY: no device is behind it, here and below.
    let mut function = unsafe { PciFunction::new(&bus, place) };
    bus.accesses.set(0);
    let _ = function.interrupt_pin();
    let bars = Bars::read(&mut function);
    for (index, bar) in bars.iter() {
        assert!(index < 6 && bar.bytes.is_power_of_two());
    }
    if let Ok(windows) = CfgWindows::new(&mut function) {
        // SAFETY: as above.
        let again = unsafe { PciFunction::new(&bus, place) };
        let _ = probe(again, &mut &windows).map(|mut transport| transport.reset(&mut PollLimit(9)));
    }
    let mut mapper = Anything {
        bars,
        restless: bus.restless,
        state: Rc::new(Cell::new(input.len() as u32)),
    };
    let Ok(mut transport) = probe(function, &mut mapper) else {
        return;
    };
    let table = transport.open_msix(&mut mapper);
    let plan = VectorPlan::new(transport.vectors(), 2);
    let _ = transport.reset(&mut PollLimit(20));
    let _ = transport
        .offered_features()
        .map(|offered| transport.write_accepted_features(offered));
    let _ = transport.set_config_vector(plan.config());
    let _ = transport.max_queue_size(QueueIndex(1));
    let _ = transport.notifier(QueueIndex(1), transport.supported_features());
    let _ = transport.disable_queue(QueueIndex(1), &mut PollLimit(20));
    let _ = (
        transport.read_config_u32(0xFFFC),
        transport.read_config_u8(0xFFFF),
        transport.config_generation(),
    );
    transport.visit_registers(&mut |_, _| ());
    if let Ok(table) = table {
        let _ = transport.close_msix(table);
    }
}
