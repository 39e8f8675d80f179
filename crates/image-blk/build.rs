//! Tells the linker how the image is laid out. On a host there is nothing to tell.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DEFMT_LOG");
    let is_target = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "riscv64");
    if !is_target {
        return;
    }
    // The board's script has a place for the strings of defmt as well.
    println!("cargo:rustc-link-arg-bins=-Tboard.ld");
    // Without a level defmt would leave out everything but errors. This one is for the image's own messages; those of
    // the crates below it follow the environment.
    if std::env::var_os("DEFMT_LOG").is_none() {
        println!("cargo:rustc-env=DEFMT_LOG=info");
    }
}
