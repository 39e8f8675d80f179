//! The few calls into the firmware that the board needs (RISC-V SBI specification).

use core::arch::asm;

const TIME: usize = 0x5449_4d45;
const SYSTEM_RESET: usize = 0x5352_5354;
const LEGACY_CONSOLE_PUTCHAR: usize = 0x01;

/// One call with two arguments. Returns the error code and the value.
fn call(extension: usize, function: usize, first: usize, second: usize) -> (isize, usize) {
    let (error, value);
    // SAFETY: the calls made in this module set a timer, print a byte or end the machine; none of them accesses memory
    // of the caller. By the calling convention all registers but a0 and a1 are preserved.
    unsafe {
        asm!(
            "ecall",
            inlateout("a0") first => error,
            inlateout("a1") second => value,
            in("a6") function,
            in("a7") extension,
            options(nostack),
        );
    }
    (error, value)
}

/// Makes the timer interrupt pending once the `time` counter reaches `deadline` ticks, and not before.
pub fn set_timer(deadline: u64) {
    call(TIME, 0, deadline as usize, 0);
}

/// Asks the firmware to switch the machine off. Returns only if it cannot.
pub fn shut_down(failed: bool) {
    call(SYSTEM_RESET, 0, 0, usize::from(failed));
}

/// Prints a byte on the firmware's console, for the time before the board has its own.
pub fn put_byte(byte: u8) {
    call(LEGACY_CONSOLE_PUTCHAR, 0, byte.into(), 0);
}
