//! Tells the linker how the program is laid out. On a host there is nothing to tell.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is_target = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "riscv64");
    if is_target {
        println!("cargo:rustc-link-arg-bins=-Tminix.ld");
    }
}
