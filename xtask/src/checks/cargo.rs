//! Checks that cargo does: format, lints, tests, documentation, builds, packages.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use cargo_metadata::Package;

use super::check::{Check, Verdict};
use super::foreign;
use crate::progress::Progress;
use crate::tools;
use crate::workspace::{RISCV, Workspace, directory, feature_sets, is_published, other_targets, programs};

pub(super) fn checks(workspace: &Workspace) -> Vec<Check> {
    let of = |kind: fn(&Package) -> bool| workspace.packages.iter().filter(move |package| kind(package));
    let bare = || of(|package| feature_sets(package).is_some());
    let published = options(of(is_published));
    // Programs with a heap apart: the features of their dependencies would make all others need a heap.
    let has_heap = |package: &&Package| package.dependencies.iter().any(|on| on.name == "bare-image");
    let on_target = [
        options(bare().filter(|package| !has_heap(package))),
        options(bare().filter(has_heap)),
    ];
    // The code that only exists on the target, without features and with all.
    let clippy = on_target.iter().flat_map(|packages| {
        ["", "--all-features"].map(|features| format!("clippy --target {RISCV} {features} {packages} -- -D warnings"))
    });

    let mut checks = vec![
        check("lockfile", ["metadata --locked --format-version=1"]),
        check("fmt", ["fmt --all --check -- --color=never"]),
        check("clippy/host", ["clippy --workspace --all-targets -- -D warnings"]),
        check("clippy/riscv64", clippy),
    ];
    let on_devices = |package: &&Package| foreign::ON_THE_HOST.iter().any(|(_, name)| package.name == *name);
    checks.extend(
        of(|_| true)
            .filter(|package| !on_devices(package))
            .map(|Package { name, .. }| check(&format!("test/{name}"), [format!("test --package {name}")])),
    );
    let deny = r#"--config build.rustdocflags=["-D","warnings"]"#;
    checks.push(check("doc", [format!("doc --workspace --no-deps {deny}")]));
    checks.extend(bare().map(build));
    checks.extend(others(workspace));
    checks.extend(of(is_published).map(alone));
    // As for publishing.
    checks.push(check(
        "package",
        [format!("package --no-verify --allow-dirty {published}")],
    ));
    checks
}

/// For each target beside [`RISCV`], its crates with every feature set they declare, and what the linter says of them there.
fn others(workspace: &Workspace) -> impl Iterator<Item = Check> {
    let packages = &workspace.packages;
    let targets: BTreeSet<String> = packages.iter().flat_map(other_targets).collect();
    targets.into_iter().map(move |target| {
        let of_target = || {
            packages
                .iter()
                .filter(|package| other_targets(package).contains(&target))
        };
        let names = options(of_target());
        let lint = ["", "--all-features"]
            .map(|features| format!("clippy --target {target} {features} {names} -- -D warnings"));
        let lines = of_target()
            .flat_map(|package| libraries("check", package, &target))
            .chain(lint);
        let check = check(&format!("build/{target}"), lines);
        Check::new(check.name, move |context| {
            tools::ensure_target(&context.workspace, &target, Progress::Silent)
                .map_err(|error| format!("{error:#}"))?;
            (check.work)(context)
        })
    })
}

/// A check that calls cargo with each of the lines.
fn check<T: Into<String>>(name: &str, lines: impl IntoIterator<Item = T>) -> Check {
    let lines: Vec<String> = lines.into_iter().map(Into::into).collect();
    Check::new(name, move |context| {
        for line in &lines {
            let failed = |output: String| format!("$ cargo {line}\n{}", brief(&output));
            let mut command = context.workspace.cargo();
            command.args(line.split_whitespace());
            if !line.starts_with("package") {
                cargo(&mut command).map_err(failed)?;
                continue;
            }
            // There is no option to make it fail on a warning, and a quiet cargo prints none.
            let output = run(&mut command).map_err(failed)?;
            if output.lines().any(|line| line.starts_with("warning")) {
                return Err(failed(output));
            }
        }
        Ok(())
    })
}

/// Builds a library for the target with every feature set it declares, and nothing else, and the programs of its crate as they are used.
fn build(package: &Package) -> Check {
    let name = &package.name;
    let mut lines = libraries("build", package, RISCV);
    if programs(package).next().is_some() {
        // Linked as they are booted: a linker script that does not fit shows only here.
        lines.push(format!("build --release --package {name} --bins --target {RISCV}"));
    }
    check(&format!("build/{name}"), lines)
}

/// The options of cargo that name these crates.
fn options<'a>(packages: impl Iterator<Item = &'a Package>) -> String {
    packages.map(|package| format!(" --package {}", package.name)).collect()
}

/// The lines that build or check a library for a target, with each feature set.
fn libraries(command: &str, package: &Package, target: &str) -> Vec<String> {
    let sets = feature_sets(package).unwrap_or_default().into_iter();
    let line = |set| {
        format!(
            "{command} --package {} --lib --target {target} --no-default-features --features={set}",
            package.name
        )
    };
    sets.map(line).collect()
}

/// Builds a crate from a small crate outside the workspace that depends on nothing else, with default features.
fn alone(package: &Package) -> Check {
    let name = package.name.clone();
    let directory = directory(package).to_owned();
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

/// Without what may be megabytes in a line, such as the answer of `cargo metadata`.
fn brief(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| line.len() < 1000).collect();
    lines.join("\n")
}
