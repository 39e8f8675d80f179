//! Tells the linker how the kernel is laid out. On a host there is nothing to tell.

use std::path::PathBuf;
use std::{env, fs, io};

/// The table of processes is moved by value when the kernel starts.
const STACK_BYTES: u32 = 1280 << 10;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let is_target = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "riscv64");
    if !is_target {
        return Ok(());
    }
    let out = env::var_os("OUT_DIR")
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other("cargo always sets OUT_DIR"))?;
    let stack = out.join("stack.ld");
    fs::write(&stack, format!("_stack_bytes = {STACK_BYTES};\n"))?;
    // The board's script takes the size of the stack from the one before it.
    println!("cargo:rustc-link-arg-bins=-T{}", stack.display());
    println!("cargo:rustc-link-arg-bins=-Tboard.ld");
    Ok(())
}
