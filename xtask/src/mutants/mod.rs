//! `cargo xtask mutants`: changes the code of the product, one place at a time, and sees whether a test fails.
//!
//! `cargo mutants` makes the list of changes. [`draw`] chooses some of them, [`tree`] applies one after the other in a copy of the
//! sources, and a mutant runs the tests of its own crate and no others: what another crate's tests find, its own should have found.
//! [`results`] are written after each mutant, so that a run can be stopped and gone on with, and runs add up.

mod draw;
mod results;
mod tree;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use draw::Mutant;
use results::{Outcome, Results};
use tree::Tree;

use crate::child::{self, Child};
use crate::cli::MutantsArgs;
use crate::console::say;
use crate::interrupt;
use crate::workspace::{Workspace, is_published};

/// How long the tests of a mutant may take: many times what those of the slowest crate take.
const LIMIT: Duration = Duration::from_secs(600);

/// How often a child is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Runs the command; true if no drawn mutant has survived.
pub(crate) fn command(args: &MutantsArgs) -> Result<bool> {
    let workspace = Workspace::load()?;
    let crates: Vec<String> = workspace
        .packages
        .iter()
        .filter(|package| is_published(package))
        .map(|package| package.name.to_string())
        .collect();
    let all = draw::list(&workspace, &crates)?;
    let drawn = draw::sample(&all, args.only.as_deref(), args.sample, args.seed);
    let folder = workspace.target.join("mutants");
    let mut results = Results::load(&folder.join("results.json"))?;
    let tree = Tree::copy(&workspace, &folder.join("tree"))?;
    let mut healthy: Vec<&str> = Vec::new();
    for (number, mutant) in (1..).zip(&drawn) {
        let heading = format!("[{number}/{}] {}", drawn.len(), mutant.name);
        if let Some(outcome) = results.of(&mutant.name) {
            say(&format!("{heading}: {outcome} before"));
            continue;
        }
        // A test that fails without a mutant says nothing about one.
        if !healthy.contains(&mutant.package.as_str()) {
            let outcome = tried(&tree, &folder, &mutant.package)?;
            ensure!(
                outcome == Outcome::Survived,
                "the tests of {} fail without a mutant",
                mutant.package
            );
            healthy.push(&mutant.package);
        }
        let started = Instant::now();
        let outcome = {
            let _mutated = tree.mutate(mutant)?;
            tried(&tree, &folder, &mutant.package)?
        };
        say(&format!(
            "{heading}: {outcome} ({:.0} s)",
            started.elapsed().as_secs_f64()
        ));
        results.add(&mutant.name, outcome)?;
    }
    say(&format!(
        "{} of {} mutants drawn; in all {}",
        drawn.len(),
        all.len(),
        results.summary()
    ));
    let survived = |mutant: &&&Mutant| results.of(&mutant.name) == Some(Outcome::Survived);
    let survivors: Vec<&Mutant> = drawn.iter().filter(survived).copied().collect();
    for mutant in &survivors {
        say(&format!("survived: {}", mutant.name));
    }
    Ok(survivors.is_empty())
}

/// Builds and runs the tests of a crate in the tree as it is now. Without a failure the mutant has survived.
fn tried(tree: &Tree, folder: &Path, package: &str) -> Result<Outcome> {
    let started = Instant::now();
    for (what, failure) in [(&["--no-run"][..], Outcome::Unviable), (&[], Outcome::Caught)] {
        let mut command = Command::new("cargo");
        command
            .args(["test", "--quiet", "--package", package, "--lib", "--bins", "--tests"])
            .args(what)
            .current_dir(tree.root())
            .env("CARGO_TARGET_DIR", folder.join("build"))
            // Programs for a debugger take long to link.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_INCREMENTAL", "0")
            .env_remove("CARGO");
        let mut command = child::bound(&command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Child::start_group(&mut command)?;
        loop {
            if child.ends_within(TICK) {
                break;
            }
            if interrupt::asked() {
                bail!("interrupted");
            }
            if started.elapsed() > LIMIT {
                return Ok(Outcome::TimedOut);
            }
        }
        if !child.wait()?.success() {
            return Ok(failure);
        }
    }
    Ok(Outcome::Survived)
}
