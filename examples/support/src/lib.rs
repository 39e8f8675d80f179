//! What the examples have in common: [`program!`] names the function that an example starts with, [`println!`] prints to the console of
//! the firmware, a [`Failure`] ends the run with a status that the host sees, and [`device_tree`], [`Plic`] and `harts` are about the machine.
//!
//! The start code is that of `riscv-rt`. On a host an example only says where it runs, so that editors and lints work there.

#![cfg_attr(target_arch = "riscv64", no_std)]

pub mod console;
mod failure;
mod firmware;
pub mod harts;
#[cfg(target_arch = "riscv64")]
mod machine;
mod plic;
#[cfg(not(target_arch = "riscv64"))]
#[path = "host.rs"]
mod sbi;
#[cfg(target_arch = "riscv64")]
mod sbi;

pub use failure::Failure;
pub use firmware::{boot_hart, device_tree};
#[cfg(target_arch = "riscv64")]
pub use machine::end;
#[doc(hidden)]
#[cfg(target_arch = "riscv64")]
pub use machine::start;
pub use plic::Plic;
#[doc(hidden)]
#[cfg(target_arch = "riscv64")]
pub use riscv_rt;

/// Ends the run, which there is none of on a host.
#[cfg(not(target_arch = "riscv64"))]
pub fn end(_: Result<(), Failure>) -> ! {
    std::process::exit(2)
}

/// Names the function that an example starts with: `program!(run)` for a `fn run() -> Result<(), Failure>`.
///
/// It runs in S-mode on the boot hart, with interrupts off and no address translation. With `program!(run, on_interrupt)`, `on_interrupt` is called
/// for each external interrupt that is let through.
#[macro_export]
macro_rules! program {
    ($run:path) => {
        #[cfg(target_arch = "riscv64")]
        #[$crate::riscv_rt::entry]
        fn main(hart: usize, tree: usize) -> ! {
            // SAFETY: riscv-rt hands on what the firmware has passed: by the SBI boot protocol, the address of the device tree.
            unsafe { $crate::start(hart, tree, $run) }
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
    ($run:path, $on_interrupt:path) => {
        $crate::program!($run);

        // SAFETY: riscv-rt calls the function of this name for each external interrupt.
        #[unsafe(export_name = "SupervisorExternal")]
        extern "C" fn external_interrupt() {
            $on_interrupt();
        }
    };
}
