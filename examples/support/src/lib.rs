//! What the examples have in common: [`program!`] names the function that an example starts with, [`println!`] prints to the console of
//! the firmware, and a [`Failure`] ends the run with a status that the host sees.
//!
//! The start code is that of `riscv-rt`. On a host an example only says where it runs, so that editors and lints work there.

#![cfg_attr(target_arch = "riscv64", no_std)]

pub mod console;
mod failure;
#[cfg(target_arch = "riscv64")]
mod machine;

pub use failure::Failure;
#[cfg(target_arch = "riscv64")]
pub use machine::end;
#[doc(hidden)]
#[cfg(target_arch = "riscv64")]
pub use riscv_rt;

/// Names the function that an example starts with: `program!(run)` for a `fn run() -> Result<(), Failure>`.
///
/// It runs in S-mode on one hart, with interrupts off and no address translation.
#[macro_export]
macro_rules! program {
    ($run:path) => {
        #[cfg(target_arch = "riscv64")]
        #[$crate::riscv_rt::entry]
        fn main() -> ! {
            $crate::end($run())
        }

        #[cfg(not(target_arch = "riscv64"))]
        // SAFETY: this is the function that a C runtime calls, and it ignores the arguments.
        #[unsafe(no_mangle)]
        extern "C" fn main() -> i32 {
            let _: fn() -> Result<(), $crate::Failure> = $run;
            $crate::println!("this example runs on riscv64: `cargo xtask qemu --example NAME` boots it");
            2
        }
    };
}
