//! What statements of the scenario wait for, and what they make of it.

use core::fmt::Write;

use guest_protocol::{End, Outcome, Record, Since, pattern};
use heapless::String;
use minix_abi::signal::Signal;
use minix_abi::{Errno, Status};
use testkernel::life::{Phase, STOP_LIMIT_US};

use testkernel::scenario::Kill;

use super::process::Slot;
use super::scenario_run::emit;
use super::servers::rs::{Kind, Service};
use super::servers::{instance, rs};
use super::{Kernel, paging};

/// How long an answer to a ping or to a request to prepare may take, in microseconds.
const ANSWER_LIMIT_US: u64 = 1_000_000;
/// How long a device has to show that it goes on writing to the memory of a dead driver, in microseconds.
const QUIET_US: u64 = 20_000;
/// The register of a virtio device that says how far its driver got.
const STATUS_REGISTER: u64 = 0x70;

/// What to do with a service that does not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Force {
    /// Nothing; the statement fails.
    Never,
    /// Kill it after a time; the statement fails.
    Allowed,
    /// That was done.
    Used,
}

/// What the statement at hand waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Wait {
    #[default]
    Nothing,
    /// A service is up, and VFS has looked at it.
    Up {
        label: &'static str,
        may_fail: bool,
    },
    /// A client has its verdict.
    Client {
        label: &'static str,
    },
    /// All clients in the background have theirs.
    Clients,
    /// A service is gone.
    Down {
        label: &'static str,
        since: u64,
        force: Force,
    },
    /// Time has passed.
    Time {
        until: u64,
    },
    /// A service serves again after it was killed, and the device had time to do harm.
    Restarted {
        label: &'static str,
    },
    /// VFS has done what it was asked for.
    Vfs,
    Ping {
        label: &'static str,
        since: u64,
    },
    Prepare {
        label: &'static str,
        since: u64,
    },
    /// Rounds that are done: as many kills have happened.
    Kill {
        kill: Kill<'static>,
        round: u64,
    },
}

fn service<'k>(kernel: &'k Kernel, label: &str) -> Option<&'k Service> {
    kernel
        .high
        .rs
        .labelled(label)
        .map(|index| &kernel.high.rs.services[index])
}

/// A service that lives: its place with RS and its slot.
pub(super) fn alive(kernel: &Kernel, label: &str) -> Option<(usize, Slot)> {
    let index = kernel.high.rs.labelled(label)?;
    let service = &kernel.high.rs.services[index];
    let lives = matches!(
        service.life.phase(),
        Phase::Initialising(_) | Phase::Running | Phase::Stopping
    );
    Some((index, kernel.processes.find(service.endpoint).filter(|_| lives)?))
}

/// Whether what the statement waits for has happened, and if so, whether that is good.
pub(super) fn outcome(kernel: &mut Kernel, now: u64) -> Option<bool> {
    let phase_of = |label| service(kernel, label).map_or(Phase::Gone, |service| service.life.phase());
    match kernel.high.run.wait {
        Wait::Nothing => Some(true),
        Wait::Up { label, may_fail } => match phase_of(label) {
            Phase::Running | Phase::Stopping => (!kernel.high.vfs.is_busy()).then_some(true),
            Phase::Gone => Some(may_fail),
            _ => None,
        },
        Wait::Client { label } => verdict(kernel, label),
        Wait::Clients => clients(kernel),
        Wait::Down { label, since, force } => down(kernel, label, since, force, now),
        Wait::Time { until } => (now >= until).then_some(true),
        Wait::Restarted { label } => restarted(kernel, label, now),
        Wait::Vfs => (!kernel.high.vfs.is_busy()).then_some(!kernel.high.vfs.has_failed()),
        Wait::Ping { label, since } => {
            let is_open = service(kernel, label).is_some_and(|service| service.is_pinged);
            answer("ping", (!is_open).then_some(Ok(())), since, now)
        }
        Wait::Prepare { label, since } => {
            let said = service(kernel, label).and_then(|service| service.prepared).flatten();
            let refused = said.map(|status| {
                if status == Errno::ENOSYS.into() {
                    Ok(())
                } else {
                    Err(status)
                }
            });
            answer("prepare", refused, since, now)
        }
        Wait::Kill { kill, round } => kill_step(kernel, kill, round, now),
    }
}

/// The verdict of a client that is gone.
fn verdict(kernel: &Kernel, label: &str) -> Option<bool> {
    let Some(service) = service(kernel, label) else {
        return Some(false);
    };
    (service.life.phase() == Phase::Gone).then_some(service.result == Some(Status::OK))
}

/// The verdict of all clients in the background together; then they are forgotten.
fn clients(kernel: &mut Kernel) -> Option<bool> {
    let mut all = true;
    for client in kernel
        .high
        .rs
        .services
        .iter()
        .filter(|service| service.kind == Kind::Background)
    {
        all &= verdict(kernel, client.label())?;
    }
    kernel
        .high
        .rs
        .services
        .retain(|service| service.kind != Kind::Background);
    Some(all)
}

fn answer(name: &str, answer: Option<Result<(), Status>>, since: u64, now: u64) -> Option<bool> {
    let mut detail = String::<48>::new();
    let outcome = match answer {
        Some(Ok(())) => Outcome::Pass,
        None if now.saturating_sub(since) < ANSWER_LIMIT_US => return None,
        Some(Err(status)) => {
            let _ = write!(detail, "answered {status:?}");
            Outcome::Fail
        }
        None => {
            let _ = detail.write_str("not answered");
            Outcome::Fail
        }
    };
    emit(&Record::Test {
        group: "test kernel",
        number: 0,
        name,
        outcome,
        detail: &detail,
    });
    Some(outcome == Outcome::Pass)
}

fn down(kernel: &mut Kernel, label: &'static str, since: u64, force: Force, now: u64) -> Option<bool> {
    if let Some((_, slot)) = alive(kernel, label) {
        if now.saturating_sub(since) < STOP_LIMIT_US {
            return None;
        }
        if force == Force::Never {
            return Some(false);
        }
        kernel.high.run.wait = Wait::Down {
            label,
            since,
            force: Force::Used,
        };
        rs::died(kernel, slot, End::Killed);
        return None;
    }
    let Some(service) = service(kernel, label) else {
        return Some(false);
    };
    let window = service.window;
    let status = window.map_or(0, |window| u64::from(paging::device_register(window + STATUS_REGISTER)));
    let is_forced = force == Force::Used;
    let (from, since) = service.leave.since().unwrap_or((since, Since::Term));
    emit(&Record::Down {
        label,
        // Since its end, the life of a service is that it is gone.
        micros: service.life.since().saturating_sub(from),
        since,
        status,
        forced: is_forced,
    });
    Some(!is_forced && status == 0)
}

/// After a restart: the service runs, VFS has talked to it, and the device had time to show what it still writes to.
fn restarted(kernel: &mut Kernel, label: &str, now: u64) -> Option<bool> {
    let index = kernel.high.rs.labelled(label)?;
    let life = kernel.high.rs.services[index].life;
    match life.phase() {
        Phase::Gone => Some(false),
        Phase::Running if now.saturating_sub(life.since()) >= QUIET_US && !kernel.high.vfs.is_busy() => {
            instance::settle(kernel, index);
            Some(true)
        }
        _ => None,
    }
}

fn kill_step(kernel: &mut Kernel, kill: Kill<'static>, round: u64, now: u64) -> Option<bool> {
    let Some(index) = kernel.high.rs.labelled(kill.label) else {
        return Some(false);
    };
    let service = &kernel.high.rs.services[index];
    let (life, endpoint) = (service.life, service.endpoint);
    if life.phase() == Phase::Gone {
        return Some(false);
    }
    if round == kill.rounds {
        let is_fine = restarted(kernel, kill.label, now)?;
        stop_clients(kernel);
        return Some(is_fine);
    }
    let delay = kill.min_us + pattern::word(kill.seed, round, 0) % (kill.max_us - kill.min_us + 1);
    let at = life.since().saturating_add(delay);
    if !life.is_running() {
        return None;
    }
    if now < at {
        kernel.high.run.look_at(at);
        // At any instruction, not only where something traps.
        kernel.clock.wake_at(Some(at));
        return None;
    }
    let slot = kernel.processes.find(endpoint)?;
    let in_flight = kernel.high.requests.in_flight(endpoint) as u64;
    emit(&Record::Killed {
        label: kill.label,
        round: round + 1,
        micros: now.saturating_sub(life.since()),
        in_flight,
    });
    kernel.high.run.wait = Wait::Kill { kill, round: round + 1 };
    rs::died(kernel, slot, End::Killed);
    None
}

/// Tells the clients in the background to come to an end.
fn stop_clients(kernel: &mut Kernel) {
    for index in 0..kernel.high.rs.services.len() {
        let service = &kernel.high.rs.services[index];
        if service.kind != Kind::Background || service.life.phase() == Phase::Gone {
            continue;
        }
        if let Some(slot) = kernel.processes.find(service.endpoint) {
            rs::signal(kernel, index, slot, Signal::TERM);
        }
    }
}
