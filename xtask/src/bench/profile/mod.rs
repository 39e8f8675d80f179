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

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use guest_protocol::{Case, Record};
use image_bench::choice::Choice;

use crate::build;
use crate::progress::Progress;
use crate::report::records;
use crate::workspace::Workspace;
use program::{Frame, Program};
use table::Stage;
use trace::Bracket;

/// The case that these words of the command line ask for, as `operation=write,depth=1`. What they leave open is as in a batch of
/// 32 reads of this driver. Others are measured in other ways; of theirs it is the first case that fits.
pub(crate) fn choice(words: &str) -> Result<Choice<'_>> {
    let asked = Choice::default().changed(words);
    let mut choice = asked.map_err(|word| {
        anyhow!(
            "--profile: `{word}` makes no sense; a choice is made of contender, operation, mode, chains, buffer, depth, segments \
             and bytes, as operation=write,depth=1"
        )
    })?;
    let text = |text: &mut &str, usual| {
        if text.is_empty() {
            *text = usual;
        }
    };
    let number = |number: &mut u32, usual| {
        if *number == 0 {
            *number = usual;
        }
    };
    text(&mut choice.contender, OURS);
    text(&mut choice.operation, "read");
    if choice.contender == OURS {
        text(&mut choice.mode, "polled");
        number(&mut choice.segments, 1);
        if choice.segments == 1 {
            text(&mut choice.buffer, "handle");
            number(&mut choice.depth, 32);
            number(&mut choice.bytes, 4096);
        }
    }
    Ok(choice)
}

/// Profiles a case: the lines to print.
pub(crate) fn profile(
    workspace: &Workspace,
    qemu: &Path,
    choice: Choice<'_>,
    progress: Progress,
) -> Result<Vec<String>> {
    let image = build::bench_image_path(workspace);
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

/// What the rows call this driver.
const OURS: &str = "ours";

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
    let counted = counted.iter().filter(|stage| stage.instructions > 0);
    let mut brackets = brackets.iter().filter(|bracket| bracket.total() > 0);
    let stages = counted.map(|counted| {
        let name = if counted.stage.is_empty() {
            "whole request"
        } else {
            counted.stage
        };
        let (executed, total) = brackets
            .next()
            .map_or_else(Default::default, |bracket| bracket_of(bracket, counted.instructions));
        ensure!(
            counted.instructions == total,
            "{name}: the guest counted {} instructions, and the log of QEMU has {total}",
            counted.instructions,
        );
        let executed = executed.into_iter().map(|(address, count)| {
            let each = count as f64 / counted.requests.max(1) as f64;
            Ok((frames(address)?, each))
        });
        Ok(Stage {
            name: name.to_owned(),
            executed: executed.collect::<Result<_>>()?,
        })
    });
    let stages = stages.collect::<Result<_>>()?;
    ensure!(
        brackets.next().is_none(),
        "the log of QEMU has stages that the guest did not count"
    );
    Ok(stages)
}

/// What was executed in a bracket, and how many instructions that are.
///
/// A guest that takes a wait off with the difference of two reads has taken off the first one and what is between, and counts the second.
fn bracket_of(bracket: &Bracket, counted: u64) -> (BTreeMap<u64, u64>, u64) {
    let mut executed = bracket.executed.clone();
    let ends: u64 = bracket.ends.values().sum();
    if bracket.total() + ends != counted {
        return (executed, bracket.total());
    }
    executed.extend(&bracket.ends);
    (executed, counted)
}
