//! The 16550 serial port, polled.
//!
//! Firmware has set the line parameters up; the buffers are turned on here. Both directions are polled:
//! human text may come from anywhere, a panic included, and must not depend on interrupts.

use crate::mmio;

const DATA: usize = 0;
const INTERRUPT_ENABLE: usize = 1;
const FIFO_CONTROL: usize = 2;
const LINE_STATUS: usize = 5;
const REGISTERS: u64 = 8;

const FIFO_ENABLE_AND_CLEAR: u8 = 0b111;
const DATA_READY: u8 = 1 << 0;
const TRANSMIT_HOLDING_EMPTY: u8 = 1 << 5;
const TRANSMITTER_IDLE: u8 = 1 << 6;

/// Depth of the transmit buffer in bytes.
const FIFO_BYTES: usize = 16;

/// How often the line status is read before a transmitter that does not move is given up.
const MAX_POLLS: u32 = 10_000_000;

/// A 16550 serial port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uart {
    base: usize,
}

impl Uart {
    /// The port a device tree describes, with its buffers on and its interrupts off. `None` if its registers are not bytes in a
    /// row, as those of QEMU's are.
    ///
    /// # Safety
    ///
    /// `port` describes a 16550, its registers are mapped one to one, and no other code drives it.
    pub(crate) unsafe fn new(port: &virtio_fdt::Uart) -> Option<Self> {
        let bytes_in_a_row = port.register_shift == 0 && port.access_bytes == 1;
        let fits = port.registers.size_bytes >= REGISTERS;
        let base = mmio::base_of(port.registers, 1).filter(|_| bytes_in_a_row && fits)?;
        let uart = Self { base };
        uart.write(INTERRUPT_ENABLE, 0);
        uart.write(FIFO_CONTROL, FIFO_ENABLE_AND_CLEAR);
        Some(uart)
    }

    fn read(&self, register: usize) -> u8 {
        // SAFETY: `new` checked that all eight registers lie in the block its caller vouched for.
        unsafe { mmio::register::<u8>(self.base + register).read() }
    }

    fn write(&self, register: usize, value: u8) {
        // SAFETY: as in `read`.
        unsafe { mmio::register::<u8>(self.base + register).write(value) }
    }

    /// Sends `bytes` and waits until the last of them is buffered. Gives up when the transmitter stops moving.
    pub(crate) fn write_bytes(&self, bytes: &[u8]) {
        for chunk in bytes.chunks(FIFO_BYTES) {
            if !self.wait_for(TRANSMIT_HOLDING_EMPTY) {
                return;
            }
            // An empty buffer takes a whole chunk.
            for &byte in chunk {
                self.write(DATA, byte);
            }
        }
    }

    /// Waits until everything has left the port, or the transmitter stops moving.
    pub(crate) fn flush(&self) {
        self.wait_for(TRANSMITTER_IDLE);
    }

    fn wait_for(&self, status: u8) -> bool {
        (0..MAX_POLLS).any(|_| self.read(LINE_STATUS) & status != 0)
    }

    /// A received byte, if there is one.
    pub(crate) fn try_read(&self) -> Option<u8> {
        (self.read(LINE_STATUS) & DATA_READY != 0).then(|| self.read(DATA))
    }
}
