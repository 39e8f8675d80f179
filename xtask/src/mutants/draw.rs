//! The list of mutants, and a sample of it.

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use serde::Deserialize;

use crate::progress::Progress;
use crate::workspace::Workspace;

/// A place in a file, both counted from 1. Columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Span {
    pub(super) start: Position,
    pub(super) end: Position,
}

/// A change of the code, as `cargo mutants --list --json` tells it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Mutant {
    pub(super) name: String,
    pub(super) package: String,
    /// From the root of the workspace.
    pub(super) file: String,
    pub(super) span: Span,
    pub(super) replacement: String,
}

impl Mutant {
    /// The text of its file with the change in it.
    pub(super) fn apply(&self, text: &str) -> Result<String> {
        match (offset(text, self.span.start), offset(text, self.span.end)) {
            (Some(start), Some(end)) => Ok(format!("{}{}{}", &text[..start], self.replacement, &text[end..])),
            _ => bail!("{} is not in the file", self.name),
        }
    }
}

/// Where a position is in a text, in bytes.
fn offset(text: &str, position: Position) -> Option<usize> {
    let start: usize = text
        .split_inclusive('\n')
        .take(position.line.checked_sub(1)?)
        .map(str::len)
        .sum();
    let line = text.get(start..)?;
    let mut columns = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    columns.nth(position.column.checked_sub(1)?).map(|at| start + at)
}

/// Every mutant of these crates.
pub(super) fn list(workspace: &Workspace, crates: &[String]) -> Result<Vec<Mutant>> {
    let version = workspace.cargo().args(["mutants", "--version"]).output();
    ensure!(
        version.is_ok_and(|output| output.status.success()),
        "cargo-mutants is missing; to install it, type: cargo install cargo-mutants --locked"
    );
    let mut command = workspace.cargo();
    command.args(["mutants", "--list", "--json", "--colors=never"]);
    for name in crates {
        command.args(["--package", name]);
    }
    let output = Progress::for_this_terminal().step("listing mutants", |_| command.output());
    let output = output.context("cannot start cargo mutants")?;
    ensure!(
        output.status.success(),
        "cargo mutants: {}",
        String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")
    );
    serde_json::from_slice(&output.stdout).context("cannot read the list of cargo mutants")
}

/// So many mutants, chosen by the seed alone: a larger sample has all of a smaller one.
pub(super) fn sample<'a>(all: &'a [Mutant], only: Option<&str>, count: u64, seed: u64) -> Vec<&'a Mutant> {
    let mut drawn: Vec<&Mutant> = all
        .iter()
        .filter(|mutant| only.is_none_or(|part| mutant.name.contains(part)))
        .collect();
    Rng::with_seed(seed).shuffle(&mut drawn);
    drawn.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_sample_has_all_of_a_smaller_one() {
        let json: Vec<String> = (0..50)
            .map(|n| {
                format!(
                    "{{\"name\":\"m{n}\",\"package\":\"p\",\"file\":\"f\",\"replacement\":\"0\",\"span\":\
                     {{\"start\":{{\"line\":1,\"column\":1}},\"end\":{{\"line\":1,\"column\":2}}}}}}"
                )
            })
            .collect();
        let all: Vec<Mutant> = serde_json::from_str(&format!("[{}]", json.join(","))).unwrap();
        let names = |count, seed| -> Vec<&str> { sample(&all, None, count, seed).iter().map(|m| &*m.name).collect() };
        assert_eq!(names(20, 7)[..5], names(5, 7));
        assert_ne!(names(20, 7), names(20, 8));
        assert_eq!(names(99, 7).len(), 50);
        assert_eq!(sample(&all, Some("m49"), 9, 1).len(), 1);
    }

    #[test]
    fn a_mutant_replaces_its_span() {
        let text = "fn a() {\n    é == b\n}\n";
        let mut mutant = Mutant {
            name: "replace == with !=".to_owned(),
            package: String::new(),
            file: "f.rs".to_owned(),
            span: Span {
                start: Position { line: 2, column: 7 },
                end: Position { line: 2, column: 9 },
            },
            replacement: "!=".to_owned(),
        };
        assert_eq!(mutant.apply(text).unwrap(), text.replace("==", "!="));
        mutant.span.end = Position { line: 1, column: 99 };
        assert!(mutant.apply(text).is_err());
        assert_eq!(offset(text, Position { line: 9, column: 1 }), Some(text.len()));
    }
}
