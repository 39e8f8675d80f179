//! Configuration space, as QEMU lays it out for a device on the root bus.

use super::Access;

/// The form of a function: which interfaces it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciForm {
    /// Both, as by default. The model has the modern one only; the ports of the other are a BAR that answers nothing.
    Transitional,
    /// `disable-legacy=on`.
    Modern,
    /// `disable-modern=on`.
    Legacy,
}

/// Where the structures are in BAR 4.
pub(crate) struct CommonPlace;

impl CommonPlace {
    pub(crate) const COMMON: u32 = 0;
    pub(crate) const ISR: u32 = 0x1000;
    pub(crate) const DEVICE: u32 = 0x2000;
    pub(crate) const NOTIFY: u32 = 0x3000;
    /// How far apart doorbells are.
    pub(crate) const MULTIPLIER: u32 = 4;
}

/// Where the window into BARs is.
const CFG: u16 = 0x84;
const MSIX: u8 = 0x98;
const IO: u8 = 1;
const MEMORY: u8 = 2;
const MASTER: u8 = 4;

pub(crate) struct Space {
    form: PciForm,
    bytes: [u8; 256],
    /// The bits that can be written.
    writable: [u8; 256],
}

/// What the window in configuration space stands for.
pub(crate) struct Window {
    bar: u8,
    offset: u32,
    width: u32,
}

impl Window {
    pub(crate) fn at(&self, write: Option<u32>) -> Access {
        Access {
            bar: self.bar,
            offset: self.offset,
            width: self.width,
            write,
        }
    }
}

impl Space {
    pub(crate) fn new(form: PciForm, vectors: u16) -> Self {
        let mut space = Self {
            form,
            bytes: [0; 256],
            writable: [0; 256],
        };
        let device: u16 = if form == PciForm::Modern { 0x1042 } else { 0x1001 };
        space.put(0x00, &0x1AF4u16.to_le_bytes());
        space.put(0x02, &device.to_le_bytes());
        // Capability list, revision, class.
        space.put(0x06, &[0x10]);
        space.put(0x08, &[u8::from(form == PciForm::Modern), 0, 0, 1]);
        space.put(0x2C, &[0xF4, 0x1A]);
        space.put(
            0x2E,
            if form == PciForm::Modern {
                &[0x00, 0x11]
            } else {
                &[2, 0]
            },
        );
        space.put(0x3C, &[0, 1]);
        // Memory, ports and bus mastering; INTx off.
        space.writable[4] = IO | MEMORY | MASTER;
        space.writable[5] = 4;
        if form != PciForm::Modern {
            space.bar(0, 0x1000 | 1, !0x7F & !3);
        }
        if vectors > 0 {
            space.bar(1, 0x4000_0000, !0xFFF);
        }
        if form != PciForm::Legacy {
            // 64 bits, prefetchable.
            space.bar(4, 0xC, !0x3FFF);
            space.bar(5, 4, !0);
        }
        space.capabilities(vectors);
        space
    }

    fn bar(&mut self, index: u16, value: u32, writable: u32) {
        let at = 0x10 + 4 * usize::from(index);
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        self.writable[at..at + 4].copy_from_slice(&writable.to_le_bytes());
    }

    fn put(&mut self, at: u8, bytes: &[u8]) {
        let at = usize::from(at);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn capabilities(&mut self, vectors: u16) {
        let modern = self.form != PciForm::Legacy;
        let after_msix = if modern { CFG as u8 } else { 0 };
        if vectors > 0 {
            let [low, high] = (vectors - 1).to_le_bytes();
            self.put(MSIX, &[0x11, after_msix, low, high]);
            // The table is in BAR 1 from 0 on, the pending bits from 0x800 on.
            self.put(MSIX + 4, &1u32.to_le_bytes());
            self.put(MSIX + 8, &0x801u32.to_le_bytes());
            self.writable[usize::from(MSIX) + 3] = 0xC0;
            self.put(0x34, &[MSIX]);
        } else {
            self.put(0x34, &[after_msix]);
        }
        if !modern {
            return;
        }
        let at = CFG as u8;
        self.put(at, &[9, 0x70, 20, 5]);
        for byte in [4, 8, 9, 10, 11, 12] {
            self.writable[usize::from(at) + byte] = 0xFF;
        }
        let mut structure = |at: u8, next: u8, kind: u8, offset: u32| {
            let length = if kind == 2 { 20 } else { 16 };
            self.put(at, &[9, next, length, kind, 4]);
            self.put(at + 8, &offset.to_le_bytes());
            self.put(at + 12, &0x1000u32.to_le_bytes());
        };
        structure(0x70, 0x60, 2, CommonPlace::NOTIFY);
        structure(0x60, 0x50, 4, CommonPlace::DEVICE);
        structure(0x50, 0x40, 3, CommonPlace::ISR);
        structure(0x40, 0, 1, CommonPlace::COMMON);
        self.put(0x80, &CommonPlace::MULTIPLIER.to_le_bytes());
    }

    pub(crate) fn form(&self) -> PciForm {
        self.form
    }

    pub(crate) fn masters(&self) -> bool {
        self.bytes[4] & MASTER != 0
    }

    /// Whether INTx is not switched off.
    pub(crate) fn has_line(&self) -> bool {
        self.bytes[5] & 4 == 0 && self.msix_control() & 0x8000 == 0
    }

    /// Whether accesses to the BAR reach the device.
    pub(crate) fn decodes(&self, bar: u8) -> bool {
        let needed = if bar == 0 { IO } else { MEMORY };
        self.bytes[4] & needed != 0
    }

    /// The message control of MSI-X; 0 without it.
    pub(crate) fn msix_control(&self) -> u16 {
        let at = usize::from(MSIX);
        if self.bytes[at] == 0x11 {
            u16::from_le_bytes([self.bytes[at + 2], self.bytes[at + 3]])
        } else {
            0
        }
    }

    /// Where a BAR starts.
    pub(crate) fn start(&self, bar: u8) -> Option<u64> {
        let low = u64::from(self.read(0x10 + 4 * u16::from(bar)));
        match bar {
            0 => Some(low & !3),
            1 => Some(low & !15),
            4 => Some(low & !15 | u64::from(self.read(0x24)) << 32),
            _ => None,
        }
    }

    /// What the data register of the window stands for, if the offset is that.
    pub(crate) fn window(&self, offset: u16) -> Option<Window> {
        let at = usize::from(CFG);
        let is_window = self.form != PciForm::Legacy && offset == CFG + 16;
        let width = self.read(CFG + 12);
        (is_window && matches!(width, 1 | 2 | 4)).then(|| Window {
            bar: self.bytes[at + 4],
            offset: self.read(CFG + 8),
            width,
        })
    }

    pub(crate) fn read(&self, offset: u16) -> u32 {
        let at = usize::from(offset & !3);
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().expect("four bytes"))
    }

    /// A write; the rule that it breaks, if it breaks one.
    pub(crate) fn write(&mut self, offset: u16, value: u32) -> Result<(), (&'static str, String)> {
        let at = usize::from(offset & !3);
        let before = self.read(offset);
        for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
            let mask = self.writable[at + i];
            self.bytes[at + i] = self.bytes[at + i] & !mask | byte & mask;
        }
        let what = format!("{value:#x} written to {offset:#x} of configuration space, which was {before:#x}");
        let is_bar = (0x10..0x28).contains(&offset);
        assert!(
            !is_bar || self.bytes[4] & (IO | MEMORY) == 0,
            "{what}, with decoding on"
        );
        let of_virtio = (0x40..0x84).contains(&offset) && self.form != PciForm::Legacy;
        if of_virtio {
            return Err(("PCI-D-16", what));
        }
        if offset == CFG + 8 || offset == CFG + 12 {
            return self.check_window(&what);
        }
        Ok(())
    }

    /// The offset is a multiple of the length, once both are written (`PCI-D-45`).
    fn check_window(&self, what: &str) -> Result<(), (&'static str, String)> {
        let (offset, width) = (self.read(CFG + 8), self.read(CFG + 12));
        if matches!(width, 1 | 2 | 4) && !offset.is_multiple_of(width) {
            return Err(("PCI-D-45", what.to_owned()));
        }
        Ok(())
    }

    pub(crate) fn poke(&mut self, offset: u8, bytes: &[u8]) {
        self.put(offset, bytes);
    }
}
