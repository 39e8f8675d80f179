//! The kernel's program. On a host it says where it runs.

#![cfg_attr(target_arch = "riscv64", no_std, no_main)]

#[cfg(target_arch = "riscv64")]
mod kernel;

#[cfg(target_arch = "riscv64")]
board_qemu_virt::entry!(kernel::main);

#[cfg(not(target_arch = "riscv64"))]
fn main() {
    println!("testkernel only runs on its target, riscv64gc-unknown-none-elf; `cargo xtask qemu` boots it");
}
