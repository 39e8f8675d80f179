//! The first instructions, and the doors to the program's own code.

/// Names the function a service starts with: `entry!(main)` for a `fn main(args: Args) -> !`. Only on riscv64.
///
/// The entry point of the ELF file and the panic handler come with it. So only programs have them: an image of another kind can
/// link this crate for the rest of it, as the measurements of the service do.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        $crate::first_instructions!();

        /// Where assembly ends.
        extern "C" fn minix_start(stack: *const u64) -> ! {
            let main: fn($crate::Args) -> ! = $main;
            // SAFETY: the kernel left the command line at the first stack pointer, and no code writes to that part of the stack.
            main(unsafe { $crate::Args::from_stack(stack) })
        }

        #[panic_handler]
        fn minix_panic(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::panicked(info)
        }
    };
}

/// Names the function a program starts with that is no service: `program!(main)` for a `fn main(args: Args) -> u8`, which returns
/// the exit status. Only on riscv64.
///
/// As [`entry!`] it brings the entry point of the ELF file and a panic handler; this one prints on standard error output
/// and ends the program with the status 101.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        $crate::first_instructions!();

        /// Where assembly ends.
        extern "C" fn minix_start(stack: *const u64) -> ! {
            let main: fn($crate::Args) -> u8 = $main;
            // SAFETY: the kernel left the command line at the first stack pointer, and no code writes to that part of the stack.
            let status = main(unsafe { $crate::Args::from_stack(stack) });
            $crate::program::exit(&mut $crate::Minix::new(), status)
        }

        #[panic_handler]
        fn minix_panic(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::program_panicked(info)
        }
    };
}

/// The entry point of the ELF file, which jumps to `minix_start`. A part of [`entry!`] and [`program!`].
#[doc(hidden)]
#[macro_export]
macro_rules! first_instructions {
    () => {
        /// The entry point of the ELF file.
        ///
        /// The stack is there, statics are cleared, `tp` is zero and stays so. What is left to do is to load `gp` and to pass the
        /// stack pointer on; the command line starts there.
        // SAFETY: the linker script puts this section first and nothing else is called `_start`.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.entry")]
        extern "C" fn _start() -> ! {
            ::core::arch::naked_asm!(
                // The linker must not reach for gp before it is loaded.
                ".option push",
                ".option norelax",
                "la gp, __global_pointer$",
                ".option pop",
                "mv a0, sp",
                // It is aligned already. Everything depends on it.
                "andi sp, sp, -16",
                "tail {rust}",
                rust = sym minix_start,
            )
        }
    };
}
