//! Switching the machine off, with a status the host sees.

use core::cell::Cell;

use critical_section::Mutex;
use sbi_rt::{NoReason, Shutdown, SystemFailure};
use virtio_fdt::PhysRange;

use super::{console, counters};
use crate::mmio;

/// The exit status of QEMU after a panic.
pub const PANIC: u8 = 101;
/// After an unexpected trap.
pub const TRAP: u8 = 102;
/// After the stack grew until it hit the memory of the firmware.
pub const STACK_OVERFLOW: u8 = 103;

static FINISHER: Mutex<Cell<Option<usize>>> = Mutex::new(Cell::new(None));

/// How long the finisher may take before the firmware is asked instead.
const FINISHER_TIMEOUT_MICROS: u64 = 1_000_000;

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

/// Ends the run with an exit status of QEMU: 0 is success; failures are 1 to 127, since larger numbers look like death by a
/// signal to a shell. The console is flushed first.
///
/// Uses the finisher of the device tree, or the firmware if there is none. Through the firmware the host only learns
/// whether the run failed, not the status.
pub fn off(status: u8) -> ! {
    riscv::interrupt::disable();
    console::flush();
    if let Some(base) = critical_section::with(|section| FINISHER.borrow(section).get()) {
        let word = match status {
            0 => 0x5555,
            failure => u32::from(failure) << 16 | 0x3333,
        };
        // SAFETY: the caller of `install` promised that the register is there.
        unsafe { mmio::register::<u32>(base).write(word) };
        // The machine ends some instructions later. Asking the firmware at once would overwrite the status.
        let start = counters::now();
        while counters::timebase()
            .is_some_and(|timebase| timebase.micros(counters::now().since(start)) < FINISHER_TIMEOUT_MICROS)
        {}
    }
    match status {
        0 => sbi_rt::system_reset(Shutdown, NoReason),
        _ => sbi_rt::system_reset(Shutdown, SystemFailure),
    };
    loop {
        riscv::asm::wfi();
    }
}
