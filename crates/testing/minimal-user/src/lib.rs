//! What the programs of this crate share: the first instructions, and the end with a status.

#![no_std]

#[cfg(target_arch = "riscv64")]
mod start;

/// How a program failed. The number is the exit status of QEMU.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Failure {
    /// There is no device in the window.
    NoDevice = 1,
    /// The device did not come up.
    Start = 2,
    /// There is not enough memory.
    Memory = 3,
    /// A request was refused.
    Refused = 4,
    /// A request failed.
    Io = 5,
    /// What was read is not what was written.
    Differs = 6,
}

/// Names the function that a program starts with: `program!(run)` for a `fn run() -> Result<(), Failure>`.
///
/// It runs in S-mode with cleared statics, a stack of 64 KiB and interrupts off. On a host the program only says so.
#[macro_export]
macro_rules! program {
    ($run:path) => {
        #[cfg(target_arch = "riscv64")]
        // SAFETY: the name is the one that the start code calls, with this very signature.
        #[unsafe(no_mangle)]
        extern "Rust" fn minimal_run() -> Result<(), $crate::Failure> {
            $run()
        }

        #[cfg(not(target_arch = "riscv64"))]
        fn main() {
            let _: fn() -> Result<(), $crate::Failure> = $run;
            std::println!("this program only runs on its target, riscv64gc-unknown-none-elf");
        }
    };
}
