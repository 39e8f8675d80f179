//! `cargo xtask mutants`: changes the code of the product, one place at a time, and sees whether a test fails.
//!
//! `cargo mutants` makes the list of changes. [`draw`] chooses some of them, [`trial`] tries one after the other in a copy of the
//! sources, and a mutant runs the tests of its own crate and no others: what another crate's tests find, its own should have found.
//! [`hints`] says which of these are likely to find it: they are built and run first, and mostly alone. Survivors can be [`argued`].
//! What a run that was stopped has tried is a sample too, a smaller one: mutants are tried in the order of the draw, but for the
//! [`BLOCK`] that one stands in.

mod argued;
mod draw;
mod hints;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use argued::Arguments;
use draw::Mutant;
use hints::{Hints, Program};

use crate::cli::MutantsArgs;
use crate::console::say;
use crate::evidence::{self, Figure, Value};
use crate::trial::{self, Outcome, Results, Tree, Trial};
use crate::workspace::{Workspace, is_published};

/// So many mutants that were drawn one after the other are tried in the order of their crates: what uses a changed crate is built
/// again.
const BLOCK: usize = 50;

/// Runs the command; true if each drawn mutant that has survived is argued.
pub(crate) fn command(args: &MutantsArgs) -> Result<bool> {
    let workspace = Workspace::load()?;
    let crates: Vec<String> = workspace
        .packages
        .iter()
        .filter(|package| is_published(package))
        .map(|package| package.name.to_string())
        .collect();
    let arguments = Arguments::load(&workspace.root)?;
    let all = draw::list(&workspace, &crates)?;
    let mut drawn = draw::sample(&all, args.only.as_deref(), args.sample, args.seed);
    for block in drawn.chunks_mut(BLOCK) {
        block.sort_by_key(|mutant| (&mutant.package, &mutant.file));
    }
    let folder = workspace.target.join("mutants");
    let mut results = Results::load(&folder.join("results.json"))?;
    let tree = Tree::copy(&workspace, &folder.join("tree"))?;
    // How long the tests of a crate may take.
    let mut limits: BTreeMap<&str, Duration> = BTreeMap::new();
    let mut hints = Hints::default();
    for (number, mutant) in (1..).zip(&drawn) {
        let heading = format!("[{number}/{}] {}", drawn.len(), mutant.name);
        let before = results.of(&mutant.name);
        let is_to_try = args.again && before == Some(Outcome::Survived) && !arguments.has(&mutant.name);
        if let Some(outcome) = before.filter(|_| !is_to_try) {
            say(&format!("{heading}: {outcome} before"));
            continue;
        }
        let package = workspace.package(&mutant.package)?;
        let limit = match limits.get(&*mutant.package) {
            Some(&limit) => limit,
            None => {
                let started = Instant::now();
                let trial = tried(&tree, &folder, &mutant.package, &hints::all(package), Duration::MAX)?;
                // A test that fails without a mutant says nothing about one.
                ensure!(
                    trial.outcome == Outcome::Survived,
                    "the tests of {} fail without a mutant: {}",
                    mutant.package,
                    trial.failed.join(" ")
                );
                // The machine may be busier later.
                let limit = trial::LIMIT.max(5 * started.elapsed());
                limits.insert(&mutant.package, limit);
                limit
            }
        };
        let started = Instant::now();
        let outcome = {
            let _mutated = tree.change(&mutant.file, |text| mutant.apply(text))?;
            let likely = hints.of(&mutant.package, &mutant.file);
            let mut trial = tried(&tree, &folder, &mutant.package, &likely, limit)?;
            if trial.outcome == Outcome::Survived {
                let mut others = hints::all(package);
                others.retain(|program| !likely.contains(program));
                if !others.is_empty() {
                    trial = tried(&tree, &folder, &mutant.package, &others, limit)?;
                }
            }
            hints.add(&mutant.package, &mutant.file, trial.failed);
            trial.outcome
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
    let results = &results;
    let with = |outcome| {
        drawn
            .iter()
            .filter(move |mutant| results.of(&mutant.name) == Some(outcome))
    };
    let (argued, survivors): (Vec<&Mutant>, Vec<&Mutant>) =
        with(Outcome::Survived).partition(|mutant| arguments.has(&mutant.name));
    for mutant in &survivors {
        say(&format!("survived: {}", mutant.name));
    }
    if args.only.is_none() {
        let command = format!("cargo xtask mutants --sample {} --seed {}", args.sample, args.seed);
        let counts = [
            ("drawn", drawn.len()),
            (
                "caught",
                with(Outcome::Caught).count() + with(Outcome::TimedOut).count(),
            ),
            ("unviable", with(Outcome::Unviable).count()),
            ("survived, and argued", argued.len()),
            ("survived, and not argued", survivors.len()),
        ];
        let figure =
            |(name, count)| Figure::new(name, Value::Count(u64::try_from(count).unwrap_or(u64::MAX)), &command);
        evidence::record(&workspace, "mutants", counts.map(figure).into())?;
    }
    Ok(survivors.is_empty())
}

/// The tests of a crate in the tree as it is now: those of some programs.
fn tried(tree: &Tree, folder: &Path, package: &str, programs: &[Program], limit: Duration) -> Result<Trial> {
    let mut cargo = vec!["--package", package];
    cargo.extend(programs.iter().flatten().map(String::as_str));
    trial::tried(tree, &folder.join("build"), &cargo, &[], limit)
}
