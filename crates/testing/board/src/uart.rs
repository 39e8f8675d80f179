//! The 16550 serial port, polled.
//!
//! Firmware has set the line parameters up; what is changed here is the buffering. Transmission is always polled:
//! human text may come from anywhere, a panic included, and must not depend on interrupts.

use virtio_fdt::PhysRange;

use crate::mmio;

const DATA: usize = 0;
const INTERRUPT_ENABLE: usize = 1;
const FIFO_CONTROL: usize = 2;
const LINE_STATUS: usize = 5;
const REGISTERS: usize = 8;

const RECEIVE_INTERRUPT: u8 = 1 << 0;
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
pub struct Uart {
    base: usize,
    shift: u32,
    access_bytes: u32,
}

impl Uart {
    /// The port a device tree describes. `None` if its registers do not fit into the block it gives.
    ///
    /// # Safety
    ///
    /// `port` describes a 16550, its registers are mapped one to one, and no other code drives it.
    pub unsafe fn new(port: &virtio_fdt::Uart) -> Option<Self> {
        let width = match port.access_bytes {
            1 | 2 | 4 => port.access_bytes as usize,
            _ => return None,
        };
        let base = mmio::base_of(port.registers, width)?;
        let stride = 1usize.checked_shl(port.register_shift)?;
        // Eight registers, each wide enough for its own access.
        let needed = PhysRange::new(0, (REGISTERS as u64).checked_mul(stride as u64)?)?;
        (stride >= width && needed.size_bytes <= port.registers.size_bytes).then_some(Self {
            base,
            shift: port.register_shift,
            access_bytes: port.access_bytes,
        })
    }

    fn read(&self, register: usize) -> u8 {
        let address = self.base + (register << self.shift);
        // SAFETY: `new` checked that all eight registers lie in the block its caller vouched for, and their alignment.
        unsafe {
            match self.access_bytes {
                4 => mmio::register::<u32>(address).read() as u8,
                2 => mmio::register::<u16>(address).read() as u8,
                _ => mmio::register::<u8>(address).read(),
            }
        }
    }

    fn write(&self, register: usize, value: u8) {
        let address = self.base + (register << self.shift);
        // SAFETY: as in `read`.
        unsafe {
            match self.access_bytes {
                4 => mmio::register::<u32>(address).write(value.into()),
                2 => mmio::register::<u16>(address).write(value.into()),
                _ => mmio::register::<u8>(address).write(value),
            }
        }
    }

    /// Turns the buffers on and the port's interrupts off.
    pub fn init(&self) {
        self.write(INTERRUPT_ENABLE, 0);
        self.write(FIFO_CONTROL, FIFO_ENABLE_AND_CLEAR);
    }

    /// Sends `bytes` and waits until the last of them is buffered.
    ///
    /// Gives up when the transmitter stops moving, and returns how many bytes were not sent.
    pub fn write_bytes(&self, bytes: &[u8]) -> usize {
        let mut left = bytes.len();
        for chunk in bytes.chunks(FIFO_BYTES) {
            if !self.wait_for(TRANSMIT_HOLDING_EMPTY) {
                break;
            }
            // An empty buffer takes a whole chunk.
            for &byte in chunk {
                self.write(DATA, byte);
            }
            left -= chunk.len();
        }
        left
    }

    /// Waits until everything has left the port. Returns whether it has.
    pub fn flush(&self) -> bool {
        self.wait_for(TRANSMITTER_IDLE)
    }

    fn wait_for(&self, status: u8) -> bool {
        (0..MAX_POLLS).any(|_| self.read(LINE_STATUS) & status != 0)
    }

    /// A received byte, if there is one.
    pub fn try_read(&self) -> Option<u8> {
        (self.read(LINE_STATUS) & DATA_READY != 0).then(|| self.read(DATA))
    }

    /// Whether the port raises its interrupt line while received bytes wait.
    pub fn set_receive_interrupt(&self, on: bool) {
        self.write(INTERRUPT_ENABLE, if on { RECEIVE_INTERRUPT } else { 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(registers: &mut [u32], register_shift: u32, access_bytes: u32) -> virtio_fdt::Uart {
        let bytes = size_of_val(registers) as u64;
        virtio_fdt::Uart {
            registers: PhysRange::new(registers.as_mut_ptr().expose_provenance() as u64, bytes).unwrap(),
            register_shift,
            access_bytes,
            clock_hz: None,
            interrupt: None,
        }
    }

    #[test]
    fn registers_lie_as_the_tree_says() {
        let mut memory = [0u32; 8];
        memory[5] = u32::from(TRANSMIT_HOLDING_EMPTY | DATA_READY);
        // SAFETY: plain memory in place of the registers, untouched while the port is used.
        let uart = unsafe { Uart::new(&port(&mut memory, 2, 4)) }.unwrap();
        uart.init();
        uart.set_receive_interrupt(true);
        assert_eq!(uart.write_bytes(b"ok"), 0);
        assert_eq!(uart.try_read(), Some(b'k'));
        // SAFETY: the array, written behind its back.
        let memory = unsafe { core::ptr::from_ref(&memory).read_volatile() };
        assert_eq!(memory[..4], [u32::from(b'k'), 1, 7, 0]);
    }

    #[test]
    fn nothing_received_is_nothing() {
        let mut memory = [0u32; 2];
        // SAFETY: as above.
        let uart = unsafe { Uart::new(&port(&mut memory, 0, 1)) }.unwrap();
        assert_eq!(uart.try_read(), None);
    }

    #[test]
    fn a_stuck_transmitter_is_given_up() {
        let mut memory = [0u32; 2];
        // SAFETY: as above.
        let uart = unsafe { Uart::new(&port(&mut memory, 0, 1)) }.unwrap();
        assert_eq!(uart.write_bytes(&[b'x'; 20]), 20);
        assert!(!uart.flush());
    }

    #[test]
    fn a_block_too_small_or_an_impossible_layout_is_refused() {
        let mut memory = [0u32; 7];
        for (shift, width) in [(2, 4), (0, 4), (64, 1), (u32::MAX, 1), (0, 3)] {
            // SAFETY: no register is accessed.
            let uart = unsafe { Uart::new(&port(&mut memory, shift, width)) };
            assert!(uart.is_none(), "{shift} {width}");
        }
    }
}
