//! `cargo xtask requirements --prove`: each breakage is made in a copy of the sources, and a test has to fail.
//!
//! Only the tests run that cite the broken requirement: what others find proves nothing about the row. All of them have passed
//! without a breakage before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::breakage::{self, Breakage, Tests};
use super::citation::Citation;
use crate::cli::RequirementsArgs;
use crate::console::say;
use crate::evidence::{self, Figure, Value};
use crate::trial::{self, Outcome, Results, Tree};
use crate::workspace::{Workspace, directory};

/// Makes the breakages; true if each drawn one was noticed.
pub(super) fn run(workspace: &Workspace, citations: &[Citation], args: &RequirementsArgs) -> Result<bool> {
    let all = breakage::load(&workspace.root, citations)?;
    let drawn = draw(&all, args);
    ensure!(!drawn.is_empty(), "no breakage has such an id");
    let folder = workspace.target.join("requirements");
    let mut results = Results::load(&folder.join("results.json"))?;
    let tree = Tree::copy(workspace, &folder.join("tree"))?;
    let packages: Vec<(String, String)> = workspace
        .packages
        .iter()
        .filter_map(|package| {
            let folder = directory(package).strip_prefix(&workspace.root).ok()?;
            Some((package.name.to_string(), folder.to_string_lossy().into_owned()))
        })
        .collect();
    let run = |tests: &Tests| {
        let target = tests.target.iter().map(String::as_str);
        let cargo: Vec<&str> = ["--package", &tests.package].into_iter().chain(target).collect();
        let names = tests.names.iter().map(String::as_str);
        let harness: Vec<&str> = ["--exact"].into_iter().chain(names).collect();
        trial::tried(&tree, &folder.join("build"), &cargo, &harness, trial::LIMIT).map(|trial| trial.outcome)
    };
    let mut attempts = Vec::new();
    for breakage in drawn {
        let of_row: Vec<&Citation> = citations.iter().filter(|it| it.id == breakage.id).collect();
        let name = breakage.name(&workspace.root, &of_row)?;
        let before = results.of(&name);
        attempts.push(Attempt {
            breakage,
            name,
            tests: breakage::tests(&of_row, &packages)?,
            before,
        });
    }
    let untried = attempts.iter().filter(|attempt| attempt.before.is_none());
    for tests in together(untried.flat_map(|attempt| &attempt.tests)) {
        let outcome = run(&tests)?;
        ensure!(
            outcome == Outcome::Survived,
            "{:?} of {} does not pass without a breakage",
            tests.names,
            tests.package
        );
    }
    let mut wrong: Vec<String> = Vec::new();
    for (number, attempt) in (1..).zip(&attempts) {
        let breakage = attempt.breakage;
        let heading = format!("[{number}/{}] {} in {}", attempts.len(), breakage.id, breakage.file);
        let outcome = if let Some(outcome) = attempt.before {
            say(&format!("{heading}: {outcome} before"));
            outcome
        } else {
            let started = Instant::now();
            let outcome = {
                let _broken = tree.change(&breakage.file, |text| breakage.apply(text))?;
                first_failure(&attempt.tests, run)?
            };
            say(&format!(
                "{heading}: {outcome} ({:.0} s)",
                started.elapsed().as_secs_f64()
            ));
            results.add(&attempt.name, outcome)?;
            outcome
        };
        if matches!(outcome, Outcome::Survived | Outcome::Unviable) {
            wrong.push(format!(
                "{outcome}: {} in {}: {:?}",
                breakage.id, breakage.file, breakage.search
            ));
        }
    }
    wrong.iter().for_each(|line| say(line));
    say(&format!(
        "{} of {} breakages tried, {} noticed",
        attempts.len(),
        all.len(),
        attempts.len() - wrong.len()
    ));
    // A sample says nothing about the whole.
    if attempts.len() == all.len() {
        let count = |count: usize| Value::Count(u64::try_from(count).unwrap_or(u64::MAX));
        let command = "cargo xtask requirements --prove";
        let figures = vec![
            Figure::new("breakages made", count(attempts.len()), command),
            Figure::new(
                "breakages that a test of their row noticed",
                count(attempts.len() - wrong.len()),
                command,
            ),
        ];
        evidence::record(workspace, "requirements", figures)?;
    }
    Ok(wrong.is_empty())
}

/// A breakage with the tests that have to notice it.
struct Attempt<'a> {
    breakage: &'a Breakage,
    /// Of its outcome.
    name: String,
    tests: Vec<Tests>,
    /// What an earlier run found.
    before: Option<Outcome>,
}

/// The tests of all rows, each program once.
fn together<'a>(tests: impl Iterator<Item = &'a Tests>) -> Vec<Tests> {
    let mut programs: BTreeMap<(&str, &[String]), BTreeSet<&String>> = BTreeMap::new();
    for tests in tests {
        let names = programs.entry((&tests.package, &tests.target)).or_default();
        names.extend(&tests.names);
    }
    let whole = programs.into_iter().map(|((package, target), names)| Tests {
        package: package.to_owned(),
        target: target.to_vec(),
        names: names.into_iter().cloned().collect(),
    });
    whole.collect()
}

/// The first outcome that is not a survival.
fn first_failure(tests: &[Tests], run: impl Fn(&Tests) -> Result<Outcome>) -> Result<Outcome> {
    for tests in tests {
        let outcome = run(tests)?;
        if outcome != Outcome::Survived {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Survived)
}

/// The breakages that were asked for: of a sample, which ones is up to the seed.
fn draw<'a>(all: &'a [Breakage], args: &RequirementsArgs) -> Vec<&'a Breakage> {
    let only = args.only.as_deref();
    let mut drawn: Vec<&Breakage> = all
        .iter()
        .filter(|breakage| only.is_none_or(|part| breakage.id.contains(part)))
        .collect();
    if let Some(count) = args.sample {
        fastrand::Rng::with_seed(args.seed).shuffle(&mut drawn);
        drawn.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    }
    // A crate whose sources have been changed is built again, and so are those that use it.
    drawn.sort_by_key(|breakage| &breakage.file);
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_runs_its_tests_of_all_rows_at_once() {
        let tests = |target: &str, names: &[&str]| Tests {
            package: "p".to_owned(),
            target: vec![target.to_owned()],
            names: names.iter().map(|&name| name.to_owned()).collect(),
        };
        let rows = [tests("t", &["b"]), tests("u", &["c"]), tests("t", &["a", "b"])];
        assert_eq!(together(rows.iter()), [tests("t", &["a", "b"]), tests("u", &["c"])]);
    }

    #[test]
    fn the_first_failure_decides() {
        let tests = ["survives", "fails", "does not build"].map(|name| Tests {
            package: name.to_owned(),
            target: Vec::new(),
            names: Vec::new(),
        });
        let run = |tests: &Tests| {
            Ok(match tests.package.as_str() {
                "survives" => Outcome::Survived,
                "fails" => Outcome::Caught,
                _ => Outcome::Unviable,
            })
        };
        assert_eq!(first_failure(&tests, run).unwrap(), Outcome::Caught);
        assert_eq!(first_failure(&tests[..1], run).unwrap(), Outcome::Survived);
    }
}
