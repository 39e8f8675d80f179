//! The clocks that a process can read without a trap.

use core::arch::asm;
use core::hint;

/// Steps of the time counter in a microsecond: it runs at 10 MHz.
const STEPS_PER_MICRO: u64 = 10;

/// Microseconds since the machine started. Unlike the ticks of the kernel, this clock never stands still.
pub fn now_micros() -> u64 {
    let steps: u64;
    // SAFETY: reads a counter that the kernel leaves open to processes.
    unsafe { asm!("rdtime {}", out(reg) steps, options(nomem, nostack, preserves_flags)) };
    steps / STEPS_PER_MICRO
}

/// Instructions that the hart has carried out, in whatever process.
pub fn instructions() -> u64 {
    let count: u64;
    // SAFETY: reads a counter that the kernel leaves open to processes.
    unsafe { asm!("rdinstret {}", out(reg) count, options(nomem, nostack, preserves_flags)) };
    count
}

/// Watches the clock for so long.
pub(super) fn spin_micros(micros: u64) {
    let start = now_micros();
    while now_micros().wrapping_sub(start) < micros {
        hint::spin_loop();
    }
}
