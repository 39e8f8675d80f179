//! `cargo xtask qemu`.

use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::cli::{Format, QemuArgs};
use crate::console::{Console, complain, say};
use crate::disk::{self, Input};
use crate::evidence;
use crate::example;
use crate::foreign;
use crate::machine::{self, Boot, Machine};
use crate::minix::programs;
use crate::minix::scenario::Name;
use crate::progress::Progress;
use crate::report::{Report, screen};
use crate::run;
use crate::session::{self, Needs, Setup};
use crate::tools::{self, Qemu, Wanted};
use crate::workspace::Workspace;

/// Runs the command; true if the run passed.
pub(crate) fn command(args: &QemuArgs) -> Result<bool> {
    // Mistakes in the arguments are found before anything is installed or built.
    let input = args
        .disk
        .as_deref()
        .map(|given| Input::check(given, args.format))
        .transpose()?;
    if let Some(name) = args.example {
        return example::command(name, args, input.as_ref());
    }
    let workspace = Workspace::load()?;
    if args.dry_run {
        say(&dry_run(args, input.as_ref(), &workspace)?);
        return Ok(true);
    }
    if let Some(file) = &args.json {
        check_report_file(file, input.as_ref())?;
    }
    let outcome = boot(args, input.as_ref(), &workspace);
    if let Some(file) = &args.json {
        let text = match &outcome {
            Ok(report) => serde_json::to_string_pretty(report),
            // Otherwise the report of an earlier run would stay there.
            Err(error) => serde_json::to_string_pretty(&Report {
                reasons: vec![format!("{error:#}")],
                ..Report::default()
            }),
        };
        let text = text.context("cannot write the report")?;
        std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    let report = outcome?;
    if let Some(reason) = report.reasons.first() {
        complain(&format!("error: {reason}"));
    }
    Ok(report.passed)
}

/// Prepares the run, does it, and prints its screen.
fn boot(args: &QemuArgs, input: Option<&Input>, workspace: &Workspace) -> Result<Report> {
    let progress = Progress::for_this_terminal();
    let needs = Needs {
        tools: Wanted {
            emulator: args.qemu.as_deref(),
            image_tool: input.is_some() || args.format == Some(Format::Qcow2) || args.scenario == Some(Name::Large),
            may_install: !args.no_install,
        },
        bare: args.bare,
        minix: !args.bare,
        bench: false,
        foreign: args.foreign.is_some(),
        faults: args.scenario == Some(Name::Faults),
    };
    let setup = Setup::prepare(workspace, needs, progress)?;
    if args.gdb {
        let line = machine::gdb_line(setup.kernel(args)?);
        say(&format!("waiting for gdb; in another terminal type:\n  {line}"));
    }
    // A person who works with the guest sees its console. Otherwise the screen at the end is enough.
    let is_shown = args.verbose || args.shell || args.gdb;
    let mut console = if is_shown { Console::shown() } else { Console::default() };
    let report = session::run(&setup, args, input, keyboard(args)?, &mut console, progress)?;
    let log = setup.scratch.join(format!("console-{}.log", std::process::id()));
    let log = (!report.passed && std::fs::write(&log, console.text()).is_ok()).then_some(log.as_path());
    for line in screen::screen(&report, args, input, &console.guest_text(), log) {
        say(&line);
    }
    if let Some(made) = report.host.faults.as_ref().filter(|_| report.passed) {
        evidence::record(workspace, "faults", made.figures(args, &report.guest))?;
    }
    Ok(report)
}

/// The command line of a run that is not done.
fn dry_run(args: &QemuArgs, input: Option<&Input>, workspace: &Workspace) -> Result<String> {
    args.qemu.as_deref().map(tools::given_qemu).transpose()?;
    let directory = workspace.scratch().join("run");
    let choices = session::choices(args, input);
    let disks = choices
        .iter()
        .zip(0..)
        .map(|(choice, number)| disk::plan(args, *choice, number, &directory));
    let disks: Vec<_> = disks.collect();
    let program = match args.bare {
        true => build::image_path(workspace),
        false => programs::planned(workspace)?.kernel,
    };
    let outline = choices.first().map(|choice| disk::outline(args, *choice));
    let boot = Boot::new(args, &program, &outline.unwrap_or_default(), &directory);
    let machine = Machine {
        args,
        program: args.qemu.as_deref().unwrap_or(Qemu::usual_name()),
        boot: &boot,
        disks: &disks,
        extras: &session::extras(args, &directory),
    };
    let mut lines = foreign::command_lines(&foreign::path(workspace), args, &disks);
    lines.push(machine.command_line());
    Ok(lines.join("\n"))
}

/// Fails before the run if the report cannot be written, or would overwrite the user's disk.
fn check_report_file(file: &Path, input: Option<&Input>) -> Result<()> {
    let identity = |path: &Path| std::fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    if let Some(Input::File { path, .. }) = input
        && identity(path) == identity(file)
    {
        bail!("{}: is the disk, the report needs another file", file.display());
    }
    let open = std::fs::File::options().append(true).create(true).open(file);
    open.map(drop)
        .with_context(|| format!("cannot write {}", file.display()))
}

fn keyboard(args: &QemuArgs) -> Result<run::Input> {
    if !args.shell {
        return Ok(run::Input::None);
    }
    if std::io::stdin().is_terminal() {
        return Ok(run::Input::Terminal);
    }
    let text = std::io::read_to_string(std::io::stdin()).context("cannot read the script on standard input")?;
    Ok(run::Input::Script(text.lines().map(str::to_owned).collect()))
}
