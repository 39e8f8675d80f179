//! `print!` and `println!`.

use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use super::Minix;
use crate::console::Line;
use crate::kernel;

/// The line that is being written.
struct Shared {
    busy: AtomicBool,
    line: UnsafeCell<Line>,
}

// SAFETY: whoever finds `busy` unset and sets it is alone with the line until it unsets it.
unsafe impl Sync for Shared {}

static CONSOLE: Shared = Shared {
    busy: AtomicBool::new(false),
    line: UnsafeCell::new(Line::new()),
};

/// Runs `body` with the line; `None` if the line is being used further up the stack.
fn with_line<R>(body: impl FnOnce(&mut Line) -> R) -> Option<R> {
    if CONSOLE.busy.swap(true, Ordering::Acquire) {
        return None;
    }
    // SAFETY: the flag was unset, so this is the only reference.
    let result = body(unsafe { &mut *CONSOLE.line.get() });
    CONSOLE.busy.store(false, Ordering::Release);
    Some(result)
}

fn out(text: &[u8]) {
    kernel::diag(&mut Minix::new(), text);
}

/// Writes text; a line leaves when it ends. Text written while text is written leaves at once.
fn write_bytes(text: &[u8]) {
    if with_line(|line| line.write(text, &mut out)).is_none() {
        out(text);
    }
}

/// Ends the line that is being written, if there is one.
pub(super) fn start_of_line() {
    let _ = with_line(|line| {
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
