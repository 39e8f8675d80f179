//! Passes the layout of the programs to the linker. On a host there is none.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=minimal.ld");
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "riscv64") {
        let directory = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-T{directory}/minimal.ld");
    }
}
