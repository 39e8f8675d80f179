//! Counting instructions with Valgrind, since few virtual machines have a counter for them.
//!
//! The program connects to the same devices and does batches; the methods of `Contender` are the brackets, and nothing outside of
//! them is counted. System calls count as one instruction.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, bail};
use native_bench::Choice;

use super::output;
use crate::bench::daemon::Daemon;
use crate::progress::Progress;
use crate::tools::find_program;

const PROGRAM: &str = "valgrind";

/// Batches in a run. The first finds nothing prepared; among so many it does not weigh.
const BATCHES: usize = 200;

/// The brackets: the method, and the stage it is in a row.
const BRACKETS: [(&str, &str); 3] = [("submit", "submit"), ("publish", "publish"), ("complete", "pop")];

/// Instructions for each request, by stage.
pub(super) type Stages = BTreeMap<&'static str, f64>;

/// Whether Valgrind is there.
pub(super) fn is_there() -> bool {
    find_program(PROGRAM).is_some()
}

/// Counts the instructions of a driver at a depth.
pub(super) fn count(
    program: &std::path::Path,
    daemon: &Daemon,
    choice: Choice,
    depth: usize,
    progress: Progress,
) -> Result<Stages> {
    let file = daemon.file("callgrind");
    let place = Choice::ALL.iter().position(|&other| other == choice);
    let socket = place.and_then(|place| daemon.sockets().nth(place));
    let mut command = Command::new(PROGRAM);
    command.args([
        "--tool=callgrind",
        "--collect-atstart=no",
        "--compress-strings=no",
        "--compress-pos=no",
    ]);
    for (method, _) in BRACKETS {
        command.arg(format!("--toggle-collect=*::Contender>::{method}"));
    }
    command.arg(format!("--callgrind-out-file={}", file.display()));
    command.arg(program).arg("counts").arg(choice.to_string());
    command.arg(socket.context("the driver has no disk")?);
    command.args(["--depth", &depth.to_string(), "--batches", &BATCHES.to_string()]);
    output(
        &command,
        &format!("counting natively: {choice}, depth {depth}"),
        progress,
    )?;
    let text = std::fs::read_to_string(&file).context("cannot read what Valgrind counted")?;
    stages(&text, (depth * BATCHES) as f64)
}

/// The calls of the brackets in a file of callgrind: after a line `cfn=` with the name of the function called comes `calls=`, and
/// on the next line the instructions that these calls took with all they called.
fn stages(text: &str, requests: f64) -> Result<Stages> {
    let mut stages = Stages::new();
    let mut lines = text.lines();
    let mut stage = None;
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("cfn=") {
            let called = |(method, _): &&(&str, &str)| name.ends_with(&format!("Contender>::{method}"));
            stage = BRACKETS.iter().find(called).map(|(_, stage)| *stage);
        } else if line.starts_with("calls=") {
            let cost = lines.next().and_then(|cost| cost.split_whitespace().nth(1));
            if let Some(stage) = stage.take() {
                let cost: f64 = cost.and_then(|cost| cost.parse().ok()).context("broken output")?;
                *stages.entry(stage).or_default() += cost / requests;
            }
        }
    }
    if stages.len() != BRACKETS.len() {
        bail!("Valgrind did not see all stages of the native benchmark");
    }
    Ok(stages)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
fn=native_bench::counts::batches
16 2
cfn=<native_bench::ours::Ours as native_bench::contender::Contender>::submit
calls=1 59
16 1000
cfn=<native_bench::ours::Ours as native_bench::contender::Contender>::submit
calls=19 59
16 19000
cfn=<native_bench::ours::Ours as native_bench::contender::Contender>::completed
calls=20 92
18 180
cfn=<native_bench::ours::Ours as native_bench::contender::Contender>::publish
calls=20 71
17 400

fn=<native_bench::ours::Ours as native_bench::contender::Contender>::submit
59 20000

fn=native_bench::counts::batches
cfn=<native_bench::ours::Ours as native_bench::contender::Contender>::complete
calls=20 75
23 10000
";

    #[test]
    fn calls_of_a_bracket_are_added_up() {
        let stages = stages(FILE, 200.0).unwrap();
        assert_eq!(
            stages,
            Stages::from([("submit", 100.0), ("publish", 2.0), ("pop", 50.0)])
        );
    }

    #[test]
    fn a_bracket_without_calls_is_no_result() {
        let text = FILE.replace("::publish", "::other");
        assert!(stages(&text, 200.0).is_err());
        assert!(stages("", 200.0).is_err());
    }
}
