//! `cargo xtask coverage`: how much of each published crate its tests run. `cargo llvm-cov` measures, [`measure`] counts.

mod measure;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::Package;

use crate::cli::CoverageArgs;
use crate::console::say;
use crate::evidence::{self, Figure, Value, grouped};
use crate::progress::Progress;
use crate::tools::ensure_coverage_tools;
use crate::workspace::{Workspace, directory, is_published};
use measure::{Measure, Share};

/// Runs the command.
pub(crate) fn command(args: &CoverageArgs) -> Result<bool> {
    let workspace = Workspace::load()?;
    let wanted =
        |package: &&Package| is_published(package) && args.only.as_ref().is_none_or(|only| package.name == *only);
    let crates: Vec<&Package> = workspace.packages.iter().filter(wanted).collect();
    ensure!(!crates.is_empty(), "no published crate has this name");
    ensure_coverage_tools(&workspace, Progress::for_this_terminal())?;
    let measure = measured(&workspace, &crates)?;
    let mut figures = Vec::new();
    for package in crates {
        let sources = directory(package).join("src");
        let (lines, regions) = measure.of(&sources);
        let name = &package.name;
        say(&format!(
            "{name:<18} lines {:<20} regions {}",
            told(lines),
            told(regions)
        ));
        for (what, share) in [("lines", lines), ("regions", regions)] {
            figures.push(Figure::new(
                format!("`{name}`: {what}"),
                Value::Words(told(share)),
                "cargo xtask coverage",
            ));
        }
        if args.missing {
            for (file, lines) in measure.missing(&sources) {
                let file = file.strip_prefix(&workspace.root).unwrap_or(&file);
                say(&format!("  {}: {}", file.display(), lines.join(", ")));
            }
        }
    }
    evidence::record(&workspace, "coverage", figures)?;
    Ok(true)
}

/// A share as the page tells it.
fn told(share: Share) -> String {
    format!("{:.1} % of {}", share.percent(), grouped(share.all))
}

/// Runs the tests of these crates, and reads what llvm-cov says of them.
fn measured(workspace: &Workspace, crates: &[&Package]) -> Result<Measure> {
    let folder = workspace.target.join("coverage");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Programs that were built before count as well, with the lines of then.
    let mut clean = llvm_cov(workspace);
    clean.args(["clean", "--workspace"]);
    succeeds("removing what was measured before", &clean)?;
    let mut tests = llvm_cov(workspace);
    tests.arg("--no-report");
    for package in crates {
        tests.args(["--package", &package.name]);
    }
    succeeds("running the tests", &tests)?;
    let report = |form: &str, file: &str| -> Result<String> {
        let file: PathBuf = folder.join(file);
        let mut report = llvm_cov(workspace);
        report.args(["report", form, "--output-path"]).arg(&file);
        succeeds("counting", &report)?;
        std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let mut measure = Measure::default();
    let source = |file: &Path| std::fs::read_to_string(file).unwrap_or_default();
    measure.add_lines(&report("--lcov", "lines.lcov")?, source)?;
    measure.add_regions(&report("--json", "regions.json")?, source)?;
    Ok(measure)
}

fn llvm_cov(workspace: &Workspace) -> Command {
    let mut command = workspace.cargo();
    // Programs with all that a debugger reads fill the disk.
    command.arg("llvm-cov").env("CARGO_PROFILE_DEV_DEBUG", "0");
    command
}

fn succeeds(what: &str, command: &Command) -> Result<()> {
    let finished = Progress::for_this_terminal().step(what, |step| step.command(command))?;
    if !finished.status.success() {
        eprint!("{}", finished.output);
        bail!("{what} with cargo llvm-cov failed");
    }
    Ok(())
}
