//! Text by the console of the firmware.

use core::fmt::{self, Write};

use crate::sbi;

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(sbi::put);
        Ok(())
    }
}

/// What `println!` expands to.
#[doc(hidden)]
pub fn print(arguments: fmt::Arguments<'_>) {
    // The console itself never fails.
    let _ = Console.write_fmt(arguments);
}

/// Prints a line.
#[macro_export]
macro_rules! println {
    ($($arg:tt)*) => {
        $crate::console::print(::core::format_args!("{}\n", ::core::format_args!($($arg)*)))
    };
}
