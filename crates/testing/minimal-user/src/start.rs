//! The first instructions, and the last.

use core::arch::naked_asm;

use crate::Failure;

/// The register that ends a run of QEMU, with a status that the host sees.
const FINISHER: *mut u32 = 0x10_0000 as *mut u32;

unsafe extern "Rust" {
    /// The program; see [`program!`](crate::program).
    fn minimal_run() -> Result<(), Failure>;
}

/// The entry point of the ELF file: loads what Rust code takes for granted, which is a stack and cleared statics.
// SAFETY: nothing else is called `_start`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.entry")]
extern "C" fn _start() -> ! {
    naked_asm!(
        // The linker must not reach for gp before it is loaded.
        ".option push",
        ".option norelax",
        "la gp, __global_pointer$",
        ".option pop",
        "la sp, _stack_top",
        // Both ends of .bss are multiples of 16.
        "la t0, _bss_start",
        "la t1, _bss_end",
        "1:",
        "bgeu t0, t1, 2f",
        "sd zero, 0(t0)",
        "addi t0, t0, 8",
        "j 1b",
        "2:",
        "j {rust}",
        rust = sym start_rust,
    )
}

/// Where assembly ends.
extern "C" fn start_rust() -> ! {
    // SAFETY: `program!` defines the function with this signature.
    match unsafe { minimal_run() } {
        Ok(()) => end(0x5555),
        Err(failure) => end(failed(failure as u8)),
    }
}

/// The word for an exit status that is not 0.
fn failed(status: u8) -> u32 {
    u32::from(status) << 16 | 0x3333
}

fn end(word: u32) -> ! {
    // SAFETY: the register is there on this machine, and nothing is translated.
    unsafe { FINISHER.write_volatile(word) };
    loop {
        core::hint::spin_loop();
    }
}

/// The exit status after a panic.
const PANIC: u8 = 101;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    end(failed(PANIC))
}
