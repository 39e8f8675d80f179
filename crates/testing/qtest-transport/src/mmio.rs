//! A window of the MMIO transport.

use virtio_mmio::{Doorbell, RegisterAccess};

use crate::wire::{Width, Window};

/// The doorbell register, in bytes from the start of a window.
const QUEUE_NOTIFY: u32 = 0x050;

/// The registers of one window.
#[derive(Debug)]
pub struct MmioRegisters(pub(crate) Window);

// SAFETY: each access reaches the same window of the machine and the answer comes back unchanged. `Machine::mmio` gives out each window
// once. When the magic value reads as all ones, the machine has ended, and its memory is mapped by this process alone.
unsafe impl RegisterAccess for MmioRegisters {
    type Doorbell = MmioDoorbell;

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

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        self.0.write(offset, Width::Long, value);
    }

    unsafe fn doorbell(&self) -> MmioDoorbell {
        MmioDoorbell(self.0.from(QUEUE_NOTIFY))
    }
}

/// The doorbell of a window.
#[derive(Debug)]
pub struct MmioDoorbell(Window);

impl Doorbell for MmioDoorbell {
    fn ring(&self, value: u32) {
        self.0.write(0, Width::Long, value);
    }
}
