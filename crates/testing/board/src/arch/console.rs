//! Human text: the serial port of the device tree, or the firmware's console as long as that is not known.

use core::cell::Cell;
use core::fmt;

use critical_section::Mutex;

use crate::uart::Uart;

static PORT: Mutex<Cell<Option<Uart>>> = Mutex::new(Cell::new(None));

/// Whether the last byte written ended a line.
static LINE_IS_EMPTY: Mutex<Cell<bool>> = Mutex::new(Cell::new(true));

pub(super) fn install(uart: Uart) {
    critical_section::with(|section| PORT.borrow(section).set(Some(uart)));
}

/// Writes bytes as they are and waits until they are on their way. Bytes that a stuck port does not take are dropped.
pub fn write_bytes(bytes: &[u8]) {
    let Some(&last) = bytes.last() else { return };
    critical_section::with(|section| {
        LINE_IS_EMPTY.borrow(section).set(last == b'\n');
        match PORT.borrow(section).get() {
            Some(uart) => uart.write_bytes(bytes),
            None => bytes.iter().copied().for_each(write_to_firmware),
        }
    });
}

#[expect(deprecated, reason = "the firmware that comes with older QEMU has no other console")]
fn write_to_firmware(byte: u8) {
    sbi_rt::legacy::console_putchar(byte.into());
}

/// Ends the current line if something stands on it.
pub fn start_of_line() {
    if !critical_section::with(|section| LINE_IS_EMPTY.borrow(section).get()) {
        write_bytes(b"\n");
    }
}

/// A typed byte, if there is one. Does not wait.
pub fn read_byte() -> Option<u8> {
    critical_section::with(|section| PORT.borrow(section).get()?.try_read())
}

/// Waits until everything written has left the port.
pub fn flush() {
    critical_section::with(|section| {
        if let Some(uart) = PORT.borrow(section).get() {
            uart.flush();
        }
    });
}

/// The console as a `core::fmt::Write`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_bytes(text.as_bytes());
        Ok(())
    }
}

/// Writes a whole line, its end included. It starts on a line of its own, and no other hart writes in between.
pub fn write_line(line: &[u8]) {
    critical_section::with(|_| {
        start_of_line();
        write_bytes(line);
    });
}

/// What `print!` expands to. No other hart writes in between.
#[doc(hidden)]
pub fn print(arguments: fmt::Arguments<'_>) {
    critical_section::with(|_| {
        // The console itself never fails; a `Display` that does only loses its own text.
        let _ = fmt::Write::write_fmt(&mut Console, arguments);
    });
}

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => {
        $crate::console::print(::core::format_args!($($arg)*))
    };
}

/// Prints to the console and ends the line.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($arg:tt)*) => {
        $crate::console::print(::core::format_args!("{}\n", ::core::format_args!($($arg)*)))
    };
}
