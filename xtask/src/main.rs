//! `cargo xtask`: builds the bare-metal image, boots it on QEMU, checks the disk afterwards, and runs every test of the
//! workspace.
//!
//! * [`cli`] is what can be typed; [`qemu`] and [`checks`] are the two commands.
//! * [`tools`] finds or installs what is needed, [`image`] builds the image, [`disk`] makes or opens the disk.
//! * [`machine`] writes the QEMU command line, [`run`] lives through the boot, [`verify`] judges the disk after it, and
//!   [`report`] is what a run comes to. [`session`] ties these together. [`interrupt`] is how all of it is stopped.

mod checks;
mod cli;
mod console;
mod defmt;
mod disk;
mod image;
mod interrupt;
mod ledger;
mod machine;
mod progress;
mod qemu;
mod report;
mod run;
mod session;
mod splitter;
mod tools;
mod verify;
mod workspace;

use std::process::ExitCode;

use cli::Command;

/// The exit code for a command line that makes no sense; a failure is 1.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(cli::Stop::Help(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(cli::Stop::Usage(line)) => {
            eprintln!("error: {line}");
            return ExitCode::from(USAGE);
        }
    };
    let outcome = match command {
        Command::Qemu(args) => qemu::command(&args),
        Command::Test(args) => checks::command(&args),
    };
    // What else went wrong did so because it was stopped.
    if interrupt::asked() {
        eprintln!("error: interrupted");
        return ExitCode::from(interrupt::EXIT_CODE);
    }
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// The whole chain of an error as the one line the user sees.
fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}
