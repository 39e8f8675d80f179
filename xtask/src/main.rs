//! `cargo xtask`: builds the MINIX service and the bare-metal image, boots them on QEMU, checks the disk afterwards, and runs
//! every test of the workspace.
//!
//! * [`cli`] is the command line; [`minix`], [`qemu`], [`mod@bench`], [`checks`], [`coverage`], [`fuzz`], [`mutants`],
//!   [`requirements`], [`power_cut`], [`evidence`] and [`generated`] are the commands. [`trial`] tries changes of the code for
//!   mutants and requirements. [`published`] says what a crate for the registry has.
//! * [`tools`] finds or installs what is needed, [`build`] builds the bare image and [`minix`] everything for MINIX, [`disk`]
//!   makes or opens the disk.
//! * [`foreign`] runs the back-end of a disk that is not QEMU's own, [`removal`] takes a disk away, [`blockstats`] asks
//!   for QEMU's statistics, [`mod@faults`] makes faults, all of them by [`qmp`].
//! * [`machine`] writes the QEMU command line, [`run`] boots it, [`report`] parses the records of the guest, checks
//!   them against the disks and prints the result. [`session`] ties these together, for either guest. [`interrupt`] is how all of it
//!   is stopped, [`child`] how no process is left behind.

mod bench;
mod blockstats;
mod build;
mod checks;
mod child;
mod cli;
mod console;
mod coverage;
mod disk;
mod evidence;
mod example;
#[cfg(test)]
mod fake;
mod faults;
mod foreign;
mod fuzz;
mod generated;
mod interrupt;
mod machine;
mod minix;
mod mutants;
mod power_cut;
mod progress;
mod published;
mod qemu;
mod qmp;
mod removal;
mod report;
mod requirements;
mod run;
mod session;
mod tools;
mod trial;
mod workspace;

use std::process::ExitCode;

use anyhow::Context;

use cli::{Command, MinixCommand};

/// The exit code after a mistake in the command line; after a failure it is 1.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    if let Some(code) = child::become_program(std::env::args_os()) {
        return code;
    }
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            console::complain(&format!(
                "{}; --help shows what there is",
                usage_line(&error.to_string())
            ));
            return ExitCode::from(USAGE);
        }
    };
    let outcome = interrupt::catch()
        .context("cannot catch signals")
        .and_then(|()| match command {
            Command::Build => minix::build(),
            Command::Qemu(args) => qemu::command(&args),
            Command::Bench(args) => bench::command(&args),
            Command::Minix(MinixCommand::Check(args)) => minix::check(&args),
            Command::Minix(MinixCommand::Install(args)) => minix::install::command(&args),
            Command::Coverage(args) => coverage::command(&args),
            Command::Evidence => evidence::command(),
            Command::Fuzz(args) => fuzz::command(&args),
            Command::Mutants(args) => mutants::command(&args),
            Command::Generate(args) => generated::command(&args),
            Command::Requirements(args) => requirements::command(&args),
            Command::PowerCut(args) => power_cut::command(&args),
            Command::Test(args) => checks::command(&args),
        });
    // Other errors are consequences of it.
    if interrupt::asked() {
        console::complain("error: interrupted");
        return ExitCode::from(interrupt::EXIT_CODE);
    }
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            console::complain(&format!("error: {}", one_line(&error)));
            ExitCode::FAILURE
        }
    }
}

/// What is wrong with the command line, as one line: clap's first paragraph, and its tip if there is one.
fn usage_line(error: &str) -> String {
    let paragraph = error.lines().map(str::trim).take_while(|line| !line.is_empty());
    let mut line = paragraph.collect::<Vec<_>>().join(" ");
    if let Some(tip) = error.lines().find_map(|line| line.trim().strip_prefix("tip: ")) {
        line += "; ";
        line += tip;
    }
    line
}

/// The whole chain of an error as the one line the user sees.
fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}
