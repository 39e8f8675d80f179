//! A run from disk to verdict, of either guest. `cargo xtask qemu` does one; the test runner does many.

use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use guest_protocol::SECTOR_BYTES;

use crate::blockstats::Watcher;
use crate::build;
use crate::cli::QemuArgs;
use crate::console::Console;
use crate::disk::layout::Recipe;
use crate::disk::{self, Choice, Disk, Input, map};
use crate::faults::{self, Faults, Order};
use crate::foreign::{self, Backend, Seen};
use crate::machine::{Boot, Machine};
use crate::minix::programs::{self, Programs};
use crate::minix::scenario::{Extras, Scenario};
use crate::minix::{archive, vblkctl};
use crate::power_cut::brake::Brake;
use crate::power_cut::examine;
use crate::progress::Progress;
use crate::removal::Remover;
use crate::report::disk::{self as sectors, Comparison, examine};
use crate::report::{Case, Frames, Guest, Host, Report, Strings, read_trace};
use crate::run::{self, Next, Outputs};
use crate::tools::{self, Qemu, Wanted};
use crate::workspace::{RISCV, Workspace};

/// How long the console of a run that failed is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The programs and folders that all runs share.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) qemu: Qemu,
    /// The bare image, if there are runs of it.
    pub(crate) image: Option<PathBuf>,
    /// The test kernel and its runs, if there are any.
    pub(crate) programs: Option<Programs>,
    /// The back-end of foreign disks, if there are runs with one.
    pub(crate) backend: Option<PathBuf>,
    /// Where the directories of the runs are made.
    pub(crate) scratch: PathBuf,
}

/// What is needed of a [`Setup`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs<'a> {
    pub(crate) tools: Wanted<'a>,
    /// The bare image.
    pub(crate) bare: bool,
    /// The test kernel, the service and the clients.
    pub(crate) minix: bool,
    /// The benchmark image.
    pub(crate) bench: bool,
    /// The back-end of foreign disks.
    pub(crate) foreign: bool,
    /// The server of disks with faults.
    pub(crate) faults: bool,
}

impl Setup {
    /// Finds, installs and builds what is needed.
    pub(crate) fn prepare(workspace: &Workspace, needs: Needs<'_>, progress: Progress) -> Result<Setup> {
        let qemu = tools::ensure_qemu(workspace, needs.tools, progress)?;
        tools::ensure_target(workspace, RISCV, progress)?;
        if needs.faults {
            tools::ensure_package(workspace, tools::NBDKIT, needs.tools.may_install, progress)?;
        }
        let image = needs.bare.then(|| build::image(workspace, progress));
        let programs = needs.minix.then(|| programs::build_all(workspace, progress));
        if needs.bench {
            build::bench_image(workspace, progress)?;
        }
        let backend = needs.foreign.then(|| foreign::build(workspace, progress));
        Ok(Setup {
            qemu,
            image: image.transpose()?,
            programs: programs.transpose()?,
            backend: backend.transpose()?,
            scratch: workspace.scratch(),
        })
    }

    /// The program that is booted.
    pub(crate) fn kernel(&self, args: &QemuArgs) -> Result<&Path> {
        let kernel = self.programs.as_ref().map(|programs| &programs.kernel);
        let program = if args.bare { self.image.as_ref() } else { kernel };
        program.map(PathBuf::as_path).context("what is booted was not built")
    }
}

/// One run, its console going to `console`.
pub(crate) fn run(
    setup: &Setup,
    args: &QemuArgs,
    input: Option<&Input>,
    keyboard: run::Input,
    console: &mut Console,
    progress: Progress,
) -> Result<Report> {
    let directory = run_directory(&setup.scratch)?;
    let directory = directory.path();
    let disks = progress.step("preparing the disk", |_| make_disks(args, input, directory))?;
    let scenario = match args.bare {
        true => None,
        false => Some(Scenario::new(args, &disks, directory)?),
    };
    let first = disks.first().context("there is no disk")?;
    let boot = Boot::new(args, setup.kernel(args)?, &first.outline, directory);
    if let (Boot::Minix { archive, .. }, Some(scenario)) = (&boot, &scenario) {
        let programs = setup.programs.as_ref().context("the service was not built")?;
        archive::write(archive, &scenario.script(), programs)?;
    }
    let extras = extras(args, directory);
    let attachments: Vec<_> = disks.iter().map(|disk| disk.attachment.clone()).collect();
    let machine = Machine {
        args,
        program: &setup.qemu.program,
        boot: &boot,
        disks: &attachments,
        extras: &extras,
    };
    if args.verbose {
        let program = setup.backend.as_deref().unwrap_or(Path::new(""));
        for line in foreign::command_lines(program, args, &attachments) {
            console.side("xtask", &line);
        }
        console.side("xtask", &machine.command_line());
        let script = scenario.as_ref().map(Scenario::script).unwrap_or_default();
        for line in script.lines() {
            console.side("scenario", line);
        }
    }
    let unlimited = args.gdb || matches!(keyboard, run::Input::Terminal);
    let limit = (!unlimited).then(|| Duration::from_secs(args.limit()));
    let (strings, frames_file) = match &boot {
        Boot::Bare { image, defmt, .. } => (Strings::load(image)?, defmt.as_path()),
        Boot::Minix { .. } | Boot::Example { .. } => (Strings::none(), directory),
    };
    let mut frames = Frames::follow(frames_file, &strings);
    let mut backends = Backend::start_all(setup.backend.as_deref(), args, &attachments)?;
    let mut remover = Remover::new(&machine);
    let logs_writes = extras.writes.is_some();
    let watched = extras
        .qmp
        .as_deref()
        .filter(|_| !args.read_only && !extras.faults && !logs_writes);
    let mut watcher = watched.map(Watcher::new);
    let faulty = extras.qmp.clone().filter(|_| extras.faults);
    let faults = faulty.map(|socket| Faults::start(first, directory.to_owned(), socket, args.rounds(), args.seed()));
    let keyboard = if faults.is_some() {
        run::Input::Answers
    } else {
        keyboard
    };
    let power = RefCell::new(LostPower::default());
    let mut brake = extras.qmp.as_deref().filter(|_| logs_writes).map(Brake::new);
    if let Some(log) = &extras.writes {
        // QEMU does not make it.
        File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
    }
    // A spinner would be in the way of a console that is shown as it comes.
    let shown = if console.is_shown() { Progress::Silent } else { progress };
    let ended = shown.step("running on QEMU", |step| {
        let follow = |guest: &Guest| {
            if let Some(remover) = &mut remover {
                remover.follow(guest, &mut backends);
            }
            if let Some(watcher) = &mut watcher {
                watcher.follow(guest);
            }
            if let Some(brake) = &mut brake {
                brake.follow(guest);
            }
            if backends.iter_mut().any(Backend::has_left_qemu) {
                return Next::Abandon;
            }
            let Some(faults) = &faults else { return Next::GoOn };
            match faults.follow(guest) {
                None => Next::GoOn,
                Some(Order::Answer) => Next::Answer,
                Some(Order::Abandon) => Next::Abandon,
                Some(Order::GoOnFrom(file)) => Next::Replace(Box::new({
                    let command = machine.command();
                    move |_| {
                        faults.replaced();
                        Ok(faults::incoming(command, &file))
                    }
                })),
                Some(Order::Kill) => Next::Replace(Box::new(|guest| {
                    guest.lost_power();
                    power.borrow_mut().look(first, guest, directory)?;
                    faults.replaced();
                    Ok(machine.command())
                })),
            }
        };
        let outputs = Outputs {
            frames: &mut frames,
            console,
            step,
            show_records: args.verbose,
        };
        run::run(&machine.command(), keyboard, limit, follow, outputs)
    })?;
    let backends: Vec<Seen> = backends.into_iter().filter_map(Backend::finish).collect();
    let flushes = |seen: &Seen| seen.report.as_ref().map(|report| report.flushes_after_writes);
    let mut host = Host {
        flushes_after_writes: backends.first().and_then(flushes),
        backends,
        ..Host::default()
    };
    if let Some(remover) = remover {
        host.findings.extend(
            remover
                .finish()
                .err()
                .map(|error| format!("the disk was not removed: {error:#}")),
        );
    }
    if let Some(faults) = faults {
        let LostPower { total, findings } = power.into_inner();
        match faults.finish() {
            Ok(mut made) => {
                (made.unanswered, made.compared) = total;
                host.faults = Some(made);
            }
            Err(error) => host
                .findings
                .push(format!("a fault was not made, or not survived: {error:#}")),
        }
        host.findings.extend(findings);
    }
    let watched = watcher.is_some();
    if let Some(watcher) = watcher {
        let (stats, failed) = watcher.finish();
        host.block_stats = stats;
        host.findings.extend(failed);
    }
    host.findings.extend(brake.and_then(|brake| brake.finish(&ended.guest)));
    if let Some(file) = &extras.trace {
        let seen = read_trace(file)?;
        host.requests_at_once = seen.map(|seen| seen.most_at_once);
        host.flushes_after_writes = seen.map(|seen| seen.flushes_after_writes);
    }
    if input.is_some() {
        host.contents = first.contents(directory)?;
    }
    progress.step("checking the disk", |_| {
        examine(args, &disks, &ended.guest, directory, &mut host)?;
        match disks.first() {
            Some(disk) if watched => zeroed(disk, directory, &mut host),
            _ => Ok(()),
        }
    })?;
    if let (Some(log), Some(disk), true) = (&extras.writes, disks.first(), ended.guest.done().is_some()) {
        let text = console.guest_text();
        let judged = progress.step("cutting the power", |_| {
            let told = (&ended.guest, &*text);
            examine::examine(told, log, disk, directory, (args.points(), args.seed()))
        })?;
        host.findings.extend(judged.findings.iter().cloned());
        host.power_cut = Some(judged);
    }
    let case = Case {
        args,
        scenario: scenario.as_ref(),
        disks: &disks,
        ended: &ended,
        host: &host,
        defmt: frames.count,
    };
    let reasons = case.findings();
    Ok(Report {
        passed: reasons.is_empty(),
        reasons,
        qemu_version: setup.qemu.version.to_string(),
        command_line: machine.command_line(),
        scenario: scenario.as_ref().map(Scenario::script),
        seconds: ended.duration.as_secs_f64(),
        exit_status: ended.status.and_then(|status| status.code()),
        defmt: frames.count,
        guest: ended.guest,
        host,
    })
}

/// What was found on the disk when QEMU was killed.
#[derive(Debug, Default)]
struct LostPower {
    /// Writes without an answer, and sectors compared.
    total: (u64, u64),
    findings: Vec<String>,
}

impl LostPower {
    /// Every write that was answered is there. One that was not may be there or not.
    fn look(&mut self, disk: &Disk, guest: &Guest, directory: &Path) -> Result<()> {
        let mut comparison = Comparison::default();
        sectors::compare(0, disk, guest, directory, &mut comparison)?;
        let lost = comparison.differences.into_iter();
        self.findings
            .extend(lost.map(|text| format!("after a kill of QEMU: {text}")));
        self.total.0 += guest.unanswered_writes() as u64;
        self.total.1 += comparison.compared;
        Ok(())
    }
}

/// Whether what was given up reads as zeroes, and takes no room where that was asked for.
fn zeroed(disk: &Disk, directory: &Path, host: &mut Host) -> Result<()> {
    for (range, is_hole) in vblkctl::zeroed() {
        let mut bytes = vec![0; range.count as usize * SECTOR_BYTES];
        disk.after(range, directory)?.read(range.first, &mut bytes)?;
        if bytes.iter().any(|&byte| byte != 0) {
            host.findings.push(format!("sectors {range} do not read as zeroes"));
        }
        if is_hole && !map::is_hole(disk, range)? {
            host.findings.push(format!("sectors {range} take room in the image"));
        }
    }
    Ok(())
}

/// The disks of a run: the user's, or what the guest needs.
pub(crate) fn choices<'i>(args: &QemuArgs, input: Option<&'i Input>) -> Vec<Choice<'i>> {
    match input {
        Some(input) => vec![Choice::Given(input)],
        None if args.bare => (0..)
            .zip(&args.hardware.buses)
            .map(|(number, _)| Choice::Made(Recipe::Bare { number }))
            .collect(),
        None => args.scenario().disks().iter().copied().map(Choice::Made).collect(),
    }
}

/// What the scenario needs of the machine.
pub(crate) fn extras(args: &QemuArgs, directory: &Path) -> Extras {
    if args.bare {
        return Extras::default();
    }
    let mut extras = args.scenario().extras(directory);
    if args.foreign.is_some() {
        // QEMU does not see the requests; the back-end counts them.
        extras.trace = None;
    }
    extras
}

pub(crate) fn make_disks(args: &QemuArgs, input: Option<&Input>, directory: &Path) -> Result<Vec<Disk>> {
    let choices = choices(args, input).into_iter().enumerate();
    choices
        .map(|(number, choice)| disk::make(args, choice, number, directory))
        .collect()
}

/// A directory of its own for a run, removed with the value.
pub(crate) fn run_directory(scratch: &Path) -> Result<tempfile::TempDir> {
    let what = || format!("cannot make a directory in {}", scratch.display());
    std::fs::create_dir_all(scratch).with_context(what)?;
    let scratch = scratch.canonicalize().with_context(what)?;
    remove_abandoned(&scratch);
    tempfile::Builder::new()
        .prefix(&format!("run-{}-", std::process::id()))
        .tempdir_in(scratch)
        .with_context(what)
}

/// Removes the directories of runs that were killed, whose process no longer exists, and consoles after a day.
fn remove_abandoned(scratch: &Path) {
    let is_running = |process: &str| !Path::new("/proc/self").exists() || Path::new("/proc").join(process).exists();
    for entry in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix("run-").and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !is_running(process)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
        let age = entry
            .metadata()
            .and_then(|data| data.modified())
            .map(|time| time.elapsed());
        if name.starts_with("console-") && matches!(age, Ok(Ok(age)) if age > KEPT) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
