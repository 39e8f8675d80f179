//! The program on the machine. On a host it only prints a message.

#![cfg_attr(target_arch = "riscv64", no_std, no_main)]

#[cfg(target_arch = "riscv64")]
mod program {
    use minix_rt::{Args, Minix, clock};
    use vblkctl::System;

    pub(crate) fn main(args: Args) -> u8 {
        vblkctl::run(&mut System::new(Minix::new(), clock::now), args)
    }
}

#[cfg(target_arch = "riscv64")]
minix_rt::program!(program::main);

#[cfg(not(target_arch = "riscv64"))]
fn main() {
    println!("vblkctl only runs on its target, as a program of MINIX 3 on riscv64");
}
