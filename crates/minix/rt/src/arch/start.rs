//! The first instructions, and the door to the program's own code.

use core::arch::naked_asm;

use crate::Args;

unsafe extern "Rust" {
    /// The program's main function; see [`entry!`](crate::entry).
    fn minix_main(args: Args) -> !;
}

/// Names the function a program starts with: `entry!(main)` for a `fn main(args: Args) -> !`. Only on riscv64.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // SAFETY: the name is the one the runtime calls, with this very signature.
        #[unsafe(no_mangle)]
        extern "Rust" fn minix_main(args: $crate::Args) -> ! {
            let main: fn($crate::Args) -> ! = $main;
            main(args)
        }
    };
}

/// The entry point of the ELF file.
///
/// The stack is there, statics are cleared, `tp` is zero and stays so. What is left to do is to load `gp` and to pass the
/// stack pointer on; the command line starts there.
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
        "mv a0, sp",
        // It is aligned already. Everything depends on it.
        "andi sp, sp, -16",
        "tail {rust}",
        rust = sym start_rust,
    )
}

/// Where assembly ends.
extern "C" fn start_rust(stack: *const u64) -> ! {
    // SAFETY: the kernel left the command line at the first stack pointer; no code writes to that part of the stack.
    let args = unsafe { Args::from_stack(stack) };
    // SAFETY: the program defines the function with this signature; `entry!` sees to that.
    unsafe { minix_main(args) }
}
