//! Passes the layout of the image to the linker. On a host there is none.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DEFMT_LOG");
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "riscv64") {
        // The board's script has a place for defmt's strings as well.
        println!("cargo:rustc-link-arg-bins=-Tboard.ld");
        // Without a level defmt would leave out everything but errors. This one is for the image's own messages; those of
        // the crates below it follow the environment.
        if env::var_os("DEFMT_LOG").is_none() {
            println!("cargo:rustc-env=DEFMT_LOG=info");
        }
    }
}
