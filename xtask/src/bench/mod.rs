//! `cargo xtask bench`: how fast the driver is, beside others and beside what a device can do at all.
//!
//! [`guest`] boots the benchmark image and makes [`row`]s of its records.

mod guest;
mod row;

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
    let rows = guest::measure(&workspace, &qemu.program, Pass::Counts, LIMIT, progress)?;
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&rows).context("cannot write the rows")?;
        std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    for row in &rows {
        say(&serde_json::to_string(row).context("cannot write a row")?);
    }
    Ok(true)
}
