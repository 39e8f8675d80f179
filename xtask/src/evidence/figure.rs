//! Figures: what a run of a command has shown, as a number or a few words.
//!
//! A command leaves its figures in `target/evidence/NAME.json`, an object in each line. [`merge`] brings them to those of
//! [`DATA`], which is checked in, so that the page can be made again where nothing was run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::workspace::Workspace;

/// Place of the figures that are kept, from the root of the workspace.
pub(super) const DATA: &str = "xtask/evidence.jsonl";

/// A number, or words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Value", into = "serde_json::Value")]
pub(crate) enum Value {
    Count(u64),
    Number(f64),
    Words(String),
}

impl TryFrom<serde_json::Value> for Value {
    type Error = anyhow::Error;

    fn try_from(value: serde_json::Value) -> Result<Value> {
        match &value {
            serde_json::Value::String(words) => Ok(Value::Words(words.clone())),
            serde_json::Value::Number(number) => {
                let count = number.as_u64().map(Value::Count);
                let number = || number.as_f64().map(Value::Number);
                count.or_else(number).with_context(|| format!("not a number: {value}"))
            }
            _ => bail!("neither a number nor words: {value}"),
        }
    }
}

impl From<Value> for serde_json::Value {
    fn from(value: Value) -> serde_json::Value {
        match value {
            Value::Count(count) => count.into(),
            Value::Number(number) => number.into(),
            Value::Words(words) => words.into(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Count(count) => f.write_str(&grouped(*count)),
            Value::Number(number) => write!(f, "{number:.2}"),
            Value::Words(words) => f.write_str(words),
        }
    }
}

/// A number with its digits in groups of three: 1,234,567.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One thing that a run has shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figure {
    /// Which kind of run: the name of the file that it came in.
    #[serde(default)]
    pub(super) source: String,
    pub(super) figure: String,
    pub(super) value: Value,
    /// What makes it.
    pub(super) command: String,
    /// Which code was run: the date of its commit, and the commit.
    #[serde(default)]
    pub(super) code: String,
}

impl Figure {
    pub(crate) fn new(figure: impl Into<String>, value: Value, command: impl Into<String>) -> Figure {
        Figure {
            source: String::new(),
            figure: figure.into(),
            value,
            command: command.into(),
            code: String::new(),
        }
    }

    /// One that the sources give, without a run.
    pub(crate) fn counted(source: &str, figure: String, value: Value, command: &str) -> Figure {
        Figure {
            source: source.to_owned(),
            ..Figure::new(figure, value, command)
        }
    }
}

/// Leaves figures for the page. They take the places of those of earlier runs in this workspace.
pub(crate) fn record(workspace: &Workspace, source: &str, figures: Vec<Figure>) -> Result<()> {
    let folder = folder(workspace);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let code = code(&workspace.root)?;
    let newer = figures.into_iter().map(|figure| Figure {
        source: source.to_owned(),
        code: code.clone(),
        ..figure
    });
    let file = folder.join(format!("{source}.json"));
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let mut all = parse(&text).with_context(|| format!("{}: not figures; remove it", file.display()))?;
    merge(&mut all, newer.collect());
    std::fs::write(&file, lines(&all)?).with_context(|| format!("cannot write {}", file.display()))
}

/// Where commands leave their figures.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("evidence")
}

/// The figures that commands have left in this workspace. What does not say which code was run is of the present one.
pub(super) fn recorded(workspace: &Workspace) -> Result<Vec<Figure>> {
    let mut files: Vec<PathBuf> = match std::fs::read_dir(folder(workspace)) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        // Nothing was run yet.
        Err(_) => return Ok(Vec::new()),
    };
    files.retain(|file| file.extension().is_some_and(|it| it == "json"));
    files.sort();
    let now = code(&workspace.root)?;
    let mut all = Vec::new();
    for file in files {
        let source = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for mut figure in parse(&text).with_context(|| format!("{}", file.display()))? {
            figure.source.clone_from(&source);
            if figure.code.is_empty() {
                figure.code.clone_from(&now);
            }
            all.push(figure);
        }
    }
    Ok(all)
}

/// The date and the name of the commit that is checked out.
fn code(root: &Path) -> Result<String> {
    let output = Command::new("git")
        .args(["log", "-1", "--format=%cs %h", "--abbrev=9"])
        .current_dir(root)
        .output()
        .context("cannot start git")?;
    ensure!(output.status.success(), "git does not tell which commit this is");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Reads figures, one in each line.
pub(super) fn parse(text: &str) -> Result<Vec<Figure>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let figure = |line| serde_json::from_str(line).with_context(|| format!("not a figure: {line}"));
    lines.map(figure).collect()
}

/// Writes figures, one in each line.
pub(super) fn lines(figures: &[Figure]) -> Result<String> {
    let mut text = String::new();
    for figure in figures {
        text += &serde_json::to_string(figure)?;
        text.push('\n');
    }
    Ok(text)
}

/// The figures with newer ones in their places. What is new comes after what is there from the same source.
pub(super) fn merge(kept: &mut Vec<Figure>, newer: Vec<Figure>) {
    for figure in newer {
        let same = |it: &Figure| it.source == figure.source && it.figure == figure.figure;
        if let Some(place) = kept.iter_mut().find(|it| same(it)) {
            *place = figure;
        } else {
            let after = kept.iter().rposition(|it| it.source == figure.source);
            kept.insert(after.map_or(kept.len(), |at| at + 1), figure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(source: &str, name: &str, value: Value) -> Figure {
        Figure {
            source: source.to_owned(),
            ..Figure::new(name, value, "x")
        }
    }

    #[test]
    fn newer_figures_take_the_places_of_older_ones() {
        let mut kept = vec![figure("a", "one", Value::Count(1)), figure("b", "one", Value::Count(1))];
        let newer = vec![
            figure("a", "two", Value::Count(2)),
            figure("b", "one", Value::Count(3)),
            figure("c", "one", Value::Count(4)),
        ];
        merge(&mut kept, newer);
        let told: Vec<String> = kept
            .iter()
            .map(|it| format!("{}/{}={}", it.source, it.figure, it.value))
            .collect();
        assert_eq!(told, ["a/one=1", "a/two=2", "b/one=3", "c/one=4"]);
        assert_eq!(parse(&lines(&kept).unwrap()).unwrap(), kept);
    }

    #[test]
    fn a_line_of_another_program_is_a_figure() {
        let text = "{\"figure\": \"points\", \"value\": 12345, \"command\": \"c\"}\n\n{\"figure\":\"h\",\"value\":1.5,\"command\":\"c\"}";
        let figures = parse(text).unwrap();
        let values: Vec<String> = figures.iter().map(|it| it.value.to_string()).collect();
        assert_eq!(values, ["12,345", "1.50"]);
        assert!(parse("{\"figure\": \"points\"}").is_err());
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }
}
