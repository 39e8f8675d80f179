//! The program: the service on the machine. On a host it only prints a message.

#![cfg_attr(target_arch = "riscv64", no_std, no_main)]

#[cfg(target_arch = "riscv64")]
mod program;

#[cfg(target_arch = "riscv64")]
minix_rt::entry!(program::main);

#[cfg(not(target_arch = "riscv64"))]
fn main() {
    println!("virtio_blk_mmio only runs on its target, as a service of MINIX 3 on riscv64");
}
