//! `cargo xtask bench`: how fast the driver is, beside others and beside what a device can do at all.
//!
//! * [`guest`] boots the benchmark image and makes [`row`]s of its records, [`sizes`] looks at programs.
//! * [`table`] prints the rows, and [`goals`] says what the project wants of them.
//! * [`budget`] is what `cargo xtask test` holds the driver to.

mod budget;
mod goals;
pub(crate) mod guest;
mod row;
mod sizes;
mod table;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use image_bench::options::Pass;

pub(crate) use budget::Budget;
pub(crate) use row::Row;

use crate::build;
use crate::cli::BenchArgs;
use crate::console::say;
use crate::minix::programs;
use crate::progress::Progress;
use crate::tools::{self, Qemu, Wanted};
use crate::workspace::Workspace;

/// How long a boot may take.
const LIMIT: Duration = Duration::from_secs(300);

/// How often each contender has its turn, and how long a turn is.
const ROUNDS: u32 = 100;
const SLICE_MICROS: u64 = 4000;

/// Runs the command.
pub(crate) fn command(args: &BenchArgs) -> Result<bool> {
    let workspace = Workspace::load()?;
    // What cannot be written is known before minutes are spent.
    if let Some(file) = &args.json {
        write(file, "")?;
    }
    let bench = Bench::prepare(args, workspace)?;
    let rows = if args.bless {
        bench.counts()?
    } else {
        bench.everything()?
    };
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&rows).context("cannot write the rows")?;
        write(file, &(text + "\n"))?;
    }
    for line in table::lines(&rows) {
        say(&line);
    }
    if args.bless {
        let file = Budget::of(&rows).store(&bench.workspace)?;
        say(&format!("the counts of now are the budget, in {}", file.display()));
    } else {
        bench.compare(&rows)?;
    }
    Ok(true)
}

/// What the measurements share.
struct Bench {
    workspace: Workspace,
    qemu: Qemu,
    progress: Progress,
}

impl Bench {
    /// Finds, installs and builds what is needed.
    fn prepare(args: &BenchArgs, workspace: Workspace) -> Result<Bench> {
        let progress = Progress::for_this_terminal();
        let wanted = Wanted {
            emulator: args.qemu.as_deref(),
            image_tool: false,
            may_install: !args.no_install,
        };
        let qemu = tools::ensure_qemu(&workspace, wanted, progress)?;
        tools::ensure_target(&workspace, progress)?;
        build::bench_image(&workspace, progress)?;
        Ok(Bench {
            workspace,
            qemu,
            progress,
        })
    }

    /// All that is exact, and has a budget.
    fn counts(&self) -> Result<Vec<Row>> {
        self.pass(Pass::Counts)
    }

    fn everything(&self) -> Result<Vec<Row>> {
        let mut rows = self.counts()?;
        rows.extend(self.pass(Pass::Rates {
            rounds: ROUNDS,
            slice_micros: SLICE_MICROS,
        })?);
        rows.extend(self.sizes()?);
        Ok(rows)
    }

    fn pass(&self, pass: Pass) -> Result<Vec<Row>> {
        guest::measure(&self.workspace, &self.qemu.program, pass, LIMIT, self.progress)
    }

    fn sizes(&self) -> Result<Vec<Row>> {
        let service = programs::build_service(&self.workspace, self.progress)?;
        Ok(vec![sizes::row("service", &service.elf)?])
    }

    /// Tells of stages that are over or under their budget. `cargo xtask test` fails for the former; here they are figures like
    /// others.
    fn compare(&self, rows: &[Row]) -> Result<()> {
        let comparison = Budget::load(&self.workspace)?.compare(&Budget::of(rows));
        if let Err(text) = comparison.verdict() {
            say(&format!("over the budget: {text}"));
        }
        if let Some(advice) = comparison.advice() {
            say(&advice);
        }
        Ok(())
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
