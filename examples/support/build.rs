//! Puts the memory map where the linker of an example looks for it.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=memory.x");
    let out = env::var_os("OUT_DIR")
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other("cargo always sets OUT_DIR"))?;
    fs::copy("memory.x", out.join("memory.x"))?;
    // Search paths of a dependency reach the final link.
    println!("cargo:rustc-link-search={}", out.display());
    Ok(())
}
