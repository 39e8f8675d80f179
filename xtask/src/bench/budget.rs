//! The budget: how many instructions each stage may take. `cargo xtask test` holds the driver to it.
//!
//! Counts are exact and the same on every machine, as long as compiler and code are the same. So a stage that has grown by more
//! than [`TOLERANCE`] has grown by a change of the code; if that is meant, `cargo xtask bench --bless` writes the new figure. A stage
//! that has shrunk passes; `cargo xtask bench` recommends to bless it, so that what was gained cannot be lost unseen.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::row::Row;
use crate::workspace::Workspace;

/// What a count may differ from the budget by, as a share of it.
const TOLERANCE: f64 = 0.02;

/// The command that takes the counts of now as the budget.
const BLESS: &str = "cargo xtask bench --bless";

/// How the file begins.
const HEADING: &str = "\
# Instructions per request that each stage may take. `cargo xtask test` fails if one takes over 2 % more.
# `cargo xtask bench --bless` writes this file.
";

/// Whose stages have a budget.
const GUARDED: [&str; 3] = ["ours", "minix", "minix-service"];

/// The budget of one stage.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    /// Contender, request and stage in words.
    stage: String,
    instructions: f64,
}

/// The budget of all stages, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Budget(Vec<Line>);

/// How counts compare with the budget.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Comparison {
    /// Stages that take too much, or have no budget, or were not counted: a line for each.
    pub(crate) breaches: Vec<String>,
    /// Stages that take less than their budget, by more than the tolerance.
    pub(crate) gains: Vec<String>,
}

impl Budget {
    /// The counts of these rows as a budget.
    pub(crate) fn of(rows: &[Row]) -> Budget {
        let lines = rows.iter().filter(|row| is_guarded(row)).filter_map(|row| {
            Some(Line {
                stage: stage(row),
                instructions: row.instructions_per_request?,
            })
        });
        Budget(lines.collect())
    }

    /// Reads the file of the workspace.
    pub(crate) fn load(workspace: &Workspace) -> Result<Budget> {
        let path = path(workspace);
        let text = std::fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}; `{BLESS}` writes it", path.display()))?;
        Self::parse(&text).with_context(|| format!("{}: `{BLESS}` writes it anew", path.display()))
    }

    /// Writes the file of the workspace.
    pub(crate) fn store(&self, workspace: &Workspace) -> Result<PathBuf> {
        let path = path(workspace);
        std::fs::write(&path, self.text()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn parse(text: &str) -> Result<Budget> {
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let Some((instructions, stage)) = line.trim().split_once(char::is_whitespace) else {
                bail!("line {number} is no budget");
            };
            let instructions = instructions.parse().ok().filter(|count: &f64| count.is_finite());
            lines.push(Line {
                stage: stage.trim().to_owned(),
                instructions: instructions.with_context(|| format!("line {number} begins with no number"))?,
            });
        }
        Ok(Budget(lines))
    }

    fn text(&self) -> String {
        let lines = self
            .0
            .iter()
            .map(|line| format!("{:>10.2}  {}\n", line.instructions, line.stage));
        HEADING.chars().chain(lines.collect::<String>().chars()).collect()
    }

    /// Compares counts with this budget. Only the stages of contenders that `counted` has are compared, as a run may leave some out.
    pub(crate) fn compare(&self, counted: &Budget) -> Comparison {
        let mut comparison = Comparison::default();
        for line in &counted.0 {
            let Some(budget) = self.0.iter().find(|budget| budget.stage == line.stage) else {
                comparison.breaches.push(format!("{} has no budget", line.stage));
                continue;
            };
            let (old, new) = (budget.instructions, line.instructions);
            let change = format!(
                "{}: {old:.2} before, {new:.2} now ({:+.1} %)",
                line.stage,
                (new / old - 1.0) * 100.0
            );
            if new > old * (1.0 + TOLERANCE) {
                comparison.breaches.push(change);
            } else if new < old * (1.0 - TOLERANCE) {
                comparison.gains.push(change);
            }
        }
        let contender = |line: &Line| line.stage.split(' ').next().unwrap_or_default().to_owned();
        let contenders: Vec<String> = counted.0.iter().map(contender).collect();
        let lost = self.0.iter().filter(|budget| {
            contenders.contains(&contender(budget)) && counted.0.iter().all(|line| line.stage != budget.stage)
        });
        comparison
            .breaches
            .extend(lost.map(|budget| format!("{} was not counted", budget.stage)));
        comparison
    }
}

impl Comparison {
    /// Nothing if the budget was kept, or else what to tell.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        if self.breaches.is_empty() {
            return Ok(());
        }
        let breaches = self.breaches.join("\n");
        Err(format!(
            "instructions of a stage:\n{breaches}\nif that is meant to be, `{BLESS}` takes the counts of now as the budget"
        ))
    }

    /// What to tell a person who has made something faster.
    pub(crate) fn advice(&self) -> Option<String> {
        let first = self.gains.first()?;
        let more = match self.gains.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        Some(format!("faster than the budget: {first}{more}; `{BLESS}` keeps it so"))
    }
}

fn path(workspace: &Workspace) -> PathBuf {
    workspace.root.join("xtask").join("budget.txt")
}

/// Whether a row has a budget: of this driver the requests that differ in the code they run through, of the path of MINIX all
/// that is exact, of the service whole requests of 4 KiB and vectors.
fn is_guarded(row: &Row) -> bool {
    let is_counted = row.instructions_per_request.is_some() && row.cpu_share.is_none();
    let is_chosen = match row.contender.as_str() {
        "ours" => {
            row.stage.is_some() && row.operation != "mixed" && [1, 2, 32].contains(&row.depth) && is_chosen_list(row)
        }
        "minix-service" => {
            row.stage.is_none() && [1, 64].contains(&row.depth) && row.bytes / row.segments.max(1) == 4096
        }
        _ => true,
    };
    GUARDED.contains(&row.contender.as_str()) && is_counted && is_chosen
}

/// Of lists the shortest and the longest; and depth 2 is for lists alone.
fn is_chosen_list(row: &Row) -> bool {
    match row.buffer.as_deref() {
        Some("list") => [1, 8, 64].contains(&row.segments),
        _ => row.depth != 2,
    }
}

/// A stage in words.
fn stage(row: &Row) -> String {
    let mut words = vec![row.contender.clone(), row.operation.clone(), row.mode.clone()];
    words.extend(row.chains.clone());
    words.extend(row.buffer.clone());
    words.push(format!("x{}", row.depth));
    words.push(format!("{}*{}", row.segments, row.bytes / row.segments.max(1)));
    words.push(row.stage.clone().unwrap_or_else(|| "whole".to_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(lines: &[(&str, f64)]) -> Budget {
        let line = |(stage, instructions): &(&str, f64)| Line {
            stage: (*stage).to_owned(),
            instructions: *instructions,
        };
        Budget(lines.iter().map(line).collect())
    }

    #[test]
    fn of_the_service_whole_requests_of_pages_have_a_budget() {
        let row = |depth, segments, bytes, stage: Option<&str>| Row {
            contender: "minix-service".into(),
            depth,
            segments,
            bytes,
            stage: stage.map(str::to_owned),
            instructions_per_request: Some(1.0),
            ..Row::default()
        };
        assert!(is_guarded(&row(1, 1, 4096, None)) && is_guarded(&row(64, 1, 4096, None)));
        assert!(is_guarded(&row(1, 64, 64 * 4096, None)));
        assert!(!is_guarded(&row(8, 1, 4096, None)) && !is_guarded(&row(1, 1, 65_536, None)));
        assert!(!is_guarded(&row(1, 1, 4096, Some("receive to map"))));
    }

    #[test]
    fn the_text_parses_back() {
        let budget = budget(&[("ours read polled x1 1*4096 submit", 95.25), ("minix read pop", 1200.0)]);
        assert_eq!(Budget::parse(&budget.text()).unwrap(), budget);
    }

    #[test]
    fn broken_lines_are_named() {
        for (text, reason) in [
            ("# fine\n95\n", "line 2 is no"),
            ("x ours", "line 1 begins"),
            ("inf ours", "line 1"),
        ] {
            let error = format!("{:#}", Budget::parse(text).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn growth_beyond_the_tolerance_is_a_breach() {
        let before = budget(&[("ours submit", 100.0), ("ours pop", 50.0)]);
        let compare = |submit| before.compare(&budget(&[("ours submit", submit), ("ours pop", 50.0)]));
        assert_eq!(compare(102.0), Comparison::default());
        let breach = compare(102.1);
        assert_eq!(breach.breaches, ["ours submit: 100.00 before, 102.10 now (+2.1 %)"]);
        let text = breach.verdict().unwrap_err();
        assert!(
            text.contains("ours submit: 100.00 before") && text.contains("cargo xtask bench --bless"),
            "{text}"
        );
        let gain = compare(90.0);
        assert!(gain.verdict().is_ok());
        assert!(gain.advice().unwrap().contains("90.00 now (-10.0 %)"));
    }

    #[test]
    fn a_stage_on_one_side_only_is_a_breach() {
        let before = budget(&[("ours submit", 1.0), ("minix decode", 1.0)]);
        let after = budget(&[("ours pop", 1.0)]);
        // Nothing was counted of MINIX.
        assert_eq!(
            before.compare(&after).breaches,
            ["ours pop has no budget", "ours submit was not counted"]
        );
    }
}
