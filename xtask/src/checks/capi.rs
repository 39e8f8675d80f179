//! The driver for C: the example is built by a cross compiler and reads a sector in QEMU.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cargo::run as succeeds;
use super::check::{Check, Context, Guest, Verdict};
use super::small_machine;
use crate::progress::Progress;
use crate::tools;
use crate::workspace::{RISCV, directory};

/// The crate, and the library that is made of it.
const CRATE: &str = "virtio-blk-capi";
const LIBRARY: &str = "libvirtio_blk_capi.a";

/// For a program without an operating system, at its place in memory, for the instructions and calls of [`RISCV`].
const OPTIONS: [&str; 16] = [
    "-std=c11",
    "-pedantic",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-O2",
    "-ffreestanding",
    "-fno-pie",
    "-no-pie",
    "-static",
    "-nostdlib",
    "-march=rv64gc",
    "-mabi=lp64d",
    "-mcmodel=medany",
    "-fno-stack-protector",
    // It would come first in memory.
    "-Wl,--build-id=none",
];

/// The sector that the program reads, and its first line.
const SECTOR: usize = 3;
const LINE: &str = "read through the C API";

pub(super) fn checks() -> Vec<Check> {
    [("modern", "false"), ("legacy", "true")]
        .map(|(name, legacy)| Check {
            boots: Some(Guest::Bare),
            ..Check::new(format!("capi/run/{name}"), move |context| {
                let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
                let program = build(context, folder.path())?;
                boot(context, folder.path(), &program, legacy)
            })
        })
        .into()
}

/// Builds library and program.
fn build(context: &Context, folder: &Path) -> Result<PathBuf, String> {
    let compiler = tools::ensure_package(
        &context.workspace,
        tools::C_COMPILER,
        context.may_install,
        Progress::Silent,
    );
    let compiler = compiler.map_err(|error| format!("{error:#}"))?;
    let mut cargo = context.workspace.cargo();
    cargo.args([
        "rustc",
        "--quiet",
        "--release",
        "--package",
        CRATE,
        "--lib",
        "--target",
        RISCV,
    ]);
    cargo.args(["--features", "panic-handler", "--crate-type", "staticlib"]);
    succeeds(&mut cargo)?;
    let package = context.workspace.package(CRATE).map_err(|error| format!("{error:#}"))?;
    let package = directory(package);
    let example = package.join("example");
    let program = folder.join("program");
    let mut command = Command::new(compiler);
    command.args(OPTIONS).arg("-I").arg(package.join("include"));
    command
        .arg("-T")
        .arg(example.join("program.ld"))
        .arg("-o")
        .arg(&program);
    command.args(["start.S", "read_sector.c"].map(|file| example.join(file)));
    command.arg(context.workspace.target.join(RISCV).join("release").join(LIBRARY));
    succeeds(&mut command)?;
    Ok(program)
}

/// Boots the program with a disk that has the line. It prints what it reads.
fn boot(context: &Context, folder: &Path, program: &Path, legacy: &str) -> Verdict {
    let disk = folder.join("disk");
    let mut content = vec![0; 1 << 20];
    content[SECTOR * 512..][..LINE.len()].copy_from_slice(LINE.as_bytes());
    std::fs::write(&disk, &content).map_err(|error| error.to_string())?;
    small_machine::boot(context, program, &disk, legacy, |text| {
        text.lines().any(|line| line.trim() == LINE)
    })
}
