//! RS, the reincarnation server: starts services, watches them, starts them again.
//!
//! Clients of the block driver are services as well: they do their tests while they initialise themselves, and the result
//! is their verdict. They are ended then, and not started again.

use core::fmt;

use guest_protocol::{End, Record};
use minix_abi::ipc::IpcCall;
use minix_abi::kernel_call::PrivFlags;
use minix_abi::rs::{Init, InitType, LuPrepare, LuState, SignalReceived};
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType, Status};
use testkernel::config::ServiceConfig;
use testkernel::life::{Action, Phase};
use testkernel::scenario::Program;

use super::instance::{create, end_process, launch_fresh, privilege, release, release_dead_memory, retire};
use super::service::{Kind, Service};
use super::system::System;
use crate::kernel::deliver::{notify, post, reply};
use crate::kernel::ports::Work;
use crate::kernel::process::{Slot, State, bit};
use crate::kernel::report::emit;
use crate::kernel::state::Kernel;

/// Where the registers of virtio devices are: a window for each interrupt line.
const WINDOWS: u64 = 0x1000_0000;
const WINDOW_BYTES: u64 = 0x1000;

/// Starts a service. It is known to DS and mapped by VFS before its first instruction.
pub(in crate::kernel) fn up(
    system: &mut System,
    program: Program<&'static str>,
    config: ServiceConfig<'static>,
    kind: Kind,
) -> Result<(), &'static str> {
    let now = system.kernel.clock.now_micros();
    // Services that are gone are kept as long as there is room: the scenario asks for their result.
    let is_full = system.services.is_full();
    while let Some(gone) = system.services.iter().position(|service| {
        let is_in_the_way = service.label() == program.label || is_full && service.kind != Kind::Background;
        service.is_gone() && is_in_the_way
    }) {
        release_dead_memory(system, gone);
        system.services.swap_remove(gone);
    }
    if system.labelled(program.label).is_some() {
        return Err("the label is in use");
    }
    let index = system.services.len();
    let service = Service::new(program, config, kind, now);
    system.services.push(service).map_err(|_| "too many services")?;
    let launched = launch_fresh(system, index);
    if launched.is_err() {
        system.services.swap_remove(index);
    }
    launched
}

fn say_ended(system: &System, index: usize, how: End) {
    let service = &system.services[index];
    emit(&Record::Ended {
        label: service.label(),
        endpoint: service.endpoint.0,
        how,
        result: service.result.map_or(0, |status| status.0),
    });
}

/// A process has died, is to die, or has left.
pub(in crate::kernel) fn died(system: &mut System, slot: Slot, how: End) {
    let now = system.kernel.clock.now_micros();
    let index = system.service_of(slot).expect("every process is a service");
    say_ended(system, index, how);
    if how == End::Exit {
        system.vfs.lost(&mut system.kernel, slot);
    }
    let service = &mut system.services[index];
    let (label, before) = (service.label(), service.life.phase());
    let action = service.life.died(now);
    if service.is_driver() && how != End::Killed && before != Phase::Stopping {
        (system.kernel.failures).violation(format_args!("{label} died by itself: {how:?}"));
    }
    act(system, index, action);
}

/// Carries out an action.
fn act(system: &mut System, index: usize, action: Action) {
    let service = &system.services[index];
    let endpoint = service.endpoint;
    let slot = system.kernel.processes.find(endpoint);
    match action {
        Action::Nothing | Action::Unexpected => {}
        Action::WaitUntil(at) => {
            // Dead, but the slot is not free: senders to it wait, and its own messages can still be taken.
            if let Some(slot) = slot {
                system.kernel.block(slot, State::Held);
            }
            system.vfs.hang_up(&mut system.kernel, endpoint);
            system.kernel.clock.look_at(at);
        }
        Action::Replace => {
            // The memory of the instance before has been watched for long enough.
            release_dead_memory(system, index);
            system.services[index].is_inherited = true;
            end_process(system, index);
            system.vfs.hang_up(&mut system.kernel, endpoint);
            match create(system, index) {
                Ok(new) => {
                    let slot = system.kernel.processes.take_over(new, endpoint);
                    privilege(system, index, slot, PrivFlags::RST_SYS);
                    release(system, index, slot, InitType::RESTART);
                }
                Err(reason) => (system.kernel.failures).violation(format_args!("no replacement: {reason}")),
            }
        }
        Action::StartFresh => {
            say_ended(system, index, End::Killed);
            retire(system, index);
            let work = Work::Start {
                label: system.services[index].label(),
                has_process: false,
            };
            system.kernel.ports.push(Endpoint::RS, work);
        }
        Action::Remove => retire(system, index),
        Action::Welcome => welcome(system, index, slot),
    }
    system.kernel.clock.look_now();
}

fn welcome(system: &mut System, index: usize, slot: Option<Slot>) {
    let Some(slot) = slot else { return };
    let now = system.kernel.clock.now_micros();
    let service = &mut system.services[index];
    if !service.is_driver() {
        // Its result is its verdict.
        service.life.stop(now);
        died(system, slot, End::Exit);
        return;
    }
    let new = service.endpoint;
    if let Some(old) = service.served_as.replace(new) {
        emit(&Record::Restarted {
            label: service.label(),
            old: old.0,
            new: new.0,
        });
    }
    reply(&mut system.kernel, Endpoint::RS, slot, Message::reply(Status::OK));
}

/// A message to RS, or the notification that answers a ping.
pub(super) fn receive(system: &mut System, caller: Slot, message: &Message, call: IpcCall) {
    let now = system.kernel.clock.now_micros();
    let Some(index) = system.service_of(caller) else {
        return;
    };
    let (kernel, service) = (&mut system.kernel, &mut system.services[index]);
    let label = service.label();
    match message.kind {
        _ if call == IpcCall::NOTIFY => {
            match service.pings.checked_sub(1) {
                Some(left) => service.pings = left,
                None => (kernel.failures).violation(format_args!("{label} answers a ping that there was not")),
            }
            kernel.clock.look_now();
        }
        MessageType::RS_INIT => {
            let result = message.payload::<Init>().result;
            let action = service.life.answered(result, now);
            if action == Action::Unexpected {
                refuse(
                    kernel,
                    caller,
                    format_args!("{label} was not asked to initialise itself"),
                );
                return;
            }
            service.result = Some(result);
            if action == Action::Remove {
                let how = if service.is_driver() { End::Killed } else { End::Exit };
                say_ended(system, index, how);
            }
            act(system, index, action);
        }
        MessageType::RS_LU_PREPARE if service.prepared == Some(None) => {
            let result = message.payload::<LuPrepare>().result;
            service.prepared = Some(Some(result));
            reply(kernel, Endpoint::RS, caller, Message::reply(result));
            kernel.clock.look_now();
        }
        kind => {
            // On MINIX the two would go on answering each other.
            refuse(
                kernel,
                caller,
                format_args!("{label} sent {kind:?} to RS, which expects nothing"),
            );
        }
    }
}

fn refuse(kernel: &mut Kernel, caller: Slot, text: fmt::Arguments<'_>) {
    reply(kernel, Endpoint::RS, caller, Message::reply(Errno::EINVAL.into()));
    kernel.failures.violation(text);
}

/// Pings a service twice: the first notification wakes it, so that the second has to be kept until it receives again. Of a
/// service that is awake, which gets one notification for both, one answer is expected.
pub(in crate::kernel) fn ping(system: &mut System, index: usize, slot: Slot) {
    for _ in 0..2 {
        if system.kernel.processes[slot].ipc.notified_by & bit(Endpoint::RS) == 0 {
            system.services[index].pings += 1;
            notify(&mut system.kernel, Endpoint::RS, slot);
        }
    }
}

/// Asks a service to get ready for a live update.
pub(in crate::kernel) fn prepare(system: &mut System, index: usize, slot: Slot) {
    system.services[index].prepared = Some(None);
    let request = LuPrepare {
        state: LuState::WORK_FREE,
        max_time: 1000,
        state_data: GrantId::INVALID,
        ..LuPrepare::default()
    };
    let message = Message::with_payload(MessageType::RS_LU_PREPARE, &request);
    post(&mut system.kernel, Endpoint::RS, slot, message, false);
}

/// Sends SIGTERM by message. A driver may leave then.
pub(in crate::kernel) fn terminate(system: &mut System, index: usize, slot: Slot) {
    let now = system.kernel.clock.now_micros();
    // A driver hooks the line of its device, and lines and windows go together on this machine.
    let endpoint = system.kernel.processes[slot].endpoint;
    let line = system.kernel.irqs.lines_of(endpoint).next();
    let service = &mut system.services[index];
    if service.is_driver() {
        service.window = line.map(|line| WINDOWS + line as u64 * WINDOW_BYTES);
        service.life.stop(now);
        service.leave.told(now);
    }
    let signal = SignalReceived { signal: Signal::TERM };
    let message = Message::with_payload(MessageType::COMMON_SIGNAL, &signal);
    post(&mut system.kernel, Endpoint::RS, slot, message, true);
}

/// Looks at the time: back-offs that are over, initialisations that take too long. Collects dead slots if it is idle.
pub(in crate::kernel) fn look(system: &mut System, now: u64) {
    for index in 0..system.services.len() {
        let service = &mut system.services[index];
        let may_take_long = !service.is_driver();
        let action = service.life.time(now, may_take_long);
        if action == Action::Remove {
            say_ended(system, index, End::Killed);
        }
        if action != Action::Nothing {
            act(system, index, action);
        }
    }
    system.vfs.wake(&mut system.kernel);
    // As on MINIX, a service that initialises itself, or comes or goes, keeps RS from it. Clients are such services for as
    // long as they run.
    let is_idle = |service: &Service| matches!(service.life.phase(), Phase::Running | Phase::Gone);
    if (system.services.iter()).all(|service| service.is_program() || is_idle(service)) {
        system.kernel.irqs.collect(&system.kernel.processes);
    }
}
