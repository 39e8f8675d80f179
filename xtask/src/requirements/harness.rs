//! `cargo xtask requirements --harnesses`: a bug is put into the driver for each harness, and the harness has to find it.
//!
//! The bugs are data, in `xtask/harness-bugs.toml`. Each names the test that is the short form of its harness. It passes without the bug.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::breakage::Breakage;
use crate::console::say;
use crate::evidence::{self, Figure, Value};
use crate::trial::{self, Outcome, Tree};
use crate::workspace::Workspace;

/// Place of the list, from the root of the workspace.
const LIST: &str = "xtask/harness-bugs.toml";

const COMMAND: &str = "cargo xtask requirements --harnesses";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    bug: Vec<Bug>,
}

/// A bug, and the test that has to find it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bug {
    name: String,
    harness: String,
    /// From the root of the workspace.
    file: String,
    /// Stands once in the file.
    search: String,
    replace: String,
    package: String,
    target: String,
    test: String,
}

impl Bug {
    /// The text of the file with the bug in it.
    fn apply(&self, text: &str) -> Result<String> {
        let breakage = Breakage {
            id: self.name.clone(),
            file: self.file.clone(),
            search: self.search.clone(),
            replace: self.replace.clone(),
        };
        breakage.apply(text)
    }
}

/// Makes the bugs; true if each was found.
pub(super) fn run(workspace: &Workspace) -> Result<bool> {
    let bugs = load(&workspace.root)?;
    let folder = workspace.target.join("requirements");
    let tree = Tree::copy(workspace, &folder.join("tree"))?;
    let run = |bug: &Bug| {
        let cargo = ["--package", &bug.package, "--test", &bug.target];
        trial::tried(
            &tree,
            &folder.join("build"),
            &cargo,
            &["--exact", &bug.test],
            trial::LIMIT,
        )
        .map(|trial| trial.outcome)
    };
    let (mut figures, mut all_found) = (Vec::new(), true);
    for bug in &bugs {
        let Bug {
            name, harness, test, ..
        } = bug;
        ensure!(
            run(bug)? == Outcome::Survived,
            "{test} of {} does not pass without a bug",
            bug.package
        );
        let started = Instant::now();
        let outcome = {
            let _wrong = tree.change(&bug.file, |text| bug.apply(text))?;
            run(bug)?
        };
        say(&format!(
            "{harness}: {name}: {outcome} ({:.0} s)",
            started.elapsed().as_secs_f64()
        ));
        if outcome == Outcome::Caught {
            let value = Value::Words(format!("{}: `{test}`", bug.package));
            figures.push(Figure::new(format!("{harness}: {name}, found by"), value, COMMAND));
        } else {
            all_found = false;
        }
    }
    evidence::record(workspace, "harness", figures)?;
    Ok(all_found)
}

/// The bugs of the workspace, if each can be made and its test is there.
fn load(root: &Path) -> Result<Vec<Bug>> {
    let text = std::fs::read_to_string(root.join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    let list: List = toml::from_str(&text).with_context(|| format!("cannot read {LIST}"))?;
    for bug in &list.bug {
        let file = std::fs::read_to_string(root.join(&bug.file));
        bug.apply(&file.with_context(|| format!("{}: cannot read {}", bug.name, bug.file))?)?;
    }
    Ok(list.bug)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::directory;

    #[test]
    fn every_harness_has_its_bug_and_a_test_that_is_there() {
        let workspace = Workspace::load().unwrap();
        let bugs = load(&workspace.root).unwrap();
        for bug in &bugs {
            let package = workspace.packages.iter().find(|package| package.name == bug.package);
            let tests = directory(package.unwrap()).join("tests");
            let (module, name) = bug.test.rsplit_once("::").unwrap_or(("", &bug.test));
            let file = if module.is_empty() {
                tests.join(format!("{}.rs", bug.target))
            } else {
                tests.join(&bug.target).join(format!("{module}.rs"))
            };
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(
                text.contains(&format!("\nfn {name}() {{")),
                "{name} in {}",
                file.display()
            );
        }
        for harness in ["power cuts", "faults", "foreign devices"] {
            assert!(bugs.iter().any(|bug| bug.harness == harness), "{harness}");
        }
    }
}
