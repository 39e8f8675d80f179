//! The clocks that a process can read without a trap.

use core::arch::asm;
use core::hint;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use minix_abi::Instant;

use crate::steady::steady;

/// Steps of the time counter in a microsecond: it runs at 10 MHz.
const STEPS_PER_MICRO: u64 = 10;

/// The last reading of the counter, and what the clock is ahead of it. A process has one thread.
static LAST_STEPS: AtomicU64 = AtomicU64::new(0);
static AHEAD_STEPS: AtomicU64 = AtomicU64::new(0);

/// The time since the machine started. Unlike the ticks of the kernel, this clock does not stand still, and unlike the
/// counter that it reads, it does not go back: a virtual machine that loads a snapshot sets the counter back.
pub fn now() -> Instant {
    let steps: u64;
    // SAFETY: reads a counter that the kernel leaves open to processes.
    unsafe { asm!("rdtime {}", out(reg) steps, options(nomem, nostack, preserves_flags)) };
    let (now, ahead) = steady(
        steps,
        LAST_STEPS.load(Ordering::Relaxed),
        AHEAD_STEPS.load(Ordering::Relaxed),
    );
    LAST_STEPS.store(steps, Ordering::Relaxed);
    AHEAD_STEPS.store(ahead, Ordering::Relaxed);
    Instant::from_micros(now / STEPS_PER_MICRO)
}

/// Instructions that the hart has carried out in all processes.
pub fn instructions() -> u64 {
    let count: u64;
    // SAFETY: reads a counter that the kernel leaves open to processes.
    unsafe { asm!("rdinstret {}", out(reg) count, options(nomem, nostack, preserves_flags)) };
    count
}

/// Watches the clock for so long.
pub(super) fn spin(span: Duration) {
    let end = now().after(span);
    while now() < end {
        hint::spin_loop();
    }
}
