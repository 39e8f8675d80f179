//! The image. On a host this program only prints where it runs.

#![cfg_attr(target_arch = "riscv64", no_std, no_main)]

#[cfg(target_arch = "riscv64")]
mod image;

#[cfg(target_arch = "riscv64")]
board_qemu_virt::entry!(image::main);

#[cfg(not(target_arch = "riscv64"))]
fn main() {
    println!("image-board only runs on its target, riscv64gc-unknown-none-elf; `cargo xtask test board/` boots it");
}
