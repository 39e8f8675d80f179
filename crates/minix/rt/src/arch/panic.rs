//! A panic prints where and why, and ends the process.

use core::fmt::{self, Write};
use core::mem;
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use minix_abi::vfs::Descriptor;

use super::{Minix, console};
use crate::{kernel, program};

/// A `fn()`, or null.
static LAST_ACT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Sets what is to be done at a panic, before anything is printed: say to stop a device that writes to memory. It must not
/// panic, and cannot count on anything to be in order.
pub fn on_panic(last_act: fn()) {
    LAST_ACT.store(last_act as *mut (), Ordering::Release);
}

/// Ends the process. See [`entry!`](crate::entry).
#[doc(hidden)]
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    static DYING: AtomicBool = AtomicBool::new(false);
    // A panic on the way out: do without.
    if !DYING.swap(true, Ordering::Relaxed) {
        let last_act = LAST_ACT.load(Ordering::Acquire);
        if !last_act.is_null() {
            // SAFETY: only function pointers of this type are stored there.
            let last_act: fn() = unsafe { mem::transmute(last_act) };
            last_act();
        }
        console::start_of_line();
        match info.location() {
            Some(location) => crate::println!("panic at {location}: {}", info.message()),
            None => crate::println!("panic: {}", info.message()),
        }
    }
    kernel::exit(&mut Minix::new())
}

/// Exit status of a program that panicked, as the standard library has it.
const PANIC_STATUS: u8 = 101;

/// Ends a program. See [`program!`](crate::program!).
#[doc(hidden)]
pub fn program_panicked(info: &PanicInfo<'_>) -> ! {
    // A panic while this is printed would be one of this crate; the text would be lost, and the program ends all the same.
    let _ = match info.location() {
        Some(location) => writeln!(StandardError, "panic at {location}: {}", info.message()),
        None => writeln!(StandardError, "panic: {}", info.message()),
    };
    program::exit(&mut Minix::new(), PANIC_STATUS)
}

struct StandardError;

impl Write for StandardError {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        program::write_all(&mut Minix::new(), Descriptor::STDERR, text.as_bytes()).map_err(|_| fmt::Error)
    }
}
