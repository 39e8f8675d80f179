//! The first instructions, and the door to the image's own code.
//!
//! OpenSBI enters here in S-mode with the hart id in a0, the address of the device tree in a1, interrupts off and no
//! address translation. Only the boot hart comes: the others stay stopped in OpenSBI until `Harts::start` has them started through
//! its hart state management. They enter at another place, with a stack of their own.

use core::arch::naked_asm;

unsafe extern "Rust" {
    /// The image's main function; see [`entry!`](crate::entry).
    fn board_main(boot: Boot) -> !;
}

/// The values from the firmware: proof that the machine has just started.
///
/// There is one value of this type per run, and [`Board::take`](crate::Board::take) uses it up.
#[derive(Debug)]
pub struct Boot {
    pub(super) hart_id: usize,
    pub(super) tree_address: usize,
}

/// Names the function an image starts with: `entry!(main)` for a `fn main(boot: Boot) -> !`.
///
/// It runs on a stack of at least 1280 KiB with interrupts off, `.bss` cleared and traps caught.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // SAFETY: the name is the one the board calls, with this very signature.
        #[unsafe(no_mangle)]
        extern "Rust" fn board_main(boot: $crate::Boot) -> ! {
            let main: fn($crate::Boot) -> ! = $main;
            main(boot)
        }
    };
}

/// The entry point of the ELF file.
///
/// Loads what Rust code takes for granted: the global pointer, a stack, cleared statics. a0 and a1 are left alone.
// SAFETY: the linker script puts this section first and nothing else is called `_start`.
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
        // Interrupts off at both levels, traps to our vector, on their own stack.
        "csrci sstatus, 2",
        "csrw sie, zero",
        "la t0, {trap}",
        "csrw stvec, t0",
        "la t0, _trap_stack_top",
        "csrw sscratch, t0",
        "mv tp, zero",
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
        trap = sym super::trap::vector,
        rust = sym start_rust,
    )
}

/// Where assembly ends.
extern "C" fn start_rust(hart_id: usize, tree_address: usize) -> ! {
    let boot = Boot { hart_id, tree_address };
    // SAFETY: the image defines the function with this signature; `entry!` sees to that.
    unsafe { board_main(boot) }
}

/// Where a hart other than the boot hart enters, with the address of its [`StartBlock`](super::harts::StartBlock) in a1.
///
/// # Safety
///
/// Not called by code. The firmware jumps here.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn start_hart() -> ! {
    naked_asm!(
        ".option push",
        ".option norelax",
        "la gp, __global_pointer$",
        ".option pop",
        "csrci sstatus, 2",
        "csrw sie, zero",
        "la t0, {trap}",
        "csrw stvec, t0",
        "ld sp, 0(a1)",
        "ld t0, 8(a1)",
        "csrw sscratch, t0",
        "ld tp, 16(a1)",
        "j {rust}",
        trap = sym super::trap::vector,
        rust = sym super::harts::started,
    )
}
