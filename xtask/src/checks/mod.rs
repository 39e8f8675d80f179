//! `cargo xtask test`: every check of the workspace, by name.
//!
//! [`cargo`] asks cargo about the code, [`published`] about the crates for the registry, [`deny`] `cargo deny` about what they are made of,
//! [`mod@bench`] holds the driver to its budget, [`command_line`] makes the mistakes a user may
//! make, [`minimal`] measures and runs the smallest user of the driver, [`capi`] runs one in C, [`example`] boots the examples, [`matrix`] boots the bare image in every combination of
//! features, [`hardware`] on every kind of hardware, [`removal`] takes the disk away,
//! [`service`] and [`loader`] put the MINIX service to the test, [`install`] installs it, [`foreign`] does both on devices that behave as others than
//! QEMU's do, [`machines`] boots both on unusual machines and disks, [`mod@board`] tries the board on machines of all kinds, [`miri`] looks for
//! undefined behaviour, [`runner`] runs and prints them. [`boot`] is the vocabulary of all that boot.

mod bench;
mod board;
mod boot;
mod capi;
mod cargo;
mod check;
mod command_line;
mod deny;
mod example;
mod foreign;
mod hardware;
mod install;
mod loader;
mod machines;
mod matrix;
mod minimal;
mod miri;
mod pairs;
mod published;
mod removal;
mod runner;
mod service;
mod small_machine;

use anyhow::{Result, bail};

use check::{Check, Context, Guest};

use crate::cli::TestArgs;
use crate::console::say;
use crate::progress::Progress;
use crate::session::{Needs, Setup};
use crate::tools::{self, Wanted};
use crate::workspace::{RISCV, Workspace};

/// The checks that do not depend on the machine this runs on.
fn all(workspace: &Workspace) -> Vec<Check> {
    let mut checks = cargo::checks(workspace);
    checks.extend(published::checks(workspace));
    checks.extend(bench::checks());
    checks.extend(command_line::checks());
    checks.extend(loader::checks());
    checks.extend(install::checks());
    checks.extend(minimal::checks());
    checks.extend(capi::checks());
    checks.extend(example::checks());
    checks.extend(machines::checks());
    checks.extend(board::checks());
    checks.extend(matrix::checks());
    checks.extend(hardware::checks());
    checks.extend(removal::checks());
    checks.extend(service::checks());
    checks.extend(foreign::checks());
    checks
}

/// Runs the command; true if every check passed.
pub(crate) fn command(args: &TestArgs) -> Result<bool> {
    let workspace = Workspace::load()?;
    let mut checks = all(&workspace);
    let mut skipped = Vec::new();
    // None of these may be missing in a complete run, but for the database that not every machine can fetch.
    for (name, is_needed, found) in [
        (
            "published/ and generated/ in part",
            true,
            published::checks_with_nightly(&workspace),
        ),
        ("deny", true, deny::checks()),
        ("deny/advisories", false, deny::advisories()),
        ("miri", true, miri::checks(&workspace, args.long)),
    ] {
        match found {
            Ok(more) => checks.extend(more),
            Err(error) if is_needed && args.complete => return Err(error),
            Err(error) => skipped.push(format!("skipped: {name} ({error:#})")),
        }
    }
    let checks = select(checks, args)?;
    if args.list {
        for check in &checks {
            say(&check.name);
        }
        return Ok(true);
    }
    let context = prepare(workspace, &checks, args)?;
    let tally = runner::run(&checks, &context);
    for line in &skipped {
        say(line);
    }
    say(&format!("{} passed, {} failed", tally.passed, tally.failed));
    Ok(tally.failed == 0)
}

fn select(mut checks: Vec<Check>, args: &TestArgs) -> Result<Vec<Check>> {
    checks.retain(|check| !(args.quick && check.boots.is_some()));
    if let Some(filter) = &args.filter {
        checks.retain(|check| check.name.contains(filter.as_str()));
        if checks.is_empty() {
            bail!("no check has `{filter}` in its name; `cargo xtask test --list` shows the names");
        }
    }
    Ok(checks)
}

/// Finds, installs and builds what the selected checks need.
fn prepare(workspace: Workspace, checks: &[Check], args: &TestArgs) -> Result<Context> {
    let progress = Progress::for_this_terminal();
    let mut setup = None;
    tools::ensure_target(&workspace, RISCV, progress)?;
    tools::ensure_lint_tools(&workspace, progress)?;
    let wants = |guest| checks.iter().any(|check| check.boots == Some(guest));
    if checks.iter().any(|check| check.boots.is_some()) {
        let needs = Needs {
            tools: Wanted {
                emulator: None,
                image_tool: true,
                may_install: !args.no_install,
            },
            bare: wants(Guest::Bare),
            minix: wants(Guest::Minix),
            bench: wants(Guest::Bench),
            foreign: checks.iter().any(|check| check.foreign),
            faults: checks.iter().any(|check| check.faults),
        };
        setup = Some(Setup::prepare(&workspace, needs, progress)?);
    }
    Ok(Context {
        workspace,
        setup,
        may_install: !args.no_install,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_and_a_filter_select() {
        let select = |line: &str| {
            let words = ["xtask", "test"].into_iter().chain(line.split_whitespace());
            match crate::cli::parse(words) {
                Ok(crate::cli::Command::Test(args)) => select(all(&Workspace::load().unwrap()), &args).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        assert!(select("").iter().any(|check| check.boots.is_some()));
        assert!(select("--quick").iter().all(|check| check.boots.is_none()));
        assert!(select("legacy").iter().all(|check| check.name.contains("legacy")));
    }
}
