//! Puts the linker script where the linker of the image looks for it.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=board.ld");
    let out = env::var_os("OUT_DIR")
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other("cargo always sets OUT_DIR"))?;
    fs::copy("board.ld", out.join("board.ld"))?;
    // Search paths of a dependency reach the final link, so an image needs no more than `-Tboard.ld`.
    println!("cargo:rustc-link-search={}", out.display());
    Ok(())
}
