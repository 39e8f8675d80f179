//! `cargo xtask mutants`: changes the code of the product, one place at a time, and sees whether a test fails.
//!
//! `cargo mutants` makes the list of changes. [`draw`] chooses some of them, [`trial`] tries one after the other in a copy of the
//! sources, and a mutant runs the tests of its own crate and no others: what another crate's tests find, its own should have found.
//! [`hints`] says which of these are likely to find it: they are built and run first, and mostly alone; then come the quick ones.
//! Survivors can be [`argued`].
//! What a run that was stopped has tried is a sample too, a smaller one: mutants are tried in the order of the draw, but for the
//! [`BLOCK`] that one stands in.

mod argued;
mod draw;
mod hints;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cargo_metadata::Package;

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

/// So many programs with tests are built before they run.
const TOGETHER: usize = 6;

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
    let mut baselines: BTreeMap<&str, Baseline> = BTreeMap::new();
    let mut hints = Hints::default();
    for (number, mutant) in (1..).zip(&drawn) {
        let heading = format!("[{number}/{}] {}", drawn.len(), mutant.name);
        let before = results.of(&mutant.name);
        let is_to_try = args.again && before == Some(Outcome::Survived) && !arguments.has(&mutant.name);
        if let Some(outcome) = before.filter(|_| !is_to_try) {
            say(&format!("{heading}: {outcome} before"));
            continue;
        }
        let baseline = match baselines.entry(&mutant.package) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let package = workspace.package(&mutant.package)?;
                place.insert(Baseline::of(package, &tree, &folder)?)
            }
        };
        let started = Instant::now();
        let outcome = {
            let _mutated = tree.change(&mutant.file, |text| mutant.apply(text))?;
            let likely = hints.of(&mutant.package, &mutant.file);
            let mut trial = tried(&tree, &folder, &mutant.package, &likely, baseline.limit)?;
            for others in baseline.without(&likely).chunks(TOGETHER) {
                if trial.outcome == Outcome::Survived {
                    trial = tried(&tree, &folder, &mutant.package, others, baseline.limit)?;
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

/// What is known of the tests of a crate when it has no mutant.
struct Baseline {
    /// The programs with tests, the quickest first.
    programs: Vec<Program>,
    /// How long some of them may take.
    limit: Duration,
}

impl Baseline {
    /// Runs them all. A test that fails without a mutant says nothing about one.
    fn of(package: &Package, tree: &Tree, folder: &Path) -> Result<Baseline> {
        let started = Instant::now();
        let mut timed = Vec::new();
        for program in hints::all(package) {
            let trial = tried(
                tree,
                folder,
                &package.name,
                std::slice::from_ref(&program),
                Duration::MAX,
            )?;
            ensure!(
                trial.outcome == Outcome::Survived,
                "the tests of {} fail without a mutant: {}",
                package.name,
                trial.failed.join(" ")
            );
            timed.push((trial.ran, program));
        }
        timed.sort();
        Ok(Baseline {
            programs: timed.into_iter().map(|(_, program)| program).collect(),
            // The machine may be busier later.
            limit: trial::LIMIT.max(5 * started.elapsed()),
        })
    }

    /// All programs but these.
    fn without(&self, these: &[Program]) -> Vec<Program> {
        let others = self.programs.iter().filter(|program| !these.contains(program));
        others.cloned().collect()
    }
}

/// The tests of a crate in the tree as it is now: those of some programs.
fn tried(tree: &Tree, folder: &Path, package: &str, programs: &[Program], limit: Duration) -> Result<Trial> {
    let mut cargo = vec!["--package", package];
    cargo.extend(programs.iter().flatten().map(String::as_str));
    trial::tried(tree, &folder.join("build"), &cargo, &[], limit)
}
