//! Tells the linker how the programs are laid out. On a host there is nothing to tell.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is_target = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "riscv64");
    if is_target {
        // The script is minix-rt's, which puts it where the linker looks.
        println!("cargo:rustc-link-arg-bins=-Tminix.ld");
    }
}
