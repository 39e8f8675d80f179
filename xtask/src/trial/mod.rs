//! A change of the code, tried in a copy of the sources: does a test fail?
//!
//! [`Tree`] is the copy, in which one change is made at a time. [`Results`] are written after each change, so that a run can be
//! stopped and gone on with, and runs add up.

mod results;
mod tree;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub(crate) use results::{Outcome, Results};
pub(crate) use tree::Tree;

use crate::child::{self, Child};
use crate::interrupt;

/// How long the tests of a change may take: many times what those of the slowest crate take.
const LIMIT: Duration = Duration::from_secs(600);

/// How often a child is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Builds and runs tests in the tree as it is now; without a failure its change has survived. `cargo` are the words after
/// `cargo test`, `harness` those for the program with the tests. `build` is for what cargo makes.
pub(crate) fn tried(tree: &Tree, build: &Path, cargo: &[&str], harness: &[&str]) -> Result<Outcome> {
    let started = Instant::now();
    for (what, failure) in [(&["--no-run"][..], Outcome::Unviable), (&["--"], Outcome::Caught)] {
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
            .env("CARGO_INCREMENTAL", "0")
            .env_remove("CARGO");
        let mut command = child::bound(&command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Child::start_group(&mut command)?;
        loop {
            if child.ends_within(TICK) {
                break;
            }
            if interrupt::asked() {
                bail!("interrupted");
            }
            if started.elapsed() > LIMIT {
                return Ok(Outcome::TimedOut);
            }
        }
        if !child.wait()?.success() {
            return Ok(failure);
        }
    }
    Ok(Outcome::Survived)
}
