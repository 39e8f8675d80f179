//! The image: what runs on the machine. On a host this is a program that says so.
//!
//! What needs no machine (the partition table, the monitor's language) is compiled for host tests as well.

#![cfg_attr(target_arch = "riscv64", no_std, no_main)]

#[cfg(any(target_arch = "riscv64", test))]
mod image;

#[cfg(target_arch = "riscv64")]
board_qemu_virt::entry!(image::main);

#[cfg(not(target_arch = "riscv64"))]
fn main() {
    println!("image-blk only runs on its target, riscv64gc-unknown-none-elf; `cargo xtask qemu` boots it");
}
