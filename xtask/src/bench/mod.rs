//! `cargo xtask bench`: how fast the driver is, beside others and beside what a device can do at all.
//!
//! [`guest`] boots the benchmark image and makes [`row`]s of its records. [`table`] prints them, and [`goals`] says what the project
//! wants of them.

mod goals;
mod guest;
mod row;
mod table;

use std::time::Duration;

use anyhow::{Context, Result};
use image_bench::options::Pass;

use crate::cli::BenchArgs;
use crate::console::say;
use crate::progress::Progress;
use crate::tools::{self, Wanted};
use crate::workspace::Workspace;

/// How long a boot may take.
const LIMIT: Duration = Duration::from_secs(300);

/// How often each contender has its turn, and how long a turn is.
const ROUNDS: u32 = 100;
const SLICE_MICROS: u64 = 4000;

/// Runs the command.
pub(crate) fn command(args: &BenchArgs) -> Result<bool> {
    let workspace = Workspace::load()?;
    let progress = Progress::for_this_terminal();
    let wanted = Wanted {
        emulator: args.qemu.as_deref(),
        image_tool: false,
        may_install: !args.no_install,
    };
    let qemu = tools::ensure_qemu(&workspace, wanted, progress)?;
    tools::ensure_target(&workspace, progress)?;
    guest::build(&workspace, progress)?;
    let mut rows = Vec::new();
    let rates = Pass::Rates {
        rounds: ROUNDS,
        slice_micros: SLICE_MICROS,
    };
    for pass in [Pass::Counts, rates] {
        rows.extend(guest::measure(&workspace, &qemu.program, pass, LIMIT, progress)?);
    }
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&rows).context("cannot write the rows")?;
        std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    for line in table::lines(&rows) {
        say(&line);
    }
    Ok(true)
}
