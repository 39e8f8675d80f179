//! The program `user`.

#![cfg_attr(target_arch = "riscv64", no_std, no_main)]

#[cfg(target_arch = "riscv64")]
minix_rt::program!(main);

#[cfg(target_arch = "riscv64")]
fn main(args: minix_rt::Args) -> u8 {
    test_clients::user::main(&mut minix_rt::Minix::new(), args)
}

#[cfg(not(target_arch = "riscv64"))]
fn main() {
    println!("this program only runs on its target, riscv64gc-unknown-none-elf");
}
