//! Puts the linker script where the linker of a service looks for it.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=minix.ld");
    let out = env::var_os("OUT_DIR")
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other("cargo always sets OUT_DIR"))?;
    fs::copy("minix.ld", out.join("minix.ld"))?;
    // Search paths of a dependency reach the final link, so a service needs no more than `-Tminix.ld`.
    println!("cargo:rustc-link-search={}", out.display());
    Ok(())
}
