//! Tells the crate whether it is compiled for size. Then it leaves out what only makes it faster.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(optimize_for_size)");
    if std::env::var("OPT_LEVEL").is_ok_and(|level| level == "s" || level == "z") {
        println!("cargo::rustc-cfg=optimize_for_size");
    }
}
