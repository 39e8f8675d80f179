//! The image: what runs on the machine. On a host this is a program that says so.

#![cfg_attr(target_arch = "riscv64", no_std, no_main)]

#[cfg(target_arch = "riscv64")]
extern crate alloc;

#[cfg(target_arch = "riscv64")]
mod image;

#[cfg(target_arch = "riscv64")]
board_qemu_virt::entry!(image::main);

#[cfg(not(target_arch = "riscv64"))]
fn main() {
    println!("image-blk only runs on its target, riscv64gc-unknown-none-elf; `cargo xtask qemu --bare` boots it");
}
