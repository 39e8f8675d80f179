//! A panic prints where and why, and ends the run with a failure.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use super::{console, power};
use crate::exit::{ExitStatus, FailureCode};

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    static DYING: AtomicBool = AtomicBool::new(false);
    riscv::interrupt::disable();
    // A panic while a panic is printed: the message must be at fault, so do without.
    if !DYING.swap(true, Ordering::Relaxed) {
        console::start_of_line();
        match info.location() {
            Some(location) => crate::println!("panic at {location}: {}", info.message()),
            None => crate::println!("panic: {}", info.message()),
        }
    }
    power::power_off(ExitStatus::Failure(FailureCode::PANIC))
}
