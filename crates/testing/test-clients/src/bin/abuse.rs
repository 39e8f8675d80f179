//! The program `abuse`. On a host this is a program that says that it runs elsewhere.

#![cfg_attr(target_arch = "riscv64", no_std, no_main)]

#[cfg(target_arch = "riscv64")]
minix_rt::entry!(main);

#[cfg(target_arch = "riscv64")]
fn main(args: minix_rt::Args) -> ! {
    test_clients::program::run(args, test_clients::abuse::main)
}

#[cfg(not(target_arch = "riscv64"))]
fn main() {
    println!("abuse only runs on its target, riscv64gc-unknown-none-elf");
}
