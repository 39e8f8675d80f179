//! Text by the console of the firmware.

use core::fmt::{self, Write};

struct Console;

impl Write for Console {
    #[cfg(target_arch = "riscv64")]
    #[expect(deprecated, reason = "the firmware that comes with older QEMU has no other console")]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            sbi_rt::legacy::console_putchar(byte.into());
        }
        Ok(())
    }

    #[cfg(not(target_arch = "riscv64"))]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        std::print!("{text}");
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
