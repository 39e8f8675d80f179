//! `cargo xtask bench`: how fast the driver is, beside others and beside what a device can do at all.
//!
//! * [`guest`] boots the benchmark image and makes [`row`]s of its records, [`service`] does the same with the MINIX service in
//!   the test kernel, [`watching`] tells how long its clients wait, [`native`] measures the driver on this machine, [`sizes`] looks at programs, [`minimal`] at
//!   the smallest one.
//! * [`table`] prints the rows, and [`goals`] says what the project wants of them. [`page`] draws them.
//! * [`budget`] is what `cargo xtask test` holds the driver to.
//! * [`profile`] tells where the instructions go.

mod budget;
mod daemon;
mod goals;
pub(crate) mod guest;
pub(crate) mod minimal;
mod native;
mod page;
pub(crate) mod profile;
mod row;
pub(crate) mod service;
pub(crate) mod sizes;
mod table;
pub(crate) mod watching;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use image_bench::options::Pass;

pub(crate) use budget::Budget;
pub(crate) use row::Row;

use sizes::Size;

use crate::build;
use crate::cli::BenchArgs;
use crate::console::say;
use crate::minix::programs::{self, Programs};
use crate::progress::Progress;
use crate::tools::{self, Qemu, Wanted};
use crate::workspace::{RISCV, Workspace};

/// How long a boot may take.
const LIMIT: Duration = Duration::from_secs(300);

/// How often each contender has its turn, and how long a turn is.
const ROUNDS: u32 = 100;
const SLICE_MICROS: u64 = 4000;

/// Requests of 4 KiB that a client sends to the service in a measurement.
const SERVICE_OPS: u64 = 2000;

/// How long it is measured how the service watches its device.
const WATCHING: watching::Effort = watching::Effort {
    rounds: 3,
    ops: 500,
    paced_part: 1,
};

/// Runs the command.
pub(crate) fn command(args: &BenchArgs) -> Result<bool> {
    let choice = args.profile.as_deref().map(profile::choice).transpose()?;
    let workspace = Workspace::load()?;
    if let Some(file) = &args.from {
        show(args, &workspace, file)?;
        return Ok(true);
    }
    // What cannot be written is known before minutes are spent.
    if let Some(file) = &args.json {
        write(file, "")?;
    }
    if let Some(directory) = &args.page {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    // All that is timed and not only counted takes it.
    if args.native || !args.bless && choice.is_none() {
        daemon::ensure()?;
    }
    let progress = Progress::for_this_terminal();
    let qemu = emulator_and_image(args, &workspace, progress)?;
    if let Some(choice) = choice {
        for line in profile::profile(&workspace, &qemu.program, choice, progress)? {
            say(&line);
        }
        return Ok(true);
    }
    let bench = Bench {
        programs: programs::build_all(&workspace, progress)?,
        workspace,
        qemu,
        progress,
    };
    let native = if args.native {
        native::measure(&bench.workspace, bench.progress)?
    } else {
        Vec::new()
    };
    let mut rows = if args.bless {
        bench.counts()?
    } else {
        bench.everything()?
    };
    if !native.is_empty() {
        say(&native::table(&native));
        say("");
    }
    rows.extend(native);
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
        let notes = [format!("QEMU {}", bench.qemu.version)];
        draw(args, &bench.workspace, &rows, &notes)?;
    }
    Ok(true)
}

/// Prints and draws the rows of an earlier run.
fn show(args: &BenchArgs, workspace: &Workspace, file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let rows: Vec<Row> =
        serde_json::from_str(&text).with_context(|| format!("{} is not a list of rows", file.display()))?;
    for line in table::lines(&rows) {
        say(&line);
    }
    // What it ran on is not in its rows.
    draw(args, workspace, &rows, &[])
}

/// Writes the page. `notes` are lines about the run.
fn draw(args: &BenchArgs, workspace: &Workspace, rows: &[Row], notes: &[String]) -> Result<()> {
    let usual = workspace.target.join("bench");
    let page = page::write(rows, notes, args.page.as_ref().unwrap_or(&usual))?;
    say(&format!("the charts are in {}", page.display()));
    Ok(())
}

/// Finds or installs QEMU, and builds the image.
fn emulator_and_image(args: &BenchArgs, workspace: &Workspace, progress: Progress) -> Result<Qemu> {
    let wanted = Wanted {
        emulator: args.qemu.as_deref(),
        image_tool: false,
        may_install: !args.no_install,
    };
    let qemu = tools::ensure_qemu(workspace, wanted, progress)?;
    tools::ensure_target(workspace, RISCV, progress)?;
    build::bench_image(workspace, progress)?;
    Ok(qemu)
}

/// What the measurements share.
struct Bench {
    workspace: Workspace,
    qemu: Qemu,
    programs: Programs,
    progress: Progress,
}

impl Bench {
    /// All that is exact, and has a budget.
    fn counts(&self) -> Result<Vec<Row>> {
        let mut rows = self.pass(Pass::Counts)?;
        rows.extend(self.service(&[service::Pass::Counts])?);
        Ok(rows)
    }

    fn everything(&self) -> Result<Vec<Row>> {
        let mut rows = self.pass(Pass::Counts)?;
        rows.extend(self.pass(Pass::Rates {
            rounds: ROUNDS,
            slice_micros: SLICE_MICROS,
        })?);
        let passes = [
            service::Pass::Counts,
            service::Pass::Rates { ops: SERVICE_OPS },
            service::Pass::Wait,
        ];
        rows.extend(self.service(&passes)?);
        rows.extend(self.watching()?);
        rows.extend(self.sizes()?);
        Ok(rows)
    }

    fn pass(&self, pass: Pass) -> Result<Vec<Row>> {
        guest::measure(&self.workspace, &self.qemu.program, pass, LIMIT, self.progress)
    }

    fn service(&self, passes: &[service::Pass]) -> Result<Vec<Row>> {
        let scratch = self.workspace.scratch();
        service::measure(
            &scratch,
            &self.qemu.program,
            &self.programs,
            passes,
            LIMIT,
            self.progress,
        )
    }

    fn watching(&self) -> Result<Vec<Row>> {
        let scratch = self.workspace.scratch();
        let (qemu, programs) = (&self.qemu.program, &self.programs);
        watching::measure(&scratch, qemu, programs, WATCHING, LIMIT, self.progress)
    }

    fn sizes(&self) -> Result<Vec<Row>> {
        let service = self.programs.processes.first().context("the service was not built")?;
        let mut rows = vec![Size::of(service)?.row("service")];
        rows.extend(minimal::rows(&self.workspace, self.progress)?);
        Ok(rows)
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
