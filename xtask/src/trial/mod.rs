//! A change of the code, tried in a copy of the sources: does a test fail?
//!
//! [`Tree`] is the copy, in which one change is made at a time. [`Results`] are written after each change, so that a run can be
//! stopped and gone on with, and runs add up.

mod results;
mod tree;

use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub(crate) use results::{Outcome, Results};
pub(crate) use tree::Tree;

use crate::child::{self, Child};
use crate::interrupt;

/// How long building may take, and then the tests, where nothing is known of them: many times what those of the slowest crate
/// take.
pub(crate) const LIMIT: Duration = Duration::from_secs(600);

/// How often a child is looked at.
const TICK: Duration = Duration::from_millis(50);

/// What the tests of a tree say.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) outcome: Outcome,
    /// The words by which cargo knows the program with the failed test: `--lib`, or `--test` and its name.
    pub(crate) failed: Vec<String>,
    /// How long the tests ran.
    pub(crate) ran: Duration,
}

/// Builds and runs tests in the tree as it is now; without a failure its change has survived. `cargo` are the words after
/// `cargo test`, `harness` those for the program with the tests. `build` is for what cargo makes. Building may take as long as the
/// `limit`, and so may the tests.
pub(crate) fn tried(tree: &Tree, build: &Path, cargo: &[&str], harness: &[&str], limit: Duration) -> Result<Trial> {
    let ended = |outcome, ran| Trial {
        outcome,
        failed: Vec::new(),
        ran,
    };
    let mut ran = Duration::ZERO;
    for (what, failure) in [(&["--no-run"][..], Outcome::Unviable), (&["--"], Outcome::Caught)] {
        let mut errors = tempfile::tempfile().context("cannot make a temporary file")?;
        let mut command = Command::new("cargo");
        command.args(["test", "--quiet"]).args(cargo).args(what);
        if failure == Outcome::Caught {
            command.args(harness);
        }
        command
            .current_dir(tree.root())
            .env("CARGO_TARGET_DIR", build)
            // Programs for a debugger take long to link.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // Little changes between one build and the next.
            .env("CARGO_INCREMENTAL", "1")
            .env("CARGO_TERM_COLOR", "never")
            .env_remove("CARGO");
        let mut command = child::bound(&command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors.try_clone()?);
        let mut child = Child::start_group(&mut command)?;
        let started = Instant::now();
        loop {
            if child.ends_within(TICK) {
                break;
            }
            if interrupt::asked() {
                bail!("interrupted");
            }
            if started.elapsed() > limit {
                return Ok(ended(Outcome::TimedOut, started.elapsed()));
            }
        }
        if !child.wait()?.success() {
            let mut text = Vec::new();
            errors.rewind()?;
            errors.read_to_end(&mut text)?;
            return Ok(Trial {
                outcome: failure,
                failed: failed_program(&String::from_utf8_lossy(&text)),
                ran: started.elapsed(),
            });
        }
        ran = started.elapsed();
    }
    Ok(ended(Outcome::Survived, ran))
}

/// The program with the failed test, as cargo tells it: ``to rerun pass `-p NAME --test faults` ``.
fn failed_program(errors: &str) -> Vec<String> {
    let told = errors.lines().find_map(|line| line.split("to rerun pass `").nth(1));
    let words = told.and_then(|told| told.split('`').next()).unwrap_or_default();
    let mut words = words.split_whitespace().map(str::to_owned).peekable();
    if words.peek().is_some_and(|word| word == "-p") {
        words.nth(1);
    }
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_tells_which_program_failed() {
        let of = |line: &str| failed_program(&format!("warning: x\nerror: test failed, {line}\n")).join(" ");
        assert_eq!(of("to rerun pass `-p virtio-blk --test faults`"), "--test faults");
        assert_eq!(of("to rerun pass `--lib`"), "--lib");
        assert_eq!(of("nothing"), "");
    }
}
