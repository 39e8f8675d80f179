//! `cargo xtask fuzz`: looks for input that breaks a crate. `cargo fuzz` and libFuzzer do the work; the targets are in
//! `crates/testing/fuzz-targets`.
//!
//! What the fuzzer learns, and what it finds, stays in `target/fuzz`, and so does the sum of all runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::cli::FuzzArgs;
use crate::console::say;
use crate::evidence::{self, Figure, Value};
use crate::progress::Progress;
use crate::tools::{ensure_nightly, nightly_cargo};
use crate::workspace::{Workspace, directory};

/// The crate of the targets.
const CRATE: &str = "fuzz-targets";

/// Options of libFuzzer: the longest input in bytes, the longest run of one in seconds, the most memory in MiB.
const LIMITS: [&str; 3] = ["-max_len=8192", "-timeout=20", "-rss_limit_mb=2048"];

/// What was done for a target, in all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Total {
    seconds: f64,
    inputs: u64,
    /// Runs that ended with input that breaks something.
    findings: u64,
}

/// Runs the command; true if nothing was found.
pub(crate) fn command(args: &FuzzArgs) -> Result<bool> {
    let workspace = Workspace::load()?;
    let package = directory(workspace.package(CRATE)?).to_owned();
    let targets = chosen(&targets(&package)?, args.target.as_deref())?;
    ensure_nightly(&workspace)?;
    let version = nightly_cargo(&workspace).args(["fuzz", "--version"]).output();
    ensure!(
        version.is_ok_and(|output| output.status.success()),
        "cargo-fuzz is missing; to install it, type: cargo install cargo-fuzz --locked"
    );
    let mut is_clean = true;
    for target in targets {
        is_clean &= run(&workspace, &package, &target, args.minutes)?;
    }
    Ok(is_clean)
}

/// The names of the targets.
fn targets(package: &Path) -> Result<Vec<String>> {
    let folder = package.join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| stem(entry.path())).collect();
    names.sort();
    Ok(names)
}

/// The target of that name, or all.
fn chosen(targets: &[String], name: Option<&str>) -> Result<Vec<String>> {
    let Some(name) = name else {
        return Ok(targets.to_vec());
    };
    ensure!(
        targets.iter().any(|target| target == name),
        "there is no target `{name}`; there are {}",
        targets.join(", ")
    );
    Ok(vec![name.to_owned()])
}

fn run(workspace: &Workspace, package: &Path, target: &str, minutes: u64) -> Result<bool> {
    let folder = workspace.target.join("fuzz");
    let (corpus, artifacts) = (
        folder.join("corpus").join(target),
        folder.join("artifacts").join(target),
    );
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let fuzz = |verb: &str| {
        let mut command = nightly_cargo(workspace);
        command.args(["fuzz", verb, "--fuzz-dir"]).arg(package.join("fuzz"));
        command.arg("--target-dir").arg(folder.join("build")).arg(target);
        command
    };
    // Apart, so that its time is not counted.
    let built =
        Progress::for_this_terminal().step(&format!("building {target}"), |step| step.command(&fuzz("build")))?;
    if !built.status.success() {
        eprint!("{}", built.output);
        bail!("the fuzzer of {target} does not build");
    }
    let mut command = fuzz("run");
    // What is learnt goes to the first folder.
    command.arg(&corpus).arg(package.join("seeds").join(target)).arg("--");
    command.arg(format!("-max_total_time={}", 60 * minutes));
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args(LIMITS).arg("-print_final_stats=1");
    let started = Instant::now();
    let heading = format!("fuzzing {target} for {minutes} min");
    let finished = Progress::for_this_terminal().step(&heading, |step| step.command(&command))?;
    let Some(inputs) = executed(&finished.output) else {
        eprint!("{}", finished.output);
        bail!("the fuzzer of {target} did not run");
    };
    let is_clean = finished.status.success();
    let total = add(
        &folder.join("totals.json"),
        target,
        Total {
            seconds: started.elapsed().as_secs_f64(),
            inputs,
            findings: u64::from(!is_clean),
        },
    )?;
    if !is_clean {
        let lines: Vec<&str> = finished.output.lines().collect();
        for line in &lines[lines.len().saturating_sub(60)..] {
            say(line);
        }
    }
    let command = "cargo xtask fuzz";
    let figures = vec![
        Figure::new(
            format!("`{target}`: hours"),
            Value::Number(total.seconds / 3600.0),
            command,
        ),
        Figure::new(format!("`{target}`: inputs"), Value::Count(total.inputs), command),
        Figure::new(format!("`{target}`: findings"), Value::Count(total.findings), command),
    ];
    evidence::record(workspace, "fuzz", figures)?;
    let found = if is_clean { "nothing found" } else { "FOUND something" };
    let hours = total.seconds / 3600.0;
    say(&format!(
        "{target}: {inputs} inputs, {found}; in all {} in {hours:.2} h",
        total.inputs
    ));
    Ok(is_clean)
}

/// How many inputs libFuzzer has run, which it says at the end.
fn executed(output: &str) -> Option<u64> {
    let value = output
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    value.trim().parse().ok()
}

/// Adds a run to the sums in a file, and answers that of the target.
fn add(file: &Path, target: &str, run: Total) -> Result<Total> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|_| "{}".to_owned());
    let wrong = || format!("{}: not the sums of runs; remove it", file.display());
    let mut totals: BTreeMap<String, Total> = serde_json::from_str(&text).with_context(wrong)?;
    let total = totals.entry(target.to_owned()).or_default();
    total.seconds += run.seconds;
    total.inputs += run.inputs;
    total.findings += run.findings;
    let total = *total;
    std::fs::write(file, serde_json::to_string_pretty(&totals)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_seeds_and_a_test() {
        let workspace = Workspace::load().unwrap();
        let package = directory(workspace.package(CRATE).unwrap()).to_owned();
        let tests = std::fs::read_to_string(package.join("tests/fixed_seeds.rs")).unwrap();
        let manifest = std::fs::read_to_string(package.join("fuzz/Cargo.toml")).unwrap();
        let targets = targets(&package).unwrap();
        assert!(targets.len() > 5, "{targets:?}");
        for target in &targets {
            assert!(package.join("seeds").join(target).is_dir(), "{target} has no seeds");
            assert!(
                tests.contains(&format!("fuzz_targets::{target})")),
                "{target} has no test"
            );
            assert!(
                manifest.contains(&format!("name = \"{target}\"")),
                "{target} is not built"
            );
        }
        assert_eq!(chosen(&targets, Some("bdev")).unwrap(), ["bdev"]);
        assert!(chosen(&targets, Some("none")).is_err());
    }

    #[test]
    fn runs_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("totals.json");
        let run = Total {
            seconds: 1.5,
            inputs: 10,
            findings: 1,
        };
        assert_eq!(add(&file, "a", run).unwrap(), run);
        let sum = add(&file, "a", run).unwrap();
        assert_eq!((sum.seconds, sum.inputs, sum.findings), (3.0, 20, 2));
        assert_eq!(add(&file, "b", run).unwrap(), run);
        assert_eq!(executed("x\nstat::number_of_executed_units: 123\ny"), Some(123));
        assert_eq!(executed("error: could not compile"), None);
    }
}
