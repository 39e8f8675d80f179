//! Checks that cargo does: format, lints, tests, documentation, builds, packages.

use std::path::Path;
use std::process::Command;

use super::{Check, Verdict};
use crate::progress::Progress;
use crate::workspace::{Package, RISCV, Workspace};

pub(super) fn checks(workspace: &Workspace) -> Vec<Check> {
    let names = |packages: Vec<&Package>| packages.iter().map(|package| package.name.clone()).collect::<Vec<_>>();
    let packages: Vec<&Package> = workspace.packages.iter().collect();
    let bare: Vec<&Package> = packages
        .iter()
        .copied()
        .filter(|package| package.feature_sets().is_some())
        .collect();
    let published: Vec<&Package> = packages
        .iter()
        .copied()
        .filter(|package| package.is_published())
        .collect();
    let mut checks = vec![
        Check::new("lockfile", |context| {
            cargo(
                context
                    .workspace
                    .cargo()
                    .args(["metadata", "--locked", "--format-version=1"]),
            )
            .map_err(brief)
        }),
        Check::new("fmt", |context| {
            cargo(
                context
                    .workspace
                    .cargo()
                    .args(["fmt", "--all", "--check", "--", "--color=never"]),
            )
        }),
        Check::new("clippy/host", |context| {
            cargo(
                context
                    .workspace
                    .cargo()
                    .args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
            )
        }),
        clippy_bare(names(bare.clone())),
    ];
    for name in names(packages.clone()) {
        checks.push(Check::new(format!("test/{name}"), move |context| {
            cargo(context.workspace.cargo().args(["test", "--package", &name]))
        }));
    }
    checks.push(Check::new("doc", |context| {
        let arguments = ["doc", "--workspace", "--no-deps"];
        cargo(
            context
                .workspace
                .cargo()
                .args(arguments)
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    }));
    checks.extend(bare.iter().map(|package| build(package)));
    checks.extend(published.iter().map(|package| alone(package)));
    checks.push(package(names(published)));
    checks
}

/// Lints the code that only exists on the target, without features and with all.
fn clippy_bare(names: Vec<String>) -> Check {
    Check::new("clippy/riscv64", move |context| {
        for features in [&[][..], &["--all-features"]] {
            let mut command = context.workspace.cargo();
            command.args(["clippy", "--target", RISCV]).args(features);
            for name in &names {
                command.args(["--package", name]);
            }
            cargo(command.args(["--", "-D", "warnings"]))?;
        }
        Ok(())
    })
}

/// Builds a library for the target with every feature set it declares, and the programs of its crate as they are used.
fn build(package: &Package) -> Check {
    let name = package.name.clone();
    let has_programs = package.programs().next().is_some();
    let sets: Vec<String> = package
        .feature_sets()
        .unwrap_or_default()
        .iter()
        .map(|set| set.join(","))
        .collect();
    Check::new(format!("build/{name}"), move |context| {
        for set in &sets {
            let arguments = [
                "build",
                "--package",
                &name,
                "--lib",
                "--target",
                RISCV,
                "--features",
                set,
            ];
            cargo(context.workspace.cargo().args(arguments)).map_err(|text| format!("features [{set}]:\n{text}"))?;
        }
        if has_programs {
            // Linked as they are booted: a linker script that does not fit shows only here.
            let arguments = ["build", "--release", "--package", &name, "--bins", "--target", RISCV];
            cargo(context.workspace.cargo().args(arguments))?;
        }
        Ok(())
    })
}

/// Builds a crate from a small crate outside the workspace that depends on nothing else, with default features.
fn alone(package: &Package) -> Check {
    let name = package.name.clone();
    let directory = package.directory().to_owned();
    Check::new(format!("alone/{name}"), move |context| {
        let outside = tempfile::tempdir().map_err(|error| error.to_string())?;
        write_dependent(outside.path(), &name, &directory, &context.workspace.root)
            .map_err(|error| format!("cannot write the outside crate: {error}"))?;
        let mut command = context.workspace.cargo();
        // Everything needed is on the machine, since the workspace itself was built.
        command
            .args(["build", "--offline", "--target", RISCV])
            .current_dir(outside.path());
        // What was built of the same sources in the workspace is taken from there.
        command.env("CARGO_TARGET_DIR", &context.workspace.target);
        cargo(&mut command)
    })
}

/// The outside crate. The lock file of the workspace pins the same versions there.
fn write_dependent(outside: &Path, name: &str, directory: &Path, root: &Path) -> std::io::Result<()> {
    let manifest = format!(
        "[package]\nname = \"outside\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\n{name} = {{ path = {directory:?} }}\n\n[workspace]\n"
    );
    std::fs::write(outside.join("Cargo.toml"), manifest)?;
    std::fs::copy(root.join("Cargo.lock"), outside.join("Cargo.lock"))?;
    std::fs::copy(root.join("rust-toolchain.toml"), outside.join("rust-toolchain.toml"))?;
    std::fs::create_dir(outside.join("src"))?;
    let code = format!("#![no_std]\npub use {} as dependency;\n", name.replace('-', "_"));
    std::fs::write(outside.join("src/lib.rs"), code)
}

/// Packages everything that is meant for the registry, as for publishing.
fn package(names: Vec<String>) -> Check {
    Check::new("package", move |context| {
        let mut command = context.workspace.cargo();
        command.args(["package", "--no-verify", "--allow-dirty"]);
        for name in &names {
            command.args(["--package", name]);
        }
        let output = run(&mut command)?;
        match output.lines().find(|line| line.starts_with("warning")) {
            Some(_) => Err(output),
            None => Ok(()),
        }
    })
}

fn cargo(command: &mut Command) -> Verdict {
    // Without what is being compiled, a failure begins with its reason.
    run(command.env("CARGO_TERM_QUIET", "true")).map(drop)
}

/// What the command printed; as an error if it failed.
pub(super) fn run(command: &mut Command) -> Result<String, String> {
    // Colours would only clutter the indented output.
    command.env("CARGO_TERM_COLOR", "never");
    let finished = Progress::Silent
        .step("", |step| step.command(&*command))
        .map_err(|error| format!("{error:#}"))?;
    if finished.status.success() {
        Ok(finished.output)
    } else {
        Err(finished.output)
    }
}

/// The last line is the reason; what comes before may be megabytes.
fn brief(text: String) -> String {
    text.lines()
        .filter(|line| line.len() < 1000)
        .collect::<Vec<_>>()
        .join("\n")
}
