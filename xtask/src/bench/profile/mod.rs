//! `cargo xtask bench --profile`: where the instructions of a request go, from exact counts.
//!
//! The benchmark image counts one case, on a QEMU that logs the address of each instruction: [`run`] does that. [`trace`] counts those
//! within the brackets, [`program`] looks them up in the debug information, [`table`] prints them.

mod program;
mod run;
mod table;
#[cfg(test)]
mod tests;
mod trace;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use guest_protocol::{Case, Record};
use image_bench::choice::Choice;

use super::guest;
use crate::progress::Progress;
use crate::report::records;
use crate::workspace::Workspace;
use program::{Frame, Program};
use table::Stage;
use trace::Bracket;

/// What is profiled where the user does not say otherwise.
const USUAL: Choice<'static> = Choice {
    contender: "ours",
    operation: "read",
    mode: "polled",
    chains: "",
    buffer: "handle",
    depth: 32,
    segments: 1,
    bytes: 4096,
};

/// The case that these words of the command line ask for, as `operation=write,depth=1`.
pub(crate) fn choice(words: &str) -> Result<Choice<'_>, String> {
    let usual = match words.contains("contender=") {
        // Other contenders have other modes and buffers.
        true => Choice {
            mode: "",
            buffer: "",
            ..USUAL
        },
        false => USUAL,
    };
    // A request in segments has another buffer and, unless the user says so, another depth and size.
    let usual = match words.contains("segments=") {
        true => Choice {
            buffer: "",
            depth: 0,
            bytes: 0,
            ..usual
        },
        false => usual,
    };
    usual.changed(words).map_err(|word| {
        format!(
            "`{word}` makes no sense; a choice is made of contender, operation, mode, chains, buffer, depth, segments and \
             bytes, as operation=write,depth=1"
        )
    })
}

/// Profiles a case: the lines to print.
pub(crate) fn profile(
    workspace: &Workspace,
    qemu: &Path,
    choice: Choice<'_>,
    progress: Progress,
) -> Result<Vec<String>> {
    let image = guest::image(workspace);
    let file = std::fs::read(&image).with_context(|| format!("cannot read {}", image.display()))?;
    let mut program = Program::parse(&file, &workspace.root)?;
    let (guest, brackets) = run::run(workspace, qemu, choice, &program, progress)?;
    let counted = records!(guest, Record::Counted { case, stage, requests, instructions, .. } => Counted {
        case,
        stage,
        requests,
        instructions,
    });
    let counted: Vec<Counted> = counted.collect();
    let Some(first) = counted.first() else {
        bail!("nothing that is measured is like `{choice}`");
    };
    let mut lines = vec![heading(&first.case)];
    let stages = stages(&counted, &brackets, |address| program.frames(address))?;
    for stage in &stages {
        lines.push(String::new());
        lines.extend(table::functions(stage));
    }
    lines.push(String::new());
    lines.extend(table::lines(&stages, |file, line| {
        program.source(file, line).to_owned()
    }));
    Ok(lines)
}

/// What the guest says about a stage.
#[derive(Clone, Copy, Debug)]
struct Counted {
    case: Case<'static>,
    stage: &'static str,
    requests: u64,
    instructions: u64,
}

/// What is profiled.
fn heading(case: &Case<'_>) -> String {
    let words = [case.contender, case.operation, case.mode, case.chains, case.buffer];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    format!(
        "{}, depth {}, segments {}, {} bytes",
        words.join(" "),
        case.depth,
        case.segments,
        case.bytes
    )
}

/// The stages that were counted, with what was executed in them. Both lists are in the order of the stages.
///
/// # Errors
///
/// The counter of the guest and the log disagree.
fn stages(counted: &[Counted], brackets: &[Bracket], frames: impl Fn(u64) -> Result<Vec<Frame>>) -> Result<Vec<Stage>> {
    // A contender may do nothing in a stage; then it may not report it either.
    let counted: Vec<&Counted> = counted.iter().filter(|stage| stage.instructions > 0).collect();
    let brackets: Vec<&Bracket> = brackets.iter().filter(|bracket| bracket.total() > 0).collect();
    ensure!(
        counted.len() == brackets.len(),
        "the guest counted {} stages, and the log of QEMU has {}",
        counted.len(),
        brackets.len()
    );
    let pairs = counted.into_iter().zip(brackets);
    let stages = pairs.map(|(counted, bracket)| {
        let name = if counted.stage.is_empty() {
            "whole request"
        } else {
            counted.stage
        };
        ensure!(
            counted.instructions == bracket.total(),
            "{name}: the guest counted {} instructions, and the log of QEMU has {}",
            counted.instructions,
            bracket.total()
        );
        let executed = bracket.executed.iter().map(|(address, count)| {
            let each = *count as f64 / counted.requests.max(1) as f64;
            Ok((frames(*address)?, each))
        });
        Ok(Stage {
            name: name.to_owned(),
            executed: executed.collect::<Result<_>>()?,
        })
    });
    stages.collect()
}
