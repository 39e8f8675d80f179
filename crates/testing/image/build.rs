//! Passes the layout of the image to the linker. On a host there is none.

use std::path::PathBuf;
use std::{env, fs, io};

/// The driver, with room for a thousand requests, is moved by value a few times while it comes up and goes down.
const STACK_BYTES: u32 = 1280 << 10;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DEFMT_LOG");
    let is_target = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "riscv64");
    if !is_target {
        return Ok(());
    }
    let out = env::var_os("OUT_DIR")
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other("cargo always sets OUT_DIR"))?;
    let stack = out.join("stack.ld");
    fs::write(&stack, format!("_stack_bytes = {STACK_BYTES};\n"))?;
    // The board's script takes the size of the stack from the one before it, and has a place for defmt's strings as well.
    println!("cargo:rustc-link-arg-bins=-T{}", stack.display());
    println!("cargo:rustc-link-arg-bins=-Tboard.ld");
    // Without a level defmt would leave out everything but errors. This one is for the image's own messages; those of
    // the crates below it follow the environment.
    if env::var_os("DEFMT_LOG").is_none() {
        println!("cargo:rustc-env=DEFMT_LOG=info");
    }
    Ok(())
}
