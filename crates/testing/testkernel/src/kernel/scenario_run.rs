//! Runs the scenario: a statement at a time, a step whenever the kernel is entered and something may have changed.

use core::fmt::{self, Write};

use board_qemu_virt::console;
use board_qemu_virt::{FailureCode, power};
use guest_protocol::{End, LINE_BYTES, Record};
use heapless::{String, Vec};
use minix_abi::signal::Signal;
use testkernel::config;
use testkernel::scenario::{Program, ScenarioError, Statement, statements};

use super::Kernel;
use super::process::Slot;
use super::scenario_wait::{Force, Wait, alive, outcome};
use super::servers::instance;
use super::servers::rs::{self, Kind};
use super::servers::vfs;

/// A measurement that has begun.
#[derive(Clone, Copy, Debug)]
struct Measure {
    name: &'static str,
    label: &'static str,
    instructions: u64,
    since: u64,
}

/// Where the scenario is.
#[derive(Debug, Default)]
pub(crate) struct Run {
    text: &'static str,
    next: usize,
    pub(super) wait: Wait,
    /// When to look again although nothing has happened.
    look_at: u64,
    passed: u64,
    /// Statements that failed, breaches of protocol, and damage.
    pub(crate) failures: u64,
    /// Frames that were in use before there was any process.
    used_frames: usize,
    measures: Vec<Measure, 8>,
}

impl Run {
    /// Something has happened that the scenario may wait for.
    pub(crate) fn poke(&mut self) {
        self.look_at = 0;
    }

    /// Something will have happened then.
    pub(crate) fn look_at(&mut self, micros: u64) {
        self.look_at = self.look_at.min(micros);
    }
}

/// Prints a record.
pub(crate) fn emit(record: &Record<'_>) {
    console::start_of_line();
    console::write_bytes(record.line(&mut [0; LINE_BYTES]));
}

/// Somebody broke the rules. The run has failed, and goes on.
pub(crate) fn violation(kernel: &mut Kernel, text: fmt::Arguments<'_>) {
    let mut line = String::<200>::new();
    // What does not fit is cut off.
    let _ = line.write_fmt(text);
    emit(&Record::Violation { text: &line });
    kernel.high.run.failures += 1;
}

pub(super) fn error(stage: &str, kind: &str, text: fmt::Arguments<'_>) {
    let mut line = String::<200>::new();
    let _ = line.write_fmt(text);
    emit(&Record::Error {
        stage,
        kind,
        text: &line,
    });
}

pub(super) fn start(kernel: &mut Kernel) {
    kernel.high.run.used_frames = kernel.frames.used_count();
    match kernel.archive.text("scenario") {
        Some(text) => kernel.high.run.text = text,
        None => {
            error(
                "start",
                "no-scenario",
                format_args!("the archive has no file of that name"),
            );
            kernel.high.run.failures += 1;
        }
    }
    // Nothing runs before all of it is known to make sense.
    if let Some(Err(wrong)) = statements(kernel.high.run.text).find(Result::is_err) {
        error("start", "bad-scenario", format_args!("{wrong}"));
        kernel.high.run.text = "";
        kernel.high.run.failures += 1;
    }
}

/// Goes on as far as it can.
pub(super) fn step(kernel: &mut Kernel) {
    let now = kernel.now_micros();
    if now < kernel.high.run.look_at {
        return;
    }
    kernel.high.run.look_at = u64::MAX;
    kernel.clock.wake_at(None);
    // While something is under way the time is looked at every now and then.
    kernel.high.run.look_at(now.saturating_add(1000));
    rs::look(kernel, now);
    vfs::look(kernel, now);
    while let Some(has_passed) = outcome(kernel, now) {
        conclude(kernel, has_passed);
        let next = kernel.high.run.next;
        kernel.high.run.next += 1;
        match statements(kernel.high.run.text).nth(next) {
            Some(Ok(statement)) => begin(kernel, statement, now),
            Some(Err(ScenarioError { .. })) | None => finish(kernel),
        }
    }
}

/// Counts the statement that has just ended.
fn conclude(kernel: &mut Kernel, has_passed: bool) {
    let run = &mut kernel.high.run;
    if run.next == 0 {
        return;
    }
    if has_passed {
        run.passed += 1;
    } else {
        run.failures += 1;
        let text = statements(run.text).nth(run.next - 1);
        if let Some(Ok(statement)) = text {
            error("scenario", "failed", format_args!("{statement}"));
        }
    }
}

/// Ends whoever is left: every frame has to come back.
fn account(kernel: &mut Kernel) {
    for slot in kernel.processes.iter() {
        kernel.kill(slot);
    }
    let (before, now) = (kernel.high.run.used_frames, kernel.frames.used_count());
    if now != before {
        violation(
            kernel,
            format_args!("{now} frames are in use without processes, {before} were"),
        );
    }
}

/// Says goodbye.
fn finish(kernel: &mut Kernel) -> ! {
    for index in 0..kernel.high.rs.services.len() {
        instance::settle(kernel, index);
    }
    account(kernel);
    let run = &kernel.high.run;
    emit(&Record::Done {
        passed: run.passed,
        failed: run.failures,
    });
    match (run.failures, FailureCode::new(1)) {
        (1.., Some(code)) => power::failure(code),
        _ => power::success(),
    }
}

/// What a process may do, by the two files that say so.
fn config_of(kernel: &Kernel, program: &str) -> Result<config::ServiceConfig<'static>, &'static str> {
    for file in ["system.conf", "clients.conf"] {
        let Some(text) = kernel.archive.text(file) else {
            continue;
        };
        match config::find(text, program) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(wrong) => {
                error("config", file, format_args!("{wrong}"));
                return Err("its configuration is malformed");
            }
        }
    }
    Err("it has no entry in system.conf or clients.conf")
}

/// Starts a statement. What cannot even be started waits for nothing, and fails there.
fn begin(kernel: &mut Kernel, statement: Statement<'static>, now: u64) {
    let started = match statement {
        Statement::Service {
            program,
            major,
            may_fail,
        } => up(kernel, program, major, Kind::Driver).map(|()| Wait::Up {
            label: program.label,
            may_fail,
        }),
        Statement::Run(program) => {
            up(kernel, program, None, Kind::Client).map(|()| Wait::Client { label: program.label })
        }
        Statement::Start(program) => up(kernel, program, None, Kind::Background).map(|()| Wait::Nothing),
        Statement::Wait => Ok(Wait::Clients),
        Statement::Gone { label } => Ok(Wait::Down {
            label,
            since: now,
            force: Force::Never,
        }),
        Statement::Sleep { micros } => Ok(Wait::Time {
            until: now.saturating_add(micros),
        }),
        Statement::Kill(kill) => Ok(Wait::Kill { kill, round: 0 }),
        Statement::Fragment { pages } => {
            kernel.frames.fragment(usize::try_from(pages).unwrap_or(usize::MAX));
            Ok(Wait::Nothing)
        }
        Statement::DeadHook { label } => dead_hook(kernel, label),
        Statement::MeasureBegin { name, label } => measure_begin(kernel, name, label, now),
        Statement::MeasureEnd { name } => measure_end(kernel, name, now),
        Statement::Vfs { label, request } => alive(kernel, label)
            .ok_or("no such service lives")
            .and_then(|(_, slot)| vfs::request(kernel, slot, request))
            .map(|()| Wait::Vfs),
        Statement::Signal { label, .. }
        | Statement::Down { label }
        | Statement::Ping { label }
        | Statement::Prepare { label }
        | Statement::Restart { label } => match alive(kernel, label) {
            Some((index, slot)) => Ok(begin_with(kernel, statement, label, index, slot, now)),
            None => Err("no such service lives"),
        },
    };
    kernel.high.run.wait = match started {
        Ok(wait) => wait,
        Err(reason) => {
            error("scenario", "cannot-start", format_args!("{reason}"));
            // Nobody has this label, so this fails at once.
            Wait::Client { label: "" }
        }
    };
    kernel.high.run.poke();
}

/// Starts a statement that is about a living service.
fn begin_with(
    kernel: &mut Kernel,
    statement: Statement<'static>,
    label: &'static str,
    index: usize,
    slot: Slot,
    now: u64,
) -> Wait {
    match statement {
        Statement::Signal { signal, .. } => {
            rs::signal(kernel, index, slot, signal);
            Wait::Nothing
        }
        Statement::Ping { .. } => {
            rs::ping(kernel, index, slot);
            Wait::Ping { label, since: now }
        }
        Statement::Prepare { .. } => {
            rs::prepare(kernel, index, slot);
            Wait::Prepare { label, since: now }
        }
        Statement::Restart { .. } => {
            rs::died(kernel, slot, End::Killed);
            Wait::Restarted { label }
        }
        _ => {
            rs::signal(kernel, index, slot, Signal::TERM);
            Wait::Down {
                label,
                since: now,
                force: Force::Allowed,
            }
        }
    }
}

fn up(kernel: &mut Kernel, program: Program<'static>, major: Option<u32>, kind: Kind) -> Result<(), &'static str> {
    let config = config_of(kernel, program.program)?;
    rs::up(kernel, program, config, major, kind)
}

fn dead_hook(kernel: &mut Kernel, label: &str) -> Result<Wait, &'static str> {
    let (_, slot) = alive(kernel, label).ok_or("no such service lives")?;
    let endpoint = kernel.processes[slot].endpoint;
    let line = kernel
        .irqs
        .lines_of(endpoint)
        .next()
        .ok_or("it has no interrupt line")?;
    kernel.irqs.add_dead(line).map_err(|_| "no hook is free")?;
    Ok(Wait::Nothing)
}

/// What all instances of a service have executed.
fn instructions(kernel: &Kernel, label: &str) -> Option<u64> {
    let service = &kernel.high.rs.services[kernel.high.rs.labelled(label)?];
    let living = kernel.processes.find(service.endpoint);
    Some(service.instructions + living.map_or(0, |slot| kernel.processes[slot].user_instructions))
}

fn measure_begin(kernel: &mut Kernel, name: &'static str, label: &'static str, now: u64) -> Result<Wait, &'static str> {
    let instructions = instructions(kernel, label).ok_or("no such service")?;
    let measure = Measure {
        name,
        label,
        instructions,
        since: now,
    };
    kernel
        .high
        .run
        .measures
        .push(measure)
        .map_err(|_| "too many measurements")?;
    Ok(Wait::Nothing)
}

fn measure_end(kernel: &mut Kernel, name: &str, now: u64) -> Result<Wait, &'static str> {
    let measures = &mut kernel.high.run.measures;
    let index = measures
        .iter()
        .position(|measure| measure.name == name)
        .ok_or("no such measurement")?;
    let begun = measures.swap_remove(index);
    let instructions = instructions(kernel, begun.label).ok_or("what is measured is forgotten")?;
    emit(&Record::Measure {
        name: begun.name,
        label: begun.label,
        instructions: instructions.saturating_sub(begun.instructions),
        micros: now.saturating_sub(begun.since),
    });
    Ok(Wait::Nothing)
}
