#![doc = include_str!("../README.md")]
#![no_std]

pub mod abuse;
pub mod args;
pub mod bdev;
pub mod blocktest;
pub mod buffer;
pub mod client;
pub mod load;
pub mod measure;
pub mod mfs;
#[cfg(target_arch = "riscv64")]
pub mod program;
pub mod random;
pub mod report;
pub mod shell;
pub mod user;
pub mod witness;

/// The entry point of a client program. On a host the program only prints a message.
#[macro_export]
macro_rules! client {
    ($test:path) => {
        #[cfg(target_arch = "riscv64")]
        minix_rt::entry!(main);

        #[cfg(target_arch = "riscv64")]
        fn main(args: minix_rt::Args) -> ! {
            $crate::program::run(args, $test)
        }

        #[cfg(not(target_arch = "riscv64"))]
        fn main() {
            println!("this program only runs on its target, riscv64gc-unknown-none-elf");
        }
    };
}
