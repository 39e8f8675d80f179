//! Tells the linker how the kernel is laid out. On a host there is nothing to tell.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "riscv64") {
        println!("cargo:rustc-link-arg-bins=-Tboard.ld");
    }
}
