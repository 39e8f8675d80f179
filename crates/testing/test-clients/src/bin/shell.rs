//! The program `shell`. On a host this is a program that says that it runs elsewhere.

#![cfg_attr(target_arch = "riscv64", no_std, no_main)]

#[cfg(target_arch = "riscv64")]
minix_rt::entry!(main);

#[cfg(target_arch = "riscv64")]
fn main(args: minix_rt::Args) -> ! {
    test_clients::program::run(args, test_clients::shell::main)
}

#[cfg(not(target_arch = "riscv64"))]
fn main() {
    println!("shell only runs on its target, riscv64gc-unknown-none-elf");
}
