//! `print!` and `println!`.

use core::fmt;

use super::Minix;
use crate::console::Line;
use crate::exclusive::Exclusive;
use crate::kernel;

/// The line that is being written.
static LINE: Exclusive<Line> = Exclusive::new(Line::new());

fn out(text: &[u8]) {
    kernel::diag(&mut Minix::new(), text);
}

/// Writes text; a line leaves when it ends. Text written while text is written leaves at once.
fn write_bytes(text: &[u8]) {
    if LINE.with(|line| line.write(text, &mut out)).is_none() {
        out(text);
    }
}

/// Ends the line that is being written, if there is one.
pub(super) fn start_of_line() {
    let _ = LINE.with(|line| {
        if !line.is_empty() {
            line.write(b"\n", &mut out);
        }
    });
}

struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_bytes(text.as_bytes());
        Ok(())
    }
}

/// What `print!` expands to.
#[doc(hidden)]
pub fn print(arguments: fmt::Arguments<'_>) {
    // The console itself never fails; a `Display` that does only loses its own text.
    let _ = fmt::Write::write_fmt(&mut Console, arguments);
}

/// Prints to the console, a line at a time. Only on riscv64.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => {
        $crate::print(::core::format_args!($($arg)*))
    };
}

/// Prints to the console and ends the line. Only on riscv64.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($arg:tt)*) => {{
        $crate::print!($($arg)*);
        $crate::print!("\n");
    }};
}
