//! Each statement of the scenario: how it begins, and when it is over.

use board_qemu_virt::console;
use guest_protocol::{End, Outcome, Record, Since, pattern};
use minix_abi::{Errno, Status};
use testkernel::config::{self, ConfigError, ServiceConfig};
use testkernel::lateness::Lateness;
use testkernel::life::{Phase, STOP_LIMIT_US};
use testkernel::scenario::{Program, Statement};

use super::paging::DeviceRegister;
use super::process::Slot;
use super::report::{emit, error, test};
use super::servers::service::Kind;
use super::servers::system::System;
use super::servers::{instance, rs};

/// The time limit for an answer to a ping or to a request to prepare, in microseconds.
const ANSWER_LIMIT_US: u64 = 1_000_000;
/// The memory of a dead driver is watched for writes of its device for so long, in microseconds.
const QUIET_US: u64 = 20_000;
/// The status register of a virtio device.
const STATUS_REGISTER: u64 = 0x70;

/// The statement that runs.
#[derive(Debug, Default)]
pub(super) struct Running {
    statement: Option<Statement<&'static str>>,
    /// It could not begin.
    has_failed: bool,
    since: u64,
    /// Kills of this statement.
    kills: u64,
    /// Instructions of the measured service when the statement began.
    instructions: u64,
}

impl Running {
    pub(super) fn fail(&mut self) {
        self.has_failed = true;
    }

    /// Begins the statement on a line.
    ///
    /// # Errors
    ///
    /// Why it cannot begin.
    pub(super) fn begin(&mut self, system: &mut System, line: &'static str, now: u64) -> Result<(), &'static str> {
        (self.statement, self.has_failed, self.since, self.kills) = (None, false, now, 0);
        let (statement, _) = serde_json_core::from_str(line).map_err(|_| "the line is no statement")?;
        self.statement = Some(statement);
        match statement {
            Statement::Service(program, major) | Statement::ServiceMayFail(program, major) => {
                up(system, program, Kind::Driver(major))?;
            }
            Statement::Run(program) => up(system, program, Kind::Client)?,
            Statement::Start(program) => up(system, program, Kind::Background)?,
            Statement::Shell { program, typed, .. } => {
                let config = ServiceConfig::default();
                rs::up(system, program, config, Kind::Program(typed))?;
            }
            Statement::Wait | Statement::Gone(_) | Statement::Sleep(_) => {}
            // The host may load a snapshot meanwhile.
            Statement::Kill { .. } => system.kernel.may_move = true,
            Statement::Ask(what) => {
                system.kernel.may_move = true;
                emit(&Record::WaitsForHost { what });
            }
            Statement::Term(label) | Statement::Down(label) => {
                let (index, slot) = living(system, label)?;
                rs::terminate(system, index, slot);
            }
            Statement::Pace(pace) => system.kernel.pacing.set(pace),
            Statement::LateInterrupts(seed) => system.kernel.lateness = Some(Lateness::new(seed)),
            Statement::NeverCharge => system.kernel.charges_time = false,
            Statement::Fragment(pages) => system.kernel.frames.fragment(pages as usize),
            Statement::DeadHook(label) => {
                let (_, slot) = living(system, label)?;
                let endpoint = system.kernel.processes[slot].endpoint;
                let line = system.kernel.irqs.lines_of(endpoint).next();
                let line = line.ok_or("it has no interrupt line")?;
                system.kernel.irqs.add_dead(line).map_err(|_| "no hook is free")?;
            }
            Statement::Vfs(label, request) => {
                let (_, slot) = living(system, label)?;
                system.vfs.request(&mut system.kernel, slot, request)?;
            }
            Statement::Ping(label) => {
                let (index, slot) = living(system, label)?;
                rs::ping(system, index, slot);
            }
            Statement::Prepare(label) => {
                let (index, slot) = living(system, label)?;
                rs::prepare(system, index, slot);
            }
            Statement::Restart(label) => {
                let (_, slot) = living(system, label)?;
                rs::died(system, slot, End::Killed);
            }
            Statement::WaitMeasured(label) => {
                self.instructions = instructions(system, label).ok_or("no such service")?;
            }
        }
        Ok(())
    }

    /// Whether the statement is over, and if so, whether it has passed.
    pub(super) fn outcome(&mut self, system: &mut System, now: u64) -> Option<bool> {
        let Some(statement) = self.statement.filter(|_| !self.has_failed) else {
            return Some(!self.has_failed);
        };
        match statement {
            Statement::Service(program, _) | Statement::ServiceMayFail(program, _) => {
                match phase(system, program.label) {
                    Phase::Running | Phase::Stopping => (!system.vfs.is_busy()).then_some(true),
                    Phase::Gone => Some(matches!(statement, Statement::ServiceMayFail(..))),
                    _ => None,
                }
            }
            Statement::Run(program) => verdict(system, program.label),
            Statement::Shell {
                program,
                status,
                end_after_us,
                ..
            } => self.shell(system, program.label, status, end_after_us, now),
            Statement::Wait => clients(system),
            Statement::WaitMeasured(label) => {
                let has_passed = clients(system)?;
                emit(&Record::Measure {
                    name: "waiting",
                    label,
                    instructions: instructions(system, label)?.saturating_sub(self.instructions),
                    micros: now.saturating_sub(self.since),
                });
                Some(has_passed)
            }
            Statement::Down(label) | Statement::Gone(label) => self.down(system, label, now),
            Statement::Ask(_) => {
                system.kernel.may_move = !has_answered();
                (!system.kernel.may_move).then_some(true)
            }
            Statement::Sleep(micros) => (now.saturating_sub(self.since) >= micros).then_some(true),
            Statement::Vfs(..) => (!system.vfs.is_busy()).then_some(!system.vfs.has_failed()),
            Statement::Kill { .. } => self.kill(system, now),
            Statement::Ping(label) => {
                let is_open = system.service(label).is_some_and(|service| service.pings != 0);
                self.answer("ping", (!is_open).then_some(Ok(())), now)
            }
            Statement::Prepare(label) => {
                let status = system.service(label).and_then(|service| service.prepared).flatten();
                let refused = status.map(|status| (status == Errno::ENOSYS.into()).then_some(()).ok_or(status));
                self.answer("prepare", refused, now)
            }
            Statement::Restart(label) => restarted(system, label, now),
            Statement::Start(_)
            | Statement::Term(_)
            | Statement::Pace(_)
            | Statement::LateInterrupts(_)
            | Statement::NeverCharge
            | Statement::Fragment(_)
            | Statement::DeadHook(_) => Some(true),
        }
    }

    /// The end of a program: by itself, or by a kill when its time is over.
    fn shell(
        &mut self,
        system: &mut System,
        label: &'static str,
        status: u8,
        end_after_us: Option<u64>,
        now: u64,
    ) -> Option<bool> {
        if let Ok((_, slot)) = living(system, label) {
            let is_over = end_after_us.is_some_and(|limit| now.saturating_sub(self.since) >= limit);
            if is_over && !system.vfs.waits_for_driver(system.kernel.processes[slot].endpoint) {
                self.kills += 1;
                rs::died(system, slot, End::Killed);
            }
            return None;
        }
        let result = system.service(label).and_then(|service| service.result);
        let is_killed = self.kills > 0;
        Some(is_killed == end_after_us.is_some() && (is_killed || result == Some(Status(status.into()))))
    }

    fn answer(&self, name: &str, answer: Option<Result<(), Status>>, now: u64) -> Option<bool> {
        match answer {
            Some(Ok(())) => test(name, Outcome::Pass, format_args!("")),
            Some(Err(status)) => test(name, Outcome::Fail, format_args!("answered {status:?}")),
            None if now.saturating_sub(self.since) < ANSWER_LIMIT_US => return None,
            None => test(name, Outcome::Fail, format_args!("not answered")),
        }
        Some(answer == Some(Ok(())))
    }

    fn down(&mut self, system: &mut System, label: &'static str, now: u64) -> Option<bool> {
        if let Ok((_, slot)) = living(system, label) {
            if now.saturating_sub(self.since) < STOP_LIMIT_US {
                return None;
            }
            if matches!(self.statement, Some(Statement::Gone(_))) {
                return Some(false);
            }
            self.kills += 1;
            rs::died(system, slot, End::Killed);
            return None;
        }
        let Some(service) = system.service(label) else {
            return Some(false);
        };
        let status = (service.window).map_or(0, |window| DeviceRegister::new(window + STATUS_REGISTER, 4).read());
        let status = u64::from(status);
        let is_forced = self.kills != 0;
        let (from, since) = service.leave.since().unwrap_or((self.since, Since::Term));
        emit(&Record::Down {
            label,
            // The last phase, which is that it is gone, began when it left.
            micros: service.life.since().saturating_sub(from),
            since,
            status,
            forced: is_forced,
        });
        Some(!is_forced && status == 0)
    }

    fn kill(&mut self, system: &mut System, now: u64) -> Option<bool> {
        let Some(Statement::Kill {
            label,
            rounds,
            seed,
            min_us,
            max_us,
        }) = self.statement
        else {
            return None;
        };
        let life = match system.service(label) {
            Some(service) if !service.is_gone() => service.life,
            _ => return Some(false),
        };
        if self.kills == rounds {
            let is_fine = restarted(system, label, now)?;
            stop_clients(system);
            return Some(is_fine);
        }
        if life.phase() != Phase::Running {
            return None;
        }
        let delay = min_us + pattern::word(seed, self.kills, 0) % (max_us - min_us + 1);
        let at = life.since().saturating_add(delay);
        if now < at {
            system.kernel.clock.look_at(at);
            // At any instruction, not only where something traps.
            system.kernel.clock.wake_at(at);
            return None;
        }
        let (_, slot) = living(system, label).ok()?;
        let endpoint = system.kernel.processes[slot].endpoint;
        self.kills += 1;
        emit(&Record::Killed {
            label,
            round: self.kills,
            micros: now.saturating_sub(life.since()),
            in_flight: system.kernel.requests.in_flight(endpoint) as u64,
        });
        rs::died(system, slot, End::Killed);
        None
    }
}

/// Starts a program with what the two files of configurations say about its label, or else about it: an entry can be for
/// one service of several with the same program.
fn up(system: &mut System, program: Program<&'static str>, kind: Kind) -> Result<(), &'static str> {
    let names = [program.label, program.program];
    for (name, file) in names
        .into_iter()
        .flat_map(|name| ["system.conf", "clients.conf"].map(|file| (name, file)))
    {
        let text = system.kernel.archive.text(file).unwrap_or_default();
        match config::find(text, name) {
            Ok(Some(found)) => return rs::up(system, program, found, kind),
            Ok(None) => {}
            Err(ConfigError { problem, word }) => {
                error("config", file, format_args!("{problem} ('{word}')"));
                return Err("its configuration is malformed");
            }
        }
    }
    Err("it has no entry in system.conf or clients.conf")
}

fn phase(system: &System, label: &str) -> Phase {
    system
        .service(label)
        .map_or(Phase::Gone, |service| service.life.phase())
}

/// A service that lives: its place in the table of RS, and its slot.
fn living(system: &System, label: &str) -> Result<(usize, Slot), &'static str> {
    let lives = !matches!(phase(system, label), Phase::BackOff | Phase::Gone);
    let index = system.labelled(label).filter(|_| lives);
    index
        .and_then(|index| Some((index, system.kernel.processes.find(system.services[index].endpoint)?)))
        .ok_or("no such service lives")
}

/// Instructions of all instances of a service.
fn instructions(system: &System, label: &str) -> Option<u64> {
    let service = system.service(label)?;
    let processes = &system.kernel.processes;
    let slot = processes.find(service.endpoint);
    Some(service.instructions + slot.map_or(0, |slot| processes[slot].user_instructions))
}

/// Whether the host has typed the end of a line.
fn has_answered() -> bool {
    core::iter::from_fn(console::read_byte).any(|byte| byte == b'\n')
}

/// The verdict of a client that is gone.
fn verdict(system: &System, label: &str) -> Option<bool> {
    let Some(service) = system.service(label) else {
        return Some(false);
    };
    service.is_gone().then_some(service.result == Some(Status::OK))
}

/// The verdict of all clients in the background together; then they are forgotten.
fn clients(system: &mut System) -> Option<bool> {
    let mut all = true;
    for client in (system.services.iter()).filter(|service| service.kind == Kind::Background) {
        all &= verdict(system, client.label())?;
    }
    system.services.retain(|service| service.kind != Kind::Background);
    Some(all)
}

/// After a restart: the service runs, VFS has talked to it, and the device had time to show where it still writes.
fn restarted(system: &mut System, label: &str, now: u64) -> Option<bool> {
    let index = system.labelled(label)?;
    let life = system.services[index].life;
    match life.phase() {
        Phase::Gone => Some(false),
        Phase::Running if now.saturating_sub(life.since()) >= QUIET_US && !system.vfs.is_busy() => {
            instance::release_dead_memory(system, index);
            Some(true)
        }
        _ => None,
    }
}

/// Tells the clients in the background to come to an end.
fn stop_clients(system: &mut System) {
    for index in 0..system.services.len() {
        let service = &system.services[index];
        if service.kind == Kind::Background
            && let Ok((index, slot)) = living(system, service.label())
        {
            rs::terminate(system, index, slot);
        }
    }
}
