//! Checks that cargo does: format, lints, tests, documentation, builds.

use std::path::Path;
use std::process::Command;

use cargo_metadata::Package;

use super::check::{Check, Context};
use super::foreign;
use crate::progress::Progress;
use crate::tools;
use crate::workspace::{RISCV, Workspace, directory, feature_sets, is_example, is_portable, is_published, programs};

pub(super) fn checks(workspace: &Workspace) -> Vec<Check> {
    let of = |kind: fn(&Package) -> bool| workspace.packages.iter().filter(move |package| kind(package));
    let bare = || of(|package| feature_sets(package).is_some() && !is_example(package));
    // Programs with a heap apart: the features of their dependencies would make all others need a heap.
    let has_heap = |package: &&Package| package.dependencies.iter().any(|on| on.name == "bare-image");
    let (with, without) = (
        options(bare().filter(has_heap)),
        options(bare().filter(|package| !has_heap(package))),
    );
    // The code that only exists on the target, without features and with all. With all, a program without a heap does not build.
    let clippy = [
        ("", &without),
        ("--all-features --lib", &without),
        ("", &with),
        ("--all-features", &with),
    ];
    let clippy =
        clippy.map(|(options, packages)| format!("clippy --target {RISCV} {options} {packages} -- -D warnings"));
    // Each example alone, as it is copied: together they would have the features of each other.
    let examples =
        of(is_example).map(|Package { name, .. }| format!("clippy --target {RISCV} --package {name} -- -D warnings"));
    let clippy = clippy.into_iter().chain(examples);

    let mut checks = vec![
        check("lockfile", ["metadata --locked --format-version=1"]),
        check("fmt", ["fmt --all --check -- --color=never"]),
        check("clippy/host", ["clippy --workspace --all-targets -- -D warnings"]),
        check("clippy/riscv64", clippy),
    ];
    let on_devices = |package: &&Package| foreign::ON_THE_HOST.iter().any(|(_, name)| package.name == *name);
    checks.extend(
        of(has_tests)
            .filter(|package| !on_devices(package))
            .map(|Package { name, .. }| check(&format!("test/{name}"), [format!("test --package {name}")])),
    );
    let deny = r#"--config build.rustdocflags=["-D","warnings"]"#;
    let published = options(of(is_published));
    // The second line is what docs.rs does.
    let pages = [
        format!("doc --workspace --no-deps {deny}"),
        format!("doc --no-deps --lib --all-features --target {RISCV} {published} {deny}"),
    ];
    checks.push(check("doc", pages));
    checks.extend(of(|package| feature_sets(package).is_some()).map(build));
    checks.extend(of(is_portable).map(|package| on_other_targets(package, &workspace.targets)));
    checks.extend(of(is_published).map(alone));
    checks
}

/// Lints a library with every feature set it declares, for all these targets at once. A failure is looked for on each of them alone.
fn on_other_targets(package: &Package, targets: &[String]) -> Check {
    let targets = targets.to_owned();
    let lines = libraries("clippy", package);
    Check::new(format!("targets/{}", package.name), move |context| {
        for target in &targets {
            tools::ensure_target(&context.workspace, target, Progress::Silent).map_err(|error| format!("{error:#}"))?;
        }
        let on = |line: &str, targets: &[String]| {
            let options: String = targets.iter().map(|target| format!(" --target {target}")).collect();
            run_line(context, &format!("{line}{options} -- -D warnings")).map(drop)
        };
        for line in &lines {
            if let Err(output) = on(line, &targets) {
                targets.chunks(1).try_for_each(|target| on(line, target))?;
                return Err(output);
            }
        }
        Ok(())
    })
}

/// A check that calls cargo with each of the lines.
fn check<T: Into<String>>(name: &str, lines: impl IntoIterator<Item = T>) -> Check {
    let lines: Vec<String> = lines.into_iter().map(Into::into).collect();
    Check::new(name, move |context| {
        lines.iter().try_for_each(|line| run_line(context, line).map(drop))
    })
}

/// Calls cargo with the line, and answers what it printed.
pub(super) fn run_line(context: &Context, line: &str) -> Result<String, String> {
    let mut command = context.workspace.cargo();
    command.args(line.split_whitespace());
    // Without what is being compiled, a failure begins with its reason. But a quiet cargo has no warnings about packages.
    if !line.starts_with("package") {
        command.env("CARGO_TERM_QUIET", "true");
    }
    run(&mut command).map_err(|output| format!("$ cargo {line}\n{}", brief(&output)))
}

/// Whether cargo finds anything to test in a crate. Examples are tested by booting them.
fn has_tests(package: &Package) -> bool {
    package.targets.iter().any(|target| target.test || target.doctest)
}

/// Builds a library for the target with every feature set it declares, and nothing else, and the programs of its crate as they are used.
fn build(package: &Package) -> Check {
    let name = &package.name;
    let lines = libraries("build", package).into_iter();
    let mut lines: Vec<String> = lines.map(|line| format!("{line} --target {RISCV}")).collect();
    if programs(package).next().is_some() {
        // Linked as they are booted: a linker script that does not fit shows only here.
        lines.push(format!("build --release --package {name} --bins --target {RISCV}"));
    }
    check(&format!("build/{name}"), lines)
}

/// The options of cargo that name these crates.
pub(super) fn options<'a>(packages: impl Iterator<Item = &'a Package>) -> String {
    packages.map(|package| format!(" --package {}", package.name)).collect()
}

/// The lines by which cargo does something to the library of a crate with each feature set. A crate of programs has none.
fn libraries(command: &str, package: &Package) -> Vec<String> {
    let has_library = package.targets.iter().any(cargo_metadata::Target::is_lib);
    let sets = feature_sets(package).filter(|_| has_library).unwrap_or_default();
    let sets = sets.into_iter();
    let line = |set| {
        format!(
            "{command} --package {} --lib --no-default-features --features={set}",
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
        run(command.env("CARGO_TERM_QUIET", "true")).map(drop)
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
