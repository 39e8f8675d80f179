//! Checks of the crates for the registry: what stands in their manifests, their packages, the oldest compiler and the oldest
//! dependencies they state, and the texts that are made from them.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use cargo_metadata::Package;

use super::cargo::{options, run, run_line};
use super::check::{Check, Context, Verdict};
use crate::generated::{Generated, api, driver_header, header, sizes};
use crate::progress::Progress;
use crate::published::{manifest, oldest};
use crate::tools::{cargo_of, ensure_nightly};
use crate::workspace::{RISCV, Workspace, cargo_home, directory, is_published};

pub(super) fn checks(workspace: &Workspace) -> Vec<Check> {
    let packages = options(published(workspace));
    vec![
        Check::new("generated/header", |context| {
            as_stated(context, header::generate(&context.workspace))?;
            as_stated(context, driver_header::generate(&context.workspace))
        }),
        Check::new("header/alone", |context| header_compiles(context, "alone.c")),
        Check::new("header/linux", |context| header_compiles(context, "linux.c")),
        Check::new("published/manifests", |context| {
            let of = |package| manifest::faults(package, &context.workspace.root);
            let faults: Vec<String> = published(&context.workspace).flat_map(of).collect();
            if faults.is_empty() {
                Ok(())
            } else {
                Err(faults.join("\n"))
            }
        }),
        Check::new("published/packages", move |context| {
            let folder = context.workspace.scratch().join("packages");
            let forgotten = forget_packages(&context.workspace, &folder);
            forgotten.map_err(|error| format!("cannot remove what an earlier run has left: {error}"))?;
            let folder = folder.display();
            package(context, &format!("--target-dir {folder} --target {RISCV} {packages}"))
        }),
        Check::new("published/oldest-compiler", |context| {
            check_with_oldest_compiler(context, &context.workspace.root)
        }),
        Check::new("generated/sizes", |context| {
            as_stated(context, sizes::generate(&context.workspace, Progress::Silent))
        }),
    ]
}

/// The checks that need a nightly toolchain, or why there are none.
pub(super) fn checks_with_nightly(workspace: &Workspace) -> anyhow::Result<Vec<Check>> {
    ensure_nightly(workspace)?;
    let packages = options(published(workspace));
    let mut checks = vec![Check::new("published/oldest-dependencies", move |context| {
        package(context, &format!("--no-verify {packages}"))?;
        let published: Vec<&Package> = published(&context.workspace).collect();
        let folder = oldest::prepare(&context.workspace, &published).map_err(|error| format!("{error:#}"))?;
        check_with_oldest_compiler(context, &folder)
    })];
    checks.extend(published(workspace).map(|package| {
        let name = package.name.to_string();
        Check::new(format!("generated/api/{name}"), move |context| {
            let package = context.workspace.package(&name);
            let text = package.and_then(|package| api::generate(&context.workspace, package, Progress::Silent));
            as_stated(context, text)
        })
    }));
    Ok(checks)
}

/// The crates for the registry.
fn published(workspace: &Workspace) -> impl Iterator<Item = &Package> {
    workspace.packages.iter().filter(|package| is_published(package))
}

/// As for publishing, in the order of their dependencies.
fn package(context: &Context, options: &str) -> Verdict {
    let line = format!("package --allow-dirty {options}");
    let output = run_line(context, &line)?;
    // There is no option to make it fail on a warning.
    if output.lines().any(|line| line.starts_with("warning")) {
        return Err(format!("$ cargo {line}\n{output}"));
    }
    Ok(())
}

/// Removes what cargo has of the packages of an earlier run. To verify them it puts them into a registry in the folder, and takes what
/// is in a registry for what never changes: it would build the old ones.
fn forget_packages(workspace: &Workspace, folder: &Path) -> io::Result<()> {
    let remove = |folder: &Path| match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    remove(folder)?;
    for registry in fs::read_dir(cargo_home().join("registry/src")).into_iter().flatten() {
        let registry = registry?;
        // Those of folders have no host in their names.
        if registry.file_name().to_string_lossy().starts_with('-') {
            for package in published(workspace) {
                remove(&registry.path().join(format!("{}-{}", package.name, package.version)))?;
            }
        }
    }
    Ok(())
}

/// Checks the crates in a workspace, without features and with all, with the compiler that they state.
fn check_with_oldest_compiler(context: &Context, folder: &Path) -> Verdict {
    let version = |package: &Package| package.rust_version.as_ref().map(ToString::to_string);
    let version = published(&context.workspace)
        .find_map(version)
        .ok_or("no crate states a compiler")?;
    // With all features a program would need a heap.
    for (features, targets) in [
        ("--no-default-features", &["--lib", "--bins"][..]),
        ("--all-features", &["--lib"]),
    ] {
        let mut command = cargo_of(&context.workspace, &version, RISCV).map_err(|error| format!("{error:#}"))?;
        command
            .args(["check", "--locked", "--target", RISCV, features])
            .args(targets);
        for package in published(&context.workspace) {
            command.args(["--package", &package.name]);
        }
        command.env("CARGO_TARGET_DIR", &context.workspace.target);
        command.env("CARGO_TERM_QUIET", "true");
        run(command.current_dir(folder)).map_err(|output| format!("Rust {version}, {features}:\n{output}"))?;
    }
    Ok(())
}

/// A C file of the tests of `virtio-blk-proto` compiles with the header, without a warning. Its assertions are the test.
fn header_compiles(context: &Context, file: &str) -> Verdict {
    let package = context.workspace.package("virtio-blk-proto");
    let package = directory(package.map_err(|error| format!("{error:#}"))?).to_owned();
    let mut compiler = Command::new("cc");
    compiler.args([
        "-std=c11",
        "-pedantic",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fsyntax-only",
        "-I",
    ]);
    compiler
        .arg(package.join("include"))
        .arg(package.join("tests/c").join(file));
    run(&mut compiler).map(drop)
}

/// The file is as it is generated.
fn as_stated(context: &Context, generated: anyhow::Result<Generated>) -> Verdict {
    let generated = generated.map_err(|error| format!("{error:#}"))?;
    match generated.difference(&context.workspace.root) {
        None => Ok(()),
        Some(difference) => Err(difference),
    }
}
