//! The other harts of the machine: which there are, their start, and their sleep.

use riscv::register::{sip, sscratch};
use spin::Once;

use crate::{Failure, sbi};

/// Harts are numbered below this: `memory.x` has a stack for each of them.
pub const HARTS: usize = 4;

/// What the other harts do.
static ENTRY: Once<fn(usize)> = Once::new();

unsafe extern "C" {
    /// Where riscv-rt begins.
    fn _start();
}

/// Starts a hart, which calls `entry` with its number, and sleeps for good afterwards. All harts start with the same function.
///
/// # Errors
///
/// The firmware refuses, as for a hart that runs already.
pub fn start_hart(hart: usize, entry: fn(usize)) -> Result<(), Failure> {
    ENTRY.call_once(|| entry);
    let started = sbi::start_hart(hart, (_start as *const ()).addr());
    started.map_err(|error| Failure::new(format_args!("hart {hart} does not start: error {error}")))
}

/// The number of the hart that this runs on.
pub fn this_hart() -> usize {
    sscratch::read()
}

/// Ends the [`sleep`] of a hart, or its next one.
pub fn wake(hart: usize) {
    sbi::interrupt(hart);
}

/// With interrupts off: sleeps until this hart is [woken](wake), or has an interrupt that is let through. May return without reason.
pub fn sleep() {
    riscv::asm::wfi();
    on_wake();
}

/// Takes a wake-up away. riscv-rt calls this if it comes while interrupts are on.
#[cfg_attr(target_arch = "riscv64", unsafe(export_name = "SupervisorSoft"))]
extern "C" fn on_wake() {
    // SAFETY: nothing else looks at this bit.
    unsafe { sip::clear_ssoft() };
}

#[cfg(target_arch = "riscv64")]
/// The entry of the other harts. `None`: this is the boot hart.
pub(crate) fn begin(hart: usize) -> Option<fn(usize)> {
    // SAFETY: nothing else uses the register.
    unsafe { sscratch::write(hart) };
    // SAFETY: its handler is above.
    unsafe { riscv::register::sie::set_ssoft() };
    ENTRY.get().copied()
}

#[cfg(target_arch = "riscv64")]
// SAFETY: riscv-rt calls the function of this name on each hart, and takes the hart for the first one if the answer is yes.
#[unsafe(export_name = "_mp_hook")]
extern "C" fn is_first_hart() -> bool {
    use core::sync::atomic::{AtomicBool, Ordering};

    // This is before statics are as they should be. Those in `.data` are what was loaded, as this program runs where it was loaded.
    #[unsafe(link_section = ".data")]
    static IS_RUNNING: AtomicBool = AtomicBool::new(false);
    !IS_RUNNING.swap(true, Ordering::Relaxed)
}
