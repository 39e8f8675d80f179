//! Switching the machine off, with a status the host sees.

use core::cell::Cell;

use critical_section::Mutex;
use virtio_fdt::PhysRange;

use super::{console, counters, sbi};
use crate::exit::{ExitStatus, FailureCode};
use crate::mmio;

static FINISHER: Mutex<Cell<Option<usize>>> = Mutex::new(Cell::new(None));

/// How long the finisher may take before the firmware is asked instead, in microseconds.
const FINISHER_PATIENCE_MICROS: u64 = 1_000_000;

/// Remembers the finisher. Returns whether its registers are usable.
///
/// # Safety
///
/// `registers` is the register block of a SiFive test finisher, mapped one to one.
pub(super) unsafe fn install(registers: PhysRange) -> bool {
    let base = mmio::base_of(registers, 4).filter(|_| registers.size_bytes >= 4);
    critical_section::with(|section| FINISHER.borrow(section).set(base));
    base.is_some()
}

/// Ends the run. The console is flushed first.
///
/// Uses the finisher of the device tree, or the firmware if there is none. Through the firmware the host only learns
/// whether the run failed, not the code.
pub fn power_off(status: ExitStatus) -> ! {
    riscv::interrupt::disable();
    console::flush();
    if let Some(base) = critical_section::with(|section| FINISHER.borrow(section).get()) {
        // SAFETY: `install` was told that the register is there.
        unsafe { mmio::register::<u32>(base).write(status.finisher_word()) };
        // The machine ends some instructions later. Asking the firmware at once would overwrite the status.
        let start = counters::now();
        while counters::timebase()
            .is_some_and(|timebase| timebase.micros(counters::now().since(start)) < FINISHER_PATIENCE_MICROS)
        {}
    }
    sbi::shut_down(status != ExitStatus::Success);
    loop {
        riscv::asm::wfi();
    }
}

/// Ends the run with status 0.
pub fn success() -> ! {
    power_off(ExitStatus::Success)
}

/// Ends the run with a failure.
pub fn failure(code: FailureCode) -> ! {
    power_off(ExitStatus::Failure(code))
}
